//! Records and the headers of files.

use super::MAX_DELTA_LEN;
use crate::wire::encode;
use serde::Serialize;
use std::io::{self, Read, Write};

pub(super) const FILE_HEADER_LEN: usize = 48;
pub(super) const HEADER_LEN: usize = 36;
const MAGIC: [u8; 4] = *b"PREC";
const VERSION: u32 = 1;
/// A group that outgrows this many bytes is written in parts.
const FLUSH_LEN: usize = 1 << 20;

/// Which of the two a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Log,
    Snapshot,
}

/// The first bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) kind: Kind,
    pub(super) cluster: u64,
    /// The number in the name of the file.
    pub(super) number: u64,
    /// The group of the first record, whether or not it exists already.
    pub(super) first_group: u64,
}

/// Why bytes are no file header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    Damaged,
    Version(u32),
}

impl FileHeader {
    fn magic(kind: Kind) -> &'static [u8; 16] {
        match kind {
            Kind::Log => b"parthood log\0\0\0\0",
            Kind::Snapshot => b"parthood snap\0\0\0",
        }
    }

    pub(super) fn to_bytes(self) -> [u8; FILE_HEADER_LEN] {
        let mut bytes = [0; FILE_HEADER_LEN];
        bytes[..16].copy_from_slice(Self::magic(self.kind));
        bytes[16..20].copy_from_slice(&VERSION.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.cluster.to_le_bytes());
        bytes[28..36].copy_from_slice(&self.number.to_le_bytes());
        bytes[36..44].copy_from_slice(&self.first_group.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..44]);
        bytes[44..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; FILE_HEADER_LEN], kind: Kind) -> Result<Self, BadHeader> {
        if bytes[..16] != *Self::magic(kind) || crc32fast::hash(&bytes[..44]) != u32_at(bytes, 44) {
            return Err(BadHeader::Damaged);
        }
        match u32_at(bytes, 16) {
            VERSION => Ok(Self {
                kind,
                cluster: u64_at(bytes, 20),
                number: u64_at(bytes, 28),
                first_group: u64_at(bytes, 36),
            }),
            version => Err(BadHeader::Version(version)),
        }
    }
}

/// What precedes the payload of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) len: u32,
    pub(super) group: u64,
    pub(super) actor: u64,
    /// Is it the last record of its group?
    pub(super) last: bool,
    crc: u32,
}

impl RecordHeader {
    fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.group.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.actor.to_le_bytes());
        bytes[24..28].copy_from_slice(&u32::from(self.last).to_le_bytes());
        bytes[28..32].copy_from_slice(&self.crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..32]);
        bytes[32..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let good = bytes[..4] == MAGIC && crc32fast::hash(&bytes[..32]) == u32_at(bytes, 32);
        good.then(|| Self {
            len: u32_at(bytes, 4),
            group: u64_at(bytes, 8),
            actor: u64_at(bytes, 16),
            last: u32_at(bytes, 24) != 0,
            crc: u32_at(bytes, 28),
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("headers have fixed fields"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("headers have fixed fields"))
}

/// Why a group cannot be written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// A delta exceeds [`MAX_DELTA_LEN`].
    TooLong,
    Io(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Writes the records of one group. Large groups go out in parts; the last record waits for [`GroupWriter::finish`],
/// since its header says that it is the last.
#[derive(Debug, Default)]
pub(super) struct GroupWriter {
    buf: Vec<u8>,
    /// Where in `buf` the last record begins, and whose it is.
    open: Option<(usize, u64)>,
    group: u64,
    /// Records of this group so far.
    pub(super) records: u64,
}

impl GroupWriter {
    pub(super) fn begin(&mut self, group: u64) {
        *self = Self { buf: std::mem::take(&mut self.buf), open: None, group, records: 0 };
        self.buf.clear();
    }

    pub(super) fn push<D: Serialize>(
        &mut self,
        out: &mut impl Write,
        actor: u64,
        delta: &D,
    ) -> Result<(), WriteError> {
        self.close(false);
        if self.buf.len() >= FLUSH_LEN {
            out.write_all(&self.buf)?;
            self.buf.clear();
        }
        let start = self.buf.len();
        self.buf.extend_from_slice(&[0; HEADER_LEN]);
        encode(delta, &mut self.buf, MAX_DELTA_LEN).map_err(|_| WriteError::TooLong)?;
        self.open = Some((start, actor));
        self.records += 1;
        Ok(())
    }

    /// Writes the rest. A group without records leaves no trace.
    pub(super) fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.close(true);
        out.write_all(&self.buf)
    }

    fn close(&mut self, last: bool) {
        let Some((start, actor)) = self.open.take() else { return };
        let payload = &self.buf[start + HEADER_LEN..];
        let len = u32::try_from(payload.len()).expect("a delta is shorter than 4 GiB");
        let header = RecordHeader { len, group: self.group, actor, last, crc: crc32fast::hash(payload) };
        self.buf[start..start + HEADER_LEN].copy_from_slice(&header.to_bytes());
    }
}

/// What is wrong with the bytes at the reader's offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The file ends within the record.
    Short,
    /// The record's header has a wrong checksum.
    Header,
    /// The payload, which has this many bytes, has a wrong checksum.
    Payload(u32),
}

/// A record and its payload, or why there is none; neither at the end of the file.
pub(super) type Next<'a> = Result<Option<(RecordHeader, &'a [u8])>, Flaw>;

/// Reads record after record.
pub(super) struct RecordReader<R> {
    input: R,
    /// Where the next record begins.
    pub(super) offset: u64,
    len: u64,
    payload: Vec<u8>,
}

impl<R: Read> RecordReader<R> {
    /// Reads from `input`, which stands at `offset` of a file of `len` bytes.
    pub(super) fn new(input: R, offset: u64, len: u64) -> Self {
        Self { input, offset, len, payload: Vec::new() }
    }

    /// The next record, or `None` at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        let left = self.len - self.offset;
        if left == 0 {
            return Ok(Ok(None));
        }
        if left < HEADER_LEN as u64 {
            return Ok(Err(Flaw::Short));
        }
        let mut header = [0; HEADER_LEN];
        self.input.read_exact(&mut header)?;
        let Some(header) = RecordHeader::from_bytes(&header) else { return Ok(Err(Flaw::Header)) };
        let whole = HEADER_LEN as u64 + u64::from(header.len);
        if whole > left {
            return Ok(Err(Flaw::Short));
        }
        self.payload.resize(header.len as usize, 0);
        self.input.read_exact(&mut self.payload)?;
        if crc32fast::hash(&self.payload) != header.crc {
            return Ok(Err(Flaw::Payload(header.len)));
        }
        self.offset += whole;
        Ok(Ok(Some((header, &self.payload))))
    }
}
