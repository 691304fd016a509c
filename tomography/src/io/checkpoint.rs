//! Checkpoints: what a solver carries from one iteration to the next, in a file.
//!
//! ```text
//! mark, identity of the run (32 bytes), iterations, number of scalars, number of stacks, scalars,
//! then per stack its extents and its slabs as they lie in memory, and at the end the BLAKE3 hash of all before it
//! ```
//!
//! Numbers are little endian, counts of 8 bytes. A file replaces the one before it when all of it is on disk, so a crash
//! leaves one of the two, whole. The identity says of which run it is: what was begun with another plan or other images
//! is not continued. What is read is checked before memory is taken for it, as every file.

use super::{content, refused, replace};
use crate::solve::State;
use crate::{LANES, Lanes, Result, Shape, Stack};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// The mark and the format.
const MARK: [u8; 16] = *b"parthood state 1";
/// Bytes of the hash, and of an identity.
const HASH: usize = 32;
/// No solver keeps more numbers or stacks.
const MAX_COUNT: u64 = 64;
const ANEW: &str = "; delete the file, or begin anew";

/// The checkpoint of one run.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    path: PathBuf,
    identity: [u8; HASH],
}

impl Checkpoint {
    /// The checkpoint at a path of the run that these texts identify.
    pub fn new(path: PathBuf, identity: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for text in identity {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        Self { path, identity: *hasher.finalize().as_bytes() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was kept, if there is a file.
    ///
    /// # Errors
    /// [`crate::Error::Content`] if it is another run's or damaged, [`crate::Error::File`] if the system refuses.
    pub fn load(&self) -> Result<Option<State>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(refused(&self.path, "open")(error)),
        };
        let length = file.metadata().map_err(refused(&self.path, "read"))?.len();
        let file = BufReader::with_capacity(1 << 20, file);
        Source { path: &self.path, file, hasher: blake3::Hasher::new(), left: length }
            .state(&self.identity)
            .map(Some)
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// [`crate::Error::File`] if the system refuses, as on a full disk; what was kept before is then still there.
    pub fn save(&self, iterations: usize, scalars: &[f64], stacks: &[&Stack]) -> Result<()> {
        replace(&self.path, |file| {
            let mut hasher = blake3::Hasher::new();
            let mut write = |bytes: &[u8]| {
                hasher.update(bytes);
                file.write_all(bytes).map_err(refused(&self.path, "write"))
            };
            write(&MARK)?;
            write(&self.identity)?;
            for count in [iterations, scalars.len(), stacks.len()] {
                write(&(count as u64).to_le_bytes())?;
            }
            for scalar in scalars {
                write(&scalar.to_le_bytes())?;
            }
            let mut bytes = Vec::new();
            for stack in stacks {
                for extent in stack.shape().to_array() {
                    write(&(extent as u64).to_le_bytes())?;
                }
                for lanes in stack.slabs().iter().flat_map(|slab| slab.data.chunks(1 << 10)) {
                    bytes.clear();
                    Lanes::write(lanes, &mut bytes);
                    write(&bytes)?;
                }
            }
            let hash = hasher.finalize();
            file.write_all(hash.as_bytes()).map_err(refused(&self.path, "write"))
        })
    }

    /// Removes the file, if there is one.
    ///
    /// # Errors
    /// [`crate::Error::File`] if the system refuses.
    pub fn remove(&self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(refused(&self.path, "remove")(error)),
            _ => Ok(()),
        }
    }
}

/// A file that is read and hashed.
struct Source<'a> {
    path: &'a Path,
    file: BufReader<File>,
    hasher: blake3::Hasher,
    /// Bytes that are left to read.
    left: u64,
}

