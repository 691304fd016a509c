//! Datagrams: nothing that is not sealed is opened, and what a sealed one holds never hurts.
//!
//! The seal is computed here a second time, from the table in the essay of `frame.rs`, so that a body that no writer would
//! write gets past it.

use crate::run::{self, Msg};
use parthood::runtime::wire::{
    Frame, FrameWriter, HEADER_LEN, Key, MAC_LEN, MAX_DATAGRAM_LEN, Refusal, decode, encode,
};
use std::collections::BTreeMap;

const CLUSTER: u64 = 0x0123_4567_89ab_cdef;
const SECRET: [u8; Key::LEN] = [7; Key::LEN];

/// Takes the input for a datagram, for the body of a sealed one, and for a message.
pub fn run(data: &[u8]) {
    let seal = Key::new(SECRET).seal();
    assert!(Frame::open(data, CLUSTER, &seal).is_err(), "a frame that nobody sealed is opened");

    let mut bytes = sealed(data);
    match Frame::open(&bytes, CLUSTER, &seal) {
        Err(refusal) => assert!(refusal == Refusal::Length && bytes.len() > MAX_DATAGRAM_LEN, "{refusal}"),
        Ok(frame) => {
            for parcel in frame.parcels() {
                if let Some(msg) = parcel.ok().and_then(|parcel| parcel.message::<Msg>().ok()) {
                    reads_back(&msg);
                }
            }
        }
    }
    if let Ok(msg) = decode::<Msg>(data) {
        reads_back(&msg);
    }

    let foreign = Key::new([8; Key::LEN]).seal();
    assert!(Frame::open(&bytes, CLUSTER, &foreign).is_err(), "a frame of another key is opened");
    let at = crc32fast::hash(data) as usize % (bytes.len() * 8);
    bytes[at / 8] ^= 1 << (at % 8);
    assert!(Frame::open(&bytes, CLUSTER, &seal).is_err(), "a frame changed in bit {at} is opened");
}

/// What is sent again is what was received.
fn reads_back(msg: &Msg) {
    let mut bytes = Vec::new();
    encode(msg, &mut bytes, usize::MAX).expect("a message has a binary form");
    assert_eq!(decode::<Msg>(&bytes).as_ref(), Ok(msg));
}

/// A datagram with this body.
fn sealed(body: &[u8]) -> Vec<u8> {
    let key = blake3::derive_key("parthood 2026-11 datagram seal", &SECRET);
    let mut bytes =
        [b"PTH", &[1][..], &CLUSTER.to_le_bytes(), &5_u64.to_le_bytes(), &99_u64.to_le_bytes(), body]
            .concat();
    let code = blake3::keyed_hash(&key, &bytes);
    bytes.extend_from_slice(&code.as_bytes()[..MAC_LEN]);
    bytes
}

/// A body for each kind and size of message in a run, one with all of them, and bare messages.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut kinds = BTreeMap::new();
    for msg in run::messages() {
        let mut bytes = Vec::new();
        encode(&msg, &mut bytes, usize::MAX).expect("it was received");
        kinds.insert((bytes[0], bytes.len() / 8), (msg, bytes));
    }
    let mut all = FrameWriter::default();
    all.begin(CLUSTER, 5.into());
    let mut seeds = Vec::new();
    for (msg, bytes) in kinds.into_values() {
        let mut frame = FrameWriter::default();
        frame.begin(CLUSTER, 5.into());
        for frame in [&mut frame, &mut all] {
            frame.push(1.into(), 2.into(), &msg, MAX_DATAGRAM_LEN).expect("a few messages fit");
        }
        seeds.push(frame.bytes()[HEADER_LEN..].to_vec());
        seeds.push(bytes);
    }
    seeds.push(all.bytes()[HEADER_LEN..].to_vec());
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_sealed_here_is_the_frame_that_a_writer_writes() {
        let mut frame = FrameWriter::default();
        frame.begin(CLUSTER, 5.into());
        frame.push(1.into(), 2.into(), &run::messages()[0], MAX_DATAGRAM_LEN).unwrap();
        let body = frame.bytes()[HEADER_LEN..].to_vec();
        frame.seal(&Key::new(SECRET).seal(), 99);
        assert_eq!(sealed(&body), frame.bytes());
    }
}
