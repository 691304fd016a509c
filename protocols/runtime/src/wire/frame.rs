//! One datagram: several messages from one process to another, sealed with the cluster's key.
//!
//! | bytes | content |
//! |---|---|
//! | 3 | `PTH` |
//! | 1 | version of this format |
//! | 8 | cluster, little-endian |
//! | 8 | sender: a node of the sending process, or a client of it |
//! | 8 | stamp: grows with each frame of one process, so that an older frame is known as such |
//! | .. | messages: length (2 bytes) of source, destination (variable-length integers) and the message |
//! | 16 | seal over all of the above |
//!
//! A frame is checked as a whole before anything of it is decoded. Its source is never believed from the IP header.

use super::codec::{TooLong, decode, encode};
use super::key::Seal;
use serde::{Serialize, de::DeserializeOwned};
use stateright::actor::Id;

const MAGIC: [u8; 3] = *b"PTH";
const VERSION: u8 = 1;
/// Bytes before the first message of a frame.
pub const HEADER_LEN: usize = 28;
/// Bytes of the seal.
pub const MAC_LEN: usize = 16;
/// The most bytes of a datagram that is sent or accepted; what UDP carries, rounded down to 60 KiB.
pub const MAX_DATAGRAM_LEN: usize = 60 << 10;
/// Length, source and destination of one message, at most.
const PARCEL_OVERHEAD: usize = 2 + 10 + 10;
/// The most bytes of one encoded message.
pub const MAX_MESSAGE_LEN: usize = MAX_DATAGRAM_LEN - HEADER_LEN - MAC_LEN - PARCEL_OVERHEAD;

/// Why a datagram, or a message in one, is not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Shorter than the shortest frame or longer than the longest.
    #[error("impossible length")]
    Length,
    /// No frame of this software.
    #[error("not a frame")]
    Magic,
    /// A frame of a version that is not understood.
    #[error("unknown version")]
    Version,
    /// A frame of another cluster.
    #[error("foreign cluster")]
    Cluster,
    /// The seal is not of this cluster's key, or the frame was changed on its way.
    #[error("forged or damaged")]
    Forged,
    /// Sealed, but not well-formed: the sender runs other software.
    #[error("malformed message")]
    Malformed,
    /// The source of a message does not live where the frame comes from.
    #[error("source is not of the sender")]
    Source,
    /// The destination of a message is not hosted here.
    #[error("destination is not hosted here")]
    Destination,
    /// An injected fault.
    #[error("injected fault")]
    Fault,
    /// An answer of an event loop to a question that was not asked, or not last.
    #[error("answer to another question")]
    Stale,
}

impl Refusal {
    /// All reasons, in the order of the checks.
    pub const ALL: [Self; 10] = [
        Self::Length,
        Self::Magic,
        Self::Version,
        Self::Cluster,
        Self::Forged,
        Self::Malformed,
        Self::Source,
        Self::Destination,
        Self::Fault,
        Self::Stale,
    ];
}

/// A frame under construction. Its buffer is reused.
#[derive(Clone, Debug, Default)]
pub struct FrameWriter {
    bytes: Vec<u8>,
    messages: usize,
}

