//! The file of a backup: what it is a backup of as a line of JSON, the entries in the order of their keys, and at its end their
//! number, their hash and the hash of everything before.

use super::{Backed, Entry};
use crate::error::Error;
use parthood_protocols::state_machine::{Bytes, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// The version of the format.
pub(super) const SCHEMA: &str = "parthood.backup/1";
const KIND: &str = "parthood.backup/";
/// The longest first line.
const MAX_HEADER_BYTES: u64 = 4096;
const ENTRY: u8 = 1;
const END: u8 = 0;

/// What a backup is a backup of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHeader {
    /// The version of the format.
    pub schema: String,
    /// The state machine.
    pub machine: String,
    /// The protocol that replicated it.
    pub protocol: String,
    /// The cluster.
    pub cluster: String,
    /// The replica whose state it is.
    pub node: String,
    /// How many slots, vertices or writes it had executed.
    pub executed: u64,
    /// Does it hold all that was acknowledged before it began?
    pub complete: bool,
    /// When it was made, in milliseconds since 1970.
    pub at_unix_ms: u64,
}

/// The hash of entries.
#[derive(Debug, Default)]
pub(super) struct Contents(blake3::Hasher);

impl Contents {
    pub(super) fn add(&mut self, (key, value): &Entry) {
        for part in [key, value] {
            self.0.update(&(part.as_slice().len() as u64).to_le_bytes());
            self.0.update(part.as_slice());
        }
    }

    pub(super) fn hash(&self) -> blake3::Hash {
        self.0.finalize()
    }
}

/// Writes a backup.
#[derive(Debug)]
pub(super) struct BackupWriter<W> {
    out: W,
    path: PathBuf,
    whole: blake3::Hasher,
    contents: Contents,
    last: Option<Bytes>,
    backed: Backed,
}

impl<W: Write> BackupWriter<W> {
    pub(super) fn begin(out: W, path: &Path, header: BackupHeader) -> Result<Self, Error> {
        let line = serde_json::to_string(&header).map_err(|error| {
            Error::Environment(format!("the header of a backup has no JSON form: {error}"))
        })?;
        let contents = Contents::default();
        let backed = Backed { header, keys: 0, bytes: 0, contents: contents.hash() };
        let mut writer =
            Self { out, path: path.to_owned(), whole: blake3::Hasher::new(), contents, last: None, backed };
        writer.write(format!("{line}\n").as_bytes())?;
        Ok(writer)
    }

    pub(super) fn entry(&mut self, entry: &Entry) -> Result<(), Error> {
        if self.last.as_ref().is_some_and(|last| *last >= entry.0) {
            return Err(Error::Environment("the replica hands keys out in a wrong order".into()));
        }
        let [key, value] = [&entry.0, &entry.1].map(Bytes::as_slice);
        let mut bytes = vec![ENTRY];
        for part in [key, value] {
            let len =
                u32::try_from(part.len()).map_err(|_| Error::Environment("a value exceeds 4 GiB".into()))?;
            bytes.extend_from_slice(&len.to_le_bytes());
        }
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        self.write(&bytes)?;
        self.contents.add(entry);
        self.last = Some(entry.0.clone());
        self.backed.keys += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(W, Backed), Error> {
        self.backed.contents = self.contents.hash();
        let mut end = vec![END];
        end.extend_from_slice(&self.backed.keys.to_le_bytes());
        end.extend_from_slice(self.backed.contents.as_bytes());
        self.write(&end)?;
        let whole = self.whole.finalize();
        self.write(whole.as_bytes())?;
        Ok((self.out, self.backed))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.whole.update(bytes);
        self.backed.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(Error::file("write", &self.path))
    }
}

/// A backup file that was found whole.
#[derive(Debug)]
pub(super) struct Backup {
    path: PathBuf,
    pub(super) backed: Backed,
}

impl Backup {
    /// Reads all of a file.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let (header, mut reader) = Reader::begin(path)?;
        let mut contents = Contents::default();
        while let Some(entry) = reader.next()? {
            contents.add(&entry);
        }
        if contents.hash() != reader.claimed {
            return Err(reader.damaged("its contents have another hash than it says"));
        }
        let backed = Backed { header, keys: reader.keys, bytes: reader.offset, contents: contents.hash() };
        Ok(Self { path: path.to_owned(), backed })
    }

    /// Its entries, in the order of their keys.
    pub(super) fn entries(&self) -> Result<impl Iterator<Item = Result<Entry, Error>> + use<>, Error> {
        let (_, mut reader) = Reader::begin(&self.path)?;
        Ok(std::iter::from_fn(move || reader.next().transpose()))
    }
}

struct Reader {
    path: PathBuf,
    input: BufReader<File>,
    whole: blake3::Hasher,
    offset: u64,
    keys: u64,
    last: Option<Bytes>,
    claimed: blake3::Hash,
}

