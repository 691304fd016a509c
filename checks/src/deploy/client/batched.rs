//! Commands that are done together.

use super::bytes;
use parthood_protocols::state_machine::{Batch, BatchedCommand, KeyValueCommand};

/// Commands that [`KvClient::batch`](super::KvClient::batch) does together, in their order.
#[derive(Clone, Debug, Default)]
pub struct Batched(Vec<BatchedCommand>);

impl Batched {
    /// No command yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key.
    #[must_use]
    pub fn put(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.and(BatchedCommand::Put(bytes(key), bytes(value)))
    }

    /// Asks for the value of a key.
    #[must_use]
    pub fn get(self, key: impl AsRef<[u8]>) -> Self {
        self.and(BatchedCommand::Get(bytes(key)))
    }

    /// Removes a key.
    #[must_use]
    pub fn delete(self, key: impl AsRef<[u8]>) -> Self {
        self.and(BatchedCommand::Delete(bytes(key)))
    }

    /// Adds to the number that a key holds.
    #[must_use]
    pub fn increment(self, key: impl AsRef<[u8]>, by: i64) -> Self {
        self.and(BatchedCommand::Increment(bytes(key), by))
    }

    /// Does this, too.
    #[must_use]
    pub fn and(mut self, command: BatchedCommand) -> Self {
        self.0.push(command);
        self
    }

    pub(super) fn into_command(self) -> KeyValueCommand {
        KeyValueCommand::Batch(self.0.into_iter().collect::<Batch>())
    }
}