impl FrameWriter {
    /// Begins a frame, forgetting what was written before.
    pub fn begin(&mut self, cluster: u64, sender: Id) {
        self.messages = 0;
        self.bytes.clear();
        self.bytes.extend_from_slice(&MAGIC);
        self.bytes.push(VERSION);
        self.bytes.extend_from_slice(&cluster.to_le_bytes());
        self.bytes.extend_from_slice(&id_bits(sender).to_le_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
    }

    /// Appends a message if the sealed frame then has at most `limit` bytes; otherwise the frame is as before.
    ///
    /// # Errors
    /// When it does not fit, or cannot be encoded.
    ///
    /// # Panics
    /// When the frame was not begun.
    pub fn push<M: Serialize>(&mut self, src: Id, dst: Id, msg: &M, limit: usize) -> Result<(), TooLong> {
        assert!(self.bytes.len() >= HEADER_LEN, "a frame is begun before it is filled");
        let start = self.bytes.len();
        let left = limit.min(MAX_DATAGRAM_LEN).saturating_sub(start + MAC_LEN + 2);
        self.bytes.extend_from_slice(&[0; 2]);
        encode(&(id_bits(src), id_bits(dst), msg), &mut self.bytes, left)
            .inspect_err(|_| self.bytes.truncate(start))?;
        let length = u16::try_from(self.bytes.len() - start - 2).expect("a frame is shorter than 64 KiB");
        self.bytes[start..start + 2].copy_from_slice(&length.to_le_bytes());
        self.messages += 1;
        Ok(())
    }

    /// The number of messages in the frame.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// Completes the frame.
    pub fn seal(&mut self, seal: &Seal, stamp: u64) {
        self.bytes[HEADER_LEN - 8..HEADER_LEN].copy_from_slice(&stamp.to_le_bytes());
        let code = seal.code(&self.bytes);
        self.bytes.extend_from_slice(&code);
    }

    /// The bytes so far; a datagram once the frame is sealed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A received frame whose seal is good.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// A node or client of the sending process.
    pub sender: Id,
    /// Grows with each frame of one process.
    pub stamp: u64,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Checks a datagram.
    ///
    /// # Errors
    /// When it is no frame of this version, cluster and key.
    pub fn open(datagram: &'a [u8], cluster: u64, seal: &Seal) -> Result<Self, Refusal> {
        if datagram.len() > MAX_DATAGRAM_LEN {
            return Err(Refusal::Length);
        }
        let (sealed, code) = datagram.split_last_chunk::<MAC_LEN>().ok_or(Refusal::Length)?;
        let (header, body) = sealed.split_first_chunk::<HEADER_LEN>().ok_or(Refusal::Length)?;
        let word = |at: usize| {
            u64::from_le_bytes(
                *header[at..].first_chunk().expect("the header holds three words after its first four bytes"),
            )
        };
        if header[..3] != MAGIC {
            return Err(Refusal::Magic);
        }
        if header[3] != VERSION {
            return Err(Refusal::Version);
        }
        if word(4) != cluster {
            return Err(Refusal::Cluster);
        }
        if !seal.accepts(sealed, code) {
            return Err(Refusal::Forged);
        }
        Ok(Self { sender: id_of(word(12)), stamp: word(20), body })
    }

    /// The messages, still encoded. The first malformed one is the last item.
    pub fn parcels(&self) -> impl Iterator<Item = Result<Parcel<'a>, Refusal>> + use<'a> {
        let mut rest = self.body;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let parcel = next_parcel(&mut rest).ok_or(Refusal::Malformed);
            if parcel.is_err() {
                rest = &[];
            }
            Some(parcel)
        })
    }
}

/// One encoded message of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parcel<'a> {
    /// Who sends it.
    pub src: Id,
    /// Whom it is for.
    pub dst: Id,
    payload: &'a [u8],
}

impl Parcel<'_> {
    /// The message.
    ///
    /// # Errors
    /// When the bytes are no such message.
    pub fn message<M: DeserializeOwned>(&self) -> Result<M, Refusal> {
        decode(self.payload).map_err(|_| Refusal::Malformed)
    }
}

fn next_parcel<'a>(rest: &mut &'a [u8]) -> Option<Parcel<'a>> {
    let (length, tail) = rest.split_first_chunk()?;
    let (mut parcel, tail) = tail.split_at_checked(u16::from_le_bytes(*length).into())?;
    *rest = tail;
    let (src, dst) = (id_of(varint(&mut parcel)?), id_of(varint(&mut parcel)?));
    Some(Parcel { src, dst, payload: parcel })
}

/// A variable-length integer at the front of `bytes`, as the codec writes it.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let length = 1 + bytes.iter().position(|&byte| byte < 0x80)?;
    let (number, rest) = bytes.split_at(length);
    *bytes = rest;
    decode(number).ok()
}

fn id_bits(id: Id) -> u64 {
    usize::from(id) as u64
}

