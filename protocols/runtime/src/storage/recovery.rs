//! From files back to storages; see the essay in `mod.rs` for what is accepted, cut off, and refused.

use super::Journal;
use super::directory::{Directory, FIRST_RECORD, delete_before, file_name, sync_directory};
use super::disk;
use super::record::{
    BadHeader, FILE_HEADER_LEN, FRAME_LEN, FileHeader, Flaw, HEADER_LEN, Kind, RecordHeader, RecordReader,
    Then,
};
use crate::Error;
use crate::wire::decode;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A disk writes at least so many bytes or none of them.
const SECTOR: usize = 512;

/// What a start found in the data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Was there nothing at all?
    pub fresh: bool,
    /// Groups read from the log.
    pub groups: u64,
    /// Records read from snapshot and log.
    pub records: u64,
    /// Bytes read from snapshot and log.
    pub bytes: u64,
    /// The interrupted write that was cut off, if there was one.
    pub cut: Option<Cut>,
}

/// The remains of a write that a crash interrupted. Nothing of it was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub path: PathBuf,
    /// Where it began.
    pub offset: u64,
    /// How long it was.
    pub bytes: u64,
}

/// What a log goes on from.
pub(super) struct Recovered<S> {
    pub(super) storages: BTreeMap<u64, S>,
    /// The segment to append to.
    pub(super) number: u64,
    pub(super) file: File,
    pub(super) end: u64,
    /// The salt of that segment.
    pub(super) salt: u64,
    pub(super) next_group: u64,
    pub(super) snapshot_len: u64,
    /// Bytes of all segments.
    pub(super) log_len: u64,
    pub(super) report: Recovery,
}

/// Reads everything, cuts an interrupted write off, and opens the last segment for appending.
pub(super) fn recover<S, J: Journal<S>>(directory: &Directory, cluster: u64) -> Result<Recovered<S>, Error> {
    let mut contents = directory.contents()?;
    let path = directory.path();
    let base = contents.snapshots.last().copied();
    let first = base.unwrap_or(0);
    // What is there may be so in memory only, if the process before was killed or failed; it must not be built upon.
    sync_directory(path)?;
    contents.logs = contents.logs.split_off(&first);
    let fresh = base.is_none() && contents.logs.is_empty();
    if fresh {
        directory.create_log(FileHeader::new(Kind::Log, cluster, 0, 0)?)?;
        contents.logs.insert(0);
    }
    let mut reader = Reader::<S, J> {
        storages: BTreeMap::new(),
        report: Recovery { fresh, ..Recovery::default() },
        journal: std::marker::PhantomData,
    };
    let (mut next_group, mut snapshot_len, mut log_len) = (0, 0, 0);
    if let Some(number) = base {
        let scan = Scan::open(path, Kind::Snapshot, cluster, number, None)?;
        next_group = scan.header.first_group;
        let extent = scan.verify(false)?;
        if extent.groups > 1 {
            return Err(scan.damaged(FIRST_RECORD, "a snapshot has one group"));
        }
        snapshot_len = extent.end;
        reader.apply(&scan, extent.end)?;
        // Only now: were the snapshot damaged, what it replaces would be all there is.
        delete_before(path, number)?;
    }
    let last = contents.logs.last().copied().unwrap_or(first);
    let (mut end, mut salt) = (FIRST_RECORD, 0);
    for number in first..=last {
        if !contents.logs.contains(&number) {
            let what = "the segment is missing".into();
            return Err(Error::Damaged { path: file_name(path, Kind::Log, number), offset: 0, what });
        }
        let scan = Scan::open(path, Kind::Log, cluster, number, Some(next_group))?;
        let extent = scan.verify(number == last)?;
        reader.apply(&scan, extent.end)?;
        reader.report.groups += extent.groups;
        next_group += extent.groups;
        log_len += extent.end;
        (end, salt) = (extent.end, scan.header.salt);
        if extent.end < scan.len {
            reader.report.cut = Some(scan.cut(extent.end)?);
        }
        scan.make_durable(&extent)?;
    }
    let name = file_name(path, Kind::Log, last);
    let file = File::options().write(true).open(&name).map_err(Error::file("open", &name))?;
    let Reader { storages, report, .. } = reader;
    Ok(Recovered { storages, number: last, file, end, salt, next_group, snapshot_len, log_len, report })
}

/// One file being read.
pub(super) struct Scan {
    pub(super) path: PathBuf,
    pub(super) header: FileHeader,
    pub(super) len: u64,
}

