//! Commands of the store, and what their outputs say.

use super::{ClientError, bytes};
use parthood_protocols::state_machine::{BatchedOutput, Bytes, KeyValueCommand, KeyValueOutput};

pub(super) fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> KeyValueCommand {
    KeyValueCommand::Put(bytes(key), bytes(value))
}

pub(super) fn compare_and_swap(
    key: impl AsRef<[u8]>,
    expected: Option<&[u8]>,
    new: impl AsRef<[u8]>,
) -> KeyValueCommand {
    KeyValueCommand::CompareAndSwap { key: bytes(key), expected: expected.map(Bytes::from), new: bytes(new) }
}

fn owned(bytes: &Bytes) -> Vec<u8> {
    bytes.as_slice().to_vec()
}

pub(super) fn done(output: KeyValueOutput) -> Result<(), ClientError> {
    match output {
        KeyValueOutput::Done => Ok(()),
        other => Err(refused(&other)),
    }
}

pub(super) fn value(output: KeyValueOutput) -> Result<Option<Vec<u8>>, ClientError> {
    match output {
        KeyValueOutput::Value(value) => Ok(value.as_ref().map(owned)),
        other => Err(refused(&other)),
    }
}

pub(super) fn deleted(output: KeyValueOutput) -> Result<bool, ClientError> {
    match output {
        KeyValueOutput::Deleted(existed) => Ok(existed),
        other => Err(refused(&other)),
    }
}

pub(super) fn swapped(output: KeyValueOutput) -> Result<Result<(), Option<Vec<u8>>>, ClientError> {
    match output {
        KeyValueOutput::Swapped => Ok(Ok(())),
        KeyValueOutput::Differs(found) => Ok(Err(found.as_ref().map(owned))),
        other => Err(refused(&other)),
    }
}

pub(super) fn number(output: KeyValueOutput) -> Result<i64, ClientError> {
    match output {
        KeyValueOutput::Number(number) => Ok(number),
        other => Err(refused(&other)),
    }
}

pub(super) fn batch(output: KeyValueOutput) -> Result<Vec<BatchedOutput>, ClientError> {
    match output {
        KeyValueOutput::Batch(outputs) => Ok(outputs.outputs().to_vec()),
        KeyValueOutput::TooLarge | KeyValueOutput::OutputTooLarge => Err(ClientError::Refused(
            "the batch or its outputs exceed their limit, so nothing was done".into(),
        )),
        other => Err(refused(&other)),
    }
}

/// An output that says why nothing was done.
fn refused(output: &KeyValueOutput) -> ClientError {
    ClientError::Refused(match output {
        KeyValueOutput::NotANumber | KeyValueOutput::Overflow => {
            "the key holds no number, or the sum exceeds 64 bits".into()
        }
        KeyValueOutput::TooLarge => "the key or the value exceeds its limit".into(),
        other => format!("unexpected output {other:?}"),
    })
}