impl Source<'_> {
    fn state(mut self, identity: &[u8; HASH]) -> Result<State> {
        if self.bytes::<16>()? != MARK {
            let expected = format!("that of a checkpoint of this version{ANEW}");
            return Err(content(self.path, "the mark at its beginning", "another", expected));
        }
        if self.bytes::<HASH>()? != *identity {
            let expected = format!("this one: the plan or the images are others{ANEW}");
            return Err(content(self.path, "the run it belongs to", "another", expected));
        }
        let iterations = self.count("iterations", 1 << 32)?;
        let scalars = self.count("numbers", MAX_COUNT)?;
        let stacks = self.count("stacks", MAX_COUNT)?;
        let scalars = (0..scalars).map(|_| Ok(f64::from_le_bytes(self.bytes()?))).collect::<Result<_>>()?;
        let stacks = (0..stacks).map(|_| self.stack()).collect::<Result<_>>()?;
        let found = self.hasher.finalize();
        if self.left != HASH as u64 || self.bytes::<HASH>()? != *found.as_bytes() {
            let expected = format!("that of what it holds: it is damaged{ANEW}");
            return Err(content(self.path, "the hash at its end", "another", expected));
        }
        Ok(State { iterations, scalars, stacks })
    }

    fn need(&self, bytes: u64) -> Result<()> {
        if bytes <= self.left {
            return Ok(());
        }
        let expected = format!("{bytes} at the least: it is damaged{ANEW}");
        Err(content(self.path, "the number of bytes left in it", self.left, expected))
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.need(bytes.len() as u64)?;
        self.file.read_exact(bytes).map_err(refused(self.path, "read"))?;
        self.left -= bytes.len() as u64;
        self.hasher.update(bytes);
        Ok(())
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    fn count(&mut self, what: &str, most: u64) -> Result<usize> {
        let count = u64::from_le_bytes(self.bytes()?);
        if count > most {
            let expected = format!("at most {most}: it is damaged{ANEW}");
            return Err(content(self.path, format!("the number of {what}"), count, expected));
        }
        Ok(count as usize)
    }

    fn stack(&mut self) -> Result<Stack> {
        let most = Shape::MAX_EXTENT as u64;
        let [planes, rows, columns] =
            [self.count("planes", most)?, self.count("rows", most)?, self.count("columns", most)?];
        let shape = Shape::new(planes, rows, columns)?;
        let slabs = [planes, columns, rows.div_ceil(LANES), size_of::<Lanes>()];
        self.need(slabs.iter().fold(1, |bytes: u64, extent| bytes.saturating_mul(*extent as u64)))?;
        let mut stack = Stack::zeros(shape);
        let mut bytes = Vec::new();
        for lanes in stack.slabs_mut().iter_mut().flat_map(|slab| slab.data.chunks_mut(1 << 10)) {
            bytes.resize(size_of_val(lanes), 0);
            self.read(&mut bytes)?;
            Lanes::read(lanes, &bytes);
        }
        Ok(stack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::testing::noise;

    fn written(folder: &Path) -> (Checkpoint, State) {
        let stacks = [[3, 37, 5], [2, 4, 7]]
            .map(|[planes, rows, columns]| noise(Shape::new(planes, rows, columns).unwrap(), rows as u64));
        let state = State { iterations: 7, scalars: vec![1.5, f64::INFINITY], stacks: stacks.to_vec() };
        let checkpoint = Checkpoint::new(folder.join("a.state"), &["plan", "images"]);
        assert_eq!(checkpoint.load().unwrap(), None);
        checkpoint.save(state.iterations, &state.scalars, &state.stacks.iter().collect::<Vec<_>>()).unwrap();
        (checkpoint, state)
    }

    #[test]
    fn what_was_kept_is_read_again_in_every_bit() {
        let folder = tempfile::tempdir().unwrap();
        let (checkpoint, state) = written(folder.path());
        assert_eq!(checkpoint.load().unwrap(), Some(state));
        checkpoint.save(8, &[], &[]).unwrap();
        assert_eq!(checkpoint.load().unwrap().unwrap().iterations, 8);
        checkpoint.remove().unwrap();
        checkpoint.remove().unwrap();
        assert_eq!(checkpoint.load().unwrap(), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn another_runs_checkpoint_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (checkpoint, _) = written(folder.path());
        for identity in [&["plan", "image"][..], &["plani", "mages"], &["plan"]] {
            let other = Checkpoint::new(checkpoint.path().to_owned(), identity);
            let error = other.load().unwrap_err().to_string();
            assert!(error.contains("the plan or the images are others"), "{error}");
        }
    }

    #[test]
    fn no_damage_goes_unnoticed_and_none_takes_memory() {
        let folder = tempfile::tempdir().unwrap();
        let (checkpoint, _) = written(folder.path());
        let whole = std::fs::read(checkpoint.path()).unwrap();
        let refused = |bytes: &[u8]| {
            std::fs::write(checkpoint.path(), bytes).unwrap();
            let error = checkpoint.load().unwrap_err();
            assert!(matches!(error, Error::Content { .. } | Error::Parameter { .. }), "{error}");
        };
        for at in (0..120).chain((120..whole.len()).step_by(97)).chain(whole.len() - 40..whole.len()) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            refused(&bytes);
        }
        for length in [0, 15, 48, 71, 100, whole.len() / 2, whole.len() - 1] {
            refused(&whole[..length]);
        }
        refused(&[&whole[..], &[0]].concat());
        // A stack of 2^20 voxels along each axis is claimed, and is not there.
        let mut huge = whole.clone();
        for extent in 0..3 {
            huge[88 + 8 * extent..][..8].copy_from_slice(&(1_u64 << 20).to_le_bytes());
        }
        refused(&huge);
    }
}