/// What of a file is whole.
pub(super) struct Extent {
    /// Where the last whole group begins,
    last: u64,
    /// and where it ends.
    pub(super) end: u64,
    pub(super) groups: u64,
}

impl Scan {
    fn open(
        directory: &Path,
        kind: Kind,
        cluster: u64,
        number: u64,
        first_group: Option<u64>,
    ) -> Result<Self, Error> {
        let scan = Self::begin(directory, kind, number)?;
        if scan.header.cluster != cluster {
            let what = format!("belongs to cluster {:016x}, not to {cluster:016x}", scan.header.cluster);
            return Err(Error::ForeignDirectory { path: scan.path, what });
        }
        scan.follows(first_group)?;
        Ok(scan)
    }

    /// Reads the header of a file, of whatever cluster it is.
    pub(super) fn begin(directory: &Path, kind: Kind, number: u64) -> Result<Self, Error> {
        let path = file_name(directory, kind, number);
        let damaged = |what: &str| Error::Damaged { path: path.clone(), offset: 0, what: what.into() };
        let mut file = File::open(&path).map_err(Error::file("open", &path))?;
        let len = file.metadata().map_err(Error::file("inspect", &path))?.len();
        let mut bytes = Vec::new();
        let read = Read::by_ref(&mut file).take(FIRST_RECORD).read_to_end(&mut bytes);
        read.map_err(Error::file("read", &path))?;
        let header = FileHeader::from_bytes(&bytes, kind).map_err(|bad| match bad {
            BadHeader::Damaged if bytes.len() < FILE_HEADER_LEN => {
                damaged("the file is shorter than its header")
            }
            BadHeader::Damaged => damaged("the header has a wrong checksum"),
            BadHeader::Version(version) => Error::ForeignDirectory {
                path: path.clone(),
                what: format!("has format version {version}, which this software does not read"),
            },
        })?;
        if header.number != number {
            return Err(damaged("the file holds the content of another one"));
        }
        Ok(Self { path, header, len })
    }

    /// Does it begin with this group, if it has to?
    pub(super) fn follows(&self, first_group: Option<u64>) -> Result<(), Error> {
        if first_group.is_some_and(|group| group != self.header.first_group) {
            return Err(self.damaged(0, "the file does not follow the one before it"));
        }
        Ok(())
    }