fn id_of(bits: u64) -> Id {
    Id::from(usize::try_from(bits).expect("this software runs on 64-bit machines"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Key;
    use proptest::prelude::*;

    const CLUSTER: u64 = 0x1122_3344_5566_7788;

    fn seal() -> Seal {
        Key::new([3; 32]).seal()
    }

    fn frame_of(messages: &[(usize, usize, String)]) -> FrameWriter {
        let mut frame = FrameWriter::default();
        frame.begin(CLUSTER, Id::from(5));
        for (src, dst, msg) in messages {
            frame.push(Id::from(*src), Id::from(*dst), msg, MAX_DATAGRAM_LEN).unwrap();
        }
        frame.seal(&seal(), 99);
        frame
    }

    fn read(frame: &Frame<'_>) -> Vec<(usize, usize, String)> {
        frame
            .parcels()
            .map(|p| p.unwrap())
            .map(|p| (p.src.into(), p.dst.into(), p.message().unwrap()))
            .collect()
    }

    proptest! {
        #[test]
        fn a_frame_carries_its_messages_in_order(messages in prop::collection::vec(any::<(usize, usize, String)>(), 0..20)) {
            let frame = frame_of(&messages);
            prop_assert_eq!(frame.messages(), messages.len());
            let opened = Frame::open(frame.bytes(), CLUSTER, &seal()).unwrap();
            prop_assert_eq!((opened.sender, opened.stamp), (Id::from(5), 99));
            prop_assert_eq!(read(&opened), messages);
        }

        #[test]
        fn a_frame_changed_in_any_bit_is_refused(
            messages in prop::collection::vec(any::<(usize, usize, String)>(), 0..4),
            at in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let mut bytes = frame_of(&messages).bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1u8 << bit;
            let expected = match at {
                0..3 => Refusal::Magic,
                3 => Refusal::Version,
                4..12 => Refusal::Cluster,
                _ => Refusal::Forged,
            };
            prop_assert_eq!(Frame::open(&bytes, CLUSTER, &seal()).unwrap_err(), expected);
        }

        #[test]
        fn a_truncated_or_extended_frame_is_refused(
            messages in prop::collection::vec(any::<(usize, usize, String)>(), 0..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = frame_of(&messages).bytes().to_vec();
            prop_assert!(Frame::open(&bytes[..cut.index(bytes.len())], CLUSTER, &seal()).is_err());
            bytes.push(0);
            prop_assert_eq!(Frame::open(&bytes, CLUSTER, &seal()).unwrap_err(), Refusal::Forged);
        }

        #[test]
        fn arbitrary_bytes_are_never_a_frame(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Frame::open(&bytes, CLUSTER, &seal()).is_err());
        }

        #[test]
        fn a_sealed_frame_of_arbitrary_content_never_panics(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut frame = FrameWriter::default();
            frame.begin(CLUSTER, Id::from(0));
            frame.bytes.extend_from_slice(&body);
            frame.seal(&seal(), 0);
            for parcel in Frame::open(frame.bytes(), CLUSTER, &seal()).unwrap().parcels() {
                let _ = parcel.map(|p| p.message::<Vec<Option<String>>>());
            }
        }
    }

    #[test]
    fn a_frame_of_another_key_is_forged() {
        let frame = frame_of(&[]);
        let other = Key::new([4; 32]).seal();
        assert_eq!(Frame::open(frame.bytes(), CLUSTER, &other).unwrap_err(), Refusal::Forged);
    }

    #[test]
    fn a_message_beyond_the_limit_leaves_the_frame_as_it_was() {
        let mut frame = FrameWriter::default();
        frame.begin(CLUSTER, Id::from(0));
        let before = frame.bytes().to_vec();
        let limit = HEADER_LEN + MAC_LEN + 2 + 2 + 11;
        assert!(frame.push(Id::from(1), Id::from(2), &"12345678901", limit).is_err());
        assert_eq!((frame.bytes(), frame.messages()), (&before[..], 0));
        frame.push(Id::from(1), Id::from(2), &"1234567890", limit).unwrap();
        frame.seal(&seal(), 0);
        assert_eq!(frame.bytes().len(), limit);
    }

    #[test]
    fn the_largest_message_fits_a_datagram_from_any_id() {
        let mut frame = FrameWriter::default();
        frame.begin(CLUSTER, Id::from(usize::MAX));
        let payload = "x".repeat(MAX_MESSAGE_LEN - 3);
        frame.push(Id::from(usize::MAX), Id::from(usize::MAX), &payload, MAX_DATAGRAM_LEN).unwrap();
        frame.seal(&seal(), 0);
        assert_eq!(frame.bytes().len(), MAX_DATAGRAM_LEN);
        assert!(Frame::open(frame.bytes(), CLUSTER, &seal()).is_ok());
    }
}
