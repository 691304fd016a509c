//! Records and the headers of files.

use crate::Error;
use crate::wire::entropy;
use crc32fast::Hasher;
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use std::io::{self, Read, Write};

pub(super) const FILE_HEADER_LEN: usize = 56;
pub(super) const HEADER_LEN: usize = 36;
/// A record begins with these bytes, none of which is zero,
const MAGIC: [u8; 4] = *b"PREC";
/// and ends with this one. So zeros where it begins or ends were never written.
const END: u8 = 0xE7;
/// The most bytes of a record besides its payload.
pub(super) const FRAME_LEN: u64 = HEADER_LEN as u64 + 1;
const VERSION: u32 = 2;
/// The length of the header of version 1.
const FIRST_FILE_HEADER_LEN: usize = 48;
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
    /// Goes into the checksums of all records, so that what was written into another file, or by a client into a value,
    /// is no record of this one.
    pub(super) salt: u64,
}

/// Why bytes are no file header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    Damaged,
    Version(u32),
}

impl FileHeader {
    /// The header of a new file.
    pub(super) fn new(kind: Kind, cluster: u64, number: u64, first_group: u64) -> Result<Self, Error> {
        Ok(Self { kind, cluster, number, first_group, salt: u64::from_le_bytes(entropy()?) })
    }

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
        bytes[44..52].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..52]);
        bytes[52..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header from the first bytes of a file, which may be fewer than a header has.
    pub(super) fn from_bytes(bytes: &[u8], kind: Kind) -> Result<Self, BadHeader> {
        let is_whole =
            |len: usize| bytes.len() >= len && crc32fast::hash(&bytes[..len - 4]) == u32_at(bytes, len - 4);
        if !bytes.starts_with(Self::magic(kind)) {
            return Err(BadHeader::Damaged);
        }
        if is_whole(FIRST_FILE_HEADER_LEN) && u32_at(bytes, 16) == 1 {
            return Err(BadHeader::Version(1));
        }
        if !is_whole(FILE_HEADER_LEN) {
            return Err(BadHeader::Damaged);
        }
        match u32_at(bytes, 16) {
            VERSION => Ok(Self {
                kind,
                cluster: u64_at(bytes, 20),
                number: u64_at(bytes, 28),
                first_group: u64_at(bytes, 36),
                salt: u64_at(bytes, 44),
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
    /// What follows it.
    pub(super) then: Then,
    crc: u32,
}

/// What follows a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Another change of the same group.
    Change,
    /// Nothing: it is the last record of its group.
    Nothing,
    /// More of the same change.
    More,
}

impl Then {
    const ALL: [Self; 3] = [Self::Change, Self::Nothing, Self::More];
}

/// The checksum of some bytes in a file with this salt.
fn checksum(salt: u64, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

impl RecordHeader {
    fn to_bytes(self, salt: u64) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.group.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.actor.to_le_bytes());
        bytes[24..28].copy_from_slice(&(self.then as u32).to_le_bytes());
        bytes[28..32].copy_from_slice(&self.crc.to_le_bytes());
        let crc = checksum(salt, &bytes[..32]);
        bytes[32..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; HEADER_LEN], salt: u64) -> Option<Self> {
        let good = bytes[..4] == MAGIC && checksum(salt, &bytes[..32]) == u32_at(bytes, 32);
        let then = *Then::ALL.get(u32_at(bytes, 24) as usize).filter(|_| good)?;
        Some(Self {
            len: u32_at(bytes, 4),
            group: u64_at(bytes, 8),
            actor: u64_at(bytes, 16),
            then,
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
    /// A delta has no binary form.
    NoForm,
    Io(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Writes the records of one group. Large groups go out in parts, and large deltas as several records; the last record
/// waits for [`GroupWriter::finish`], since its header says that it is the last.
#[derive(Debug)]
pub(super) struct GroupWriter {
    buf: Vec<u8>,
    /// Where in `buf` the last record begins, and whose it is.
    open: Option<(usize, u64)>,
    group: u64,
    salt: u64,
    /// The most bytes of a record's payload; at least 1.
    max_len: usize,
    /// Records of this group so far.
    pub(super) records: u64,
}

impl GroupWriter {
    /// Writes records of at most `max_len` bytes.
    pub(super) fn new(max_len: u32) -> Self {
        let max_len = (max_len as usize).max(1);
        Self { buf: Vec::new(), open: None, group: 0, salt: 0, max_len, records: 0 }
    }

    /// Begins a group in a file with this salt.
    pub(super) fn begin(&mut self, group: u64, salt: u64) {
        (self.group, self.salt, self.records, self.open) = (group, salt, 0, None);
        self.buf.clear();
    }

    pub(super) fn push<D: Serialize>(
        &mut self,
        out: &mut impl Write,
        actor: u64,
        delta: &D,
    ) -> Result<(), WriteError> {
        self.close(Then::Change);
        self.open(out, actor)?;
        let mut failed = None;
        let written =
            postcard::serialize_with_flavor(delta, Parts { group: self, out, actor, failed: &mut failed });
        match failed {
            Some(error) => Err(WriteError::Io(error)),
            None => written.map_err(|_| WriteError::NoForm),
        }
    }

    /// Writes the rest. A group without records leaves no trace.
    pub(super) fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.close(Then::Nothing);
        out.write_all(&self.buf)
    }

    /// Begins a record.
    fn open(&mut self, out: &mut impl Write, actor: u64) -> io::Result<()> {
        if self.buf.len() >= FLUSH_LEN {
            out.write_all(&self.buf)?;
            self.buf.clear();
        }
        self.open = Some((self.buf.len(), actor));
        self.buf.extend_from_slice(&[0; HEADER_LEN]);
        self.records += 1;
        Ok(())
    }

    /// How many bytes the open record still takes.
    fn room(&self) -> usize {
        let taken = self.open.map_or(0, |(start, _)| self.buf.len() - start - HEADER_LEN);
        self.max_len - taken
    }

    fn close(&mut self, then: Then) {
        let Some((start, actor)) = self.open.take() else { return };
        let payload = &self.buf[start + HEADER_LEN..];
        let len = u32::try_from(payload.len()).expect("the length of a record is limited by an u32");
        let crc = checksum(self.salt, payload);
        let header = RecordHeader { len, group: self.group, actor, then, crc };
        self.buf[start..start + HEADER_LEN].copy_from_slice(&header.to_bytes(self.salt));
        self.buf.push(END);
    }
}

/// Writes a delta into the open record, and what exceeds it into further ones.
struct Parts<'a, W> {
    group: &'a mut GroupWriter,
    out: &'a mut W,
    actor: u64,
    failed: &'a mut Option<io::Error>,
}

impl<W: Write> Flavor for Parts<'_, W> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, mut bytes: &[u8]) -> postcard::Result<()> {
        while bytes.len() > self.group.room() {
            let (now, later) = bytes.split_at(self.group.room());
            self.group.buf.extend_from_slice(now);
            self.group.close(Then::More);
            if let Err(error) = self.group.open(self.out, self.actor) {
                *self.failed = Some(error);
                return Err(postcard::Error::SerializeBufferFull);
            }
            bytes = later;
        }
        self.group.buf.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
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
    salt: u64,
    payload: Vec<u8>,
}

impl<R: Read> RecordReader<R> {
    /// Reads from `input`, which stands at `offset` of a file of `len` bytes with this salt.
    pub(super) fn new(input: R, offset: u64, len: u64, salt: u64) -> Self {
        Self { input, offset, len, salt, payload: Vec::new() }
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
        let Some(header) = RecordHeader::from_bytes(&header, self.salt) else { return Ok(Err(Flaw::Header)) };
        let whole = FRAME_LEN + u64::from(header.len);
        if whole > left {
            return Ok(Err(Flaw::Short));
        }
        self.payload.resize(header.len as usize + 1, 0);
        self.input.read_exact(&mut self.payload)?;
        if self.payload.pop() != Some(END) || checksum(self.salt, &self.payload) != header.crc {
            return Ok(Err(Flaw::Payload(header.len)));
        }
        self.offset += whole;
        Ok(Ok(Some((header, &self.payload))))
    }
}