    fn file(&self, offset: u64) -> Result<File, Error> {
        let open = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(file)
        };
        open().map_err(Error::file("open", &self.path))
    }

    pub(super) fn records(&self, end: u64) -> Result<RecordReader<BufReader<File>>, Error> {
        let input = BufReader::with_capacity(1 << 16, self.file(FIRST_RECORD)?);
        Ok(RecordReader::new(input, FIRST_RECORD, end, self.header.salt))
    }

    fn damaged(&self, offset: u64, what: impl Into<String>) -> Error {
        Error::Damaged { path: self.path.clone(), offset, what: what.into() }
    }

    /// Finds the whole groups. What follows them is an interrupted write if `may_be_cut` and nothing speaks against it.
    pub(super) fn verify(&self, may_be_cut: bool) -> Result<Extent, Error> {
        let mut records = self.records(self.len)?;
        let mut extent = Extent { last: FIRST_RECORD, end: FIRST_RECORD, groups: 0 };
        let flaw = loop {
            let offset = records.offset;
            let group = self.header.first_group + extent.groups;
            match records.next().map_err(Error::file("read", &self.path))? {
                Ok(None) if extent.end == self.len => return Ok(extent),
                // Whole records, but not the last of their group.
                Ok(None) => break Flaw::Short,
                Ok(Some((header, _))) if header.group != group => {
                    return Err(
                        self.damaged(offset, format!("a record of group {}, not {group}", header.group))
                    );
                }
                Ok(Some((header, _))) if header.then == Then::Nothing => {
                    (extent.last, extent.end) = (extent.end, records.offset);
                    extent.groups += 1;
                }
                Ok(Some(_)) => {}
                Err(flaw) => break flaw,
            }
        };
        let offset = records.offset;
        let what = match flaw {
            Flaw::Short => "the file ends within a record",
            Flaw::Header => "the header of a record has a wrong checksum",
            Flaw::Payload(_) => "the content of a record has a wrong checksum",
        };
        let group = self.header.first_group + extent.groups;
        if !may_be_cut || !self.is_interrupted(offset, flaw)? || self.has_later_group(offset, group)? {
            return Err(self.damaged(offset, what));
        }
        Ok(extent)
    }

    /// Is it possible that the record at `offset` was never written in full? Then all is zero that it, or what follows, has of
    /// some sector. Of a sector in which it begins or the file ends that may be little, but zeros are written in neither place.
    fn is_interrupted(&self, offset: u64, flaw: Flaw) -> Result<bool, Error> {
        let end = match flaw {
            Flaw::Short => return Ok(true),
            Flaw::Header => self.len,
            Flaw::Payload(len) => {
                let end = offset + FRAME_LEN + u64::from(len);
                end.next_multiple_of(SECTOR as u64).min(self.len)
            }
        };
        let mut input = BufReader::new(self.file(offset)?);
        let mut sector = [0; SECTOR];
        let mut at = offset;
        while at < end {
            let next = (at / SECTOR as u64 + 1) * SECTOR as u64;
            let part = usize::try_from(next.min(end) - at).expect("a part of a sector is small");
            input.read_exact(&mut sector[..part]).map_err(Error::file("read", &self.path))?;
            if sector[..part].iter().all(|&byte| byte == 0) {
                return Ok(true);
            }
            at = next;
        }
        Ok(false)
    }

    /// Does a record of a later group follow? Then the group at `offset` was durable once.
    fn has_later_group(&self, offset: u64, group: u64) -> Result<bool, Error> {
        let mut input = self.file(offset)?;
        let mut window = Vec::new();
        loop {
            let read = Read::by_ref(&mut input).take(1 << 16).read_to_end(&mut window);
            let read = read.map_err(Error::file("read", &self.path))?;
            let headers = window
                .windows(HEADER_LEN)
                .filter_map(|w| RecordHeader::from_bytes(w.first_chunk()?, self.header.salt));
            if headers.into_iter().any(|header| header.group > group) {
                return Ok(true);
            }
            if read == 0 {
                return Ok(false);
            }
            window.drain(..window.len().saturating_sub(HEADER_LEN - 1));
        }
    }

    /// Sees to it that what was read is on the disk: the last group was perhaps never synced.
    fn make_durable(&self, extent: &Extent) -> Result<(), Error> {
        let file = File::options().read(true).write(true).open(&self.path);
        file.and_then(|file| disk::write_again(&file, extent.last, extent.end))
            .map_err(Error::file("sync", &self.path))
    }

    /// Cuts off what follows `offset`.
    fn cut(&self, offset: u64) -> Result<Cut, Error> {
        let cut = || -> io::Result<()> {
            let file = File::options().write(true).open(&self.path)?;
            disk::set_len(&file, offset)?;
            disk::sync_all(&file)
        };
        cut().map_err(Error::file("cut the interrupted write off", &self.path))?;
        Ok(Cut { path: self.path.clone(), offset, bytes: self.len - offset })
    }
}

/// Collects storages.
struct Reader<S, J> {
    storages: BTreeMap<u64, S>,
    report: Recovery,
    journal: std::marker::PhantomData<J>,
}

impl<S, J: Journal<S>> Reader<S, J> {
    fn apply(&mut self, scan: &Scan, end: u64) -> Result<(), Error> {
        let mut records = scan.records(end)?;
        // The parts of a long change, and where it begins.
        let (mut parts, mut whole) = (Vec::new(), None);
        loop {
            let offset = records.offset;
            let next = records.next().map_err(Error::file("read", &scan.path))?;
            let next = next.map_err(|_| scan.damaged(offset, "the file changes while it is read"))?;
            let Some((header, payload)) = next else { break };
            self.report.records += 1;
            let (begun, actor) = *whole.get_or_insert((offset, header.actor));
            if actor != header.actor {
                return Err(scan.damaged(offset, "the change of another actor begins within a change"));
            }
            if header.then == Then::More {
                parts.extend_from_slice(payload);
                continue;
            }
            let payload = if parts.is_empty() {
                payload
            } else {
                parts.extend_from_slice(payload);
                &parts
            };
            let delta = decode(payload).map_err(|error| scan.damaged(begun, error.to_string()))?;
            let storage = J::apply(self.storages.remove(&actor), delta)
                .ok_or_else(|| scan.damaged(begun, "the change does not fit what precedes it"))?;
            self.storages.insert(actor, storage);
            // A long change is not kept in memory after it.
            (parts, whole) = (Vec::new(), None);
        }
        self.report.bytes += end;
        Ok(())
    }
}