impl Reader {
    fn begin(path: &Path) -> Result<(BackupHeader, Self), Error> {
        let file = File::open(path).map_err(Error::file("open", path))?;
        let mut input = BufReader::new(file);
        let mut line = Vec::new();
        let read = Read::by_ref(&mut input).take(MAX_HEADER_BYTES).read_until(b'\n', &mut line);
        read.map_err(Error::file("read", path))?;
        let value: Option<serde_json::Value> = serde_json::from_slice(&line).ok();
        let schema = value.as_ref().and_then(|value| value["schema"].as_str());
        match schema {
            Some(SCHEMA) => {}
            Some(other) if other.starts_with(KIND) => {
                return Err(Error::Usage(format!(
                    "{} has the format {other}, and this program reads {SCHEMA}: use the version that wrote it",
                    path.display()
                )));
            }
            _ => return Err(Error::Usage(format!("{} is no backup", path.display()))),
        }
        let header = serde_json::from_slice(&line)
            .map_err(|error| Error::Usage(format!("{}: its first line is wrong: {error}", path.display())))?;
        let mut whole = blake3::Hasher::new();
        whole.update(&line);
        let (claimed, offset) = (blake3::Hash::from_bytes([0; 32]), line.len() as u64);
        Ok((header, Self { path: path.to_owned(), input, whole, offset, keys: 0, last: None, claimed }))
    }

    /// The next entry; none when all of the file was read and found whole.
    fn next(&mut self) -> Result<Option<Entry>, Error> {
        match self.read::<1>()? {
            [ENTRY] => self.entry().map(Some),
            [END] => {
                let keys = u64::from_le_bytes(self.read()?);
                self.claimed = blake3::Hash::from_bytes(self.read()?);
                let whole = self.whole.finalize();
                if blake3::Hash::from_bytes(self.read()?) != whole {
                    return Err(self.damaged("it has another hash than it says"));
                }
                if keys != self.keys {
                    return Err(self.damaged(&format!("it holds {} keys and says {keys}", self.keys)));
                }
                let rest = self.input.fill_buf().map_err(Error::file("read", &self.path))?;
                if rest.is_empty() { Ok(None) } else { Err(self.damaged("something follows its end")) }
            }
            _ => Err(self.damaged("there is neither an entry nor the end")),
        }
    }

    fn entry(&mut self) -> Result<Entry, Error> {
        let [key, value] = [u32::from_le_bytes(self.read()?), u32::from_le_bytes(self.read()?)];
        if key as usize > MAX_KEY_BYTES || value as usize > MAX_VALUE_BYTES {
            return Err(self.damaged("a key or a value exceeds its limit"));
        }
        let entry = (self.bytes(key as usize)?, self.bytes(value as usize)?);
        if self.last.as_ref().is_some_and(|last| *last >= entry.0) {
            return Err(self.damaged("its keys are not in order"));
        }
        self.last = Some(entry.0.clone());
        self.keys += 1;
        Ok(entry)
    }

    fn bytes(&mut self, len: usize) -> Result<Bytes, Error> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes)?;
        Ok(Bytes::from(&bytes))
    }

    fn read<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged("it ends too early"),
            _ => Error::file("read", &self.path)(error),
        })?;
        self.offset += bytes.len() as u64;
        self.whole.update(bytes);
        Ok(())
    }

    fn damaged(&self, what: &str) -> Error {
        let (path, offset) = (self.path.display(), self.offset);
        Error::Environment(format!(
            "{path} is damaged before offset {offset}: {what}; take another copy of it"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn header() -> BackupHeader {
        BackupHeader {
            schema: SCHEMA.into(),
            machine: "key_value".into(),
            protocol: "multipaxos".into(),
            cluster: "0123456789abcdef".into(),
            node: "a".into(),
            executed: 7,
            complete: true,
            at_unix_ms: 1,
        }
    }

    fn entries() -> Vec<Entry> {
        let entry = |key: &str, value: &str| (Bytes::from(key), Bytes::from(value));
        vec![entry("", "empty"), entry("a", ""), entry("b", &"long ".repeat(20))]
    }

    fn written(path: &Path, entries: &[Entry]) -> Backed {
        let mut writer = BackupWriter::begin(File::create(path).unwrap(), path, header()).unwrap();
        for entry in entries {
            writer.entry(entry).unwrap();
        }
        writer.finish().unwrap().1
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.backup");
        for entries in [entries(), vec![]] {
            let backed = written(&path, &entries);
            assert_eq!(backed.bytes, fs::metadata(&path).unwrap().len());
            let backup = Backup::open(&path).unwrap();
            assert_eq!(backup.backed, backed);
            assert_eq!(backup.entries().unwrap().collect::<Result<Vec<_>, _>>().unwrap(), entries);
        }
    }

    #[test]
    fn a_file_that_is_cut_or_changed_anywhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.backup");
        written(&path, &entries());
        let good = fs::read(&path).unwrap();
        let refused = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            Backup::open(&path).expect_err("a damaged file").to_string()
        };
        for at in 0..good.len() {
            refused(&good[..at]);
            let mut changed = good.clone();
            changed[at] ^= 1 << (at % 8);
            refused(&changed);
        }
        assert!(refused(&good[..good.len() - 1]).contains("ends too early"));
        assert!(refused(&[&good[..], b"x"].concat()).contains("something follows its end"));
        assert!(refused(b"PNG and more").contains("is no backup"));
        let newer = String::from_utf8_lossy(&good[..100]).replace("backup/1", "backup/2");
        let newer = newer.split_once(',').unwrap().0.to_owned() + "}\n";
        assert!(refused(newer.as_bytes()).contains("has the format parthood.backup/2"));
        assert!(Backup::open(&folder.path().join("none")).unwrap_err().to_string().contains("cannot open"));
    }

    #[test]
    fn keys_out_of_order_are_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.backup");
        let mut writer = BackupWriter::begin(File::create(&path).unwrap(), &path, header()).unwrap();
        let [_, a, b] = &entries()[..] else { panic!("there are three") };
        writer.entry(b).unwrap();
        assert!(writer.entry(a).is_err() && writer.entry(b).is_err());
    }
}
