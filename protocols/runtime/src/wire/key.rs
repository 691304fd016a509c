//! The cluster's key, and the seal that it puts on datagrams.
//!
//! Whoever holds the key is a member: it can speak for every node and every client. The seal keeps out everybody else,
//! and damage on the way. It does not hide what is sent, does not tell one member from another, and does not stop a
//! captured datagram from being sent again; protocols here are checked with duplicated messages for that reason. A
//! cluster that starts over with empty disks needs a new key or a new cluster id, or datagrams of its former life pass.

use crate::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The secret that all processes of a cluster share.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; Key::LEN]);

impl Key {
    /// The bytes of a key.
    pub const LEN: usize = 32;

    /// The key of these bytes.
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// A fresh key from the operating system's randomness.
    ///
    /// # Errors
    /// When the operating system has none.
    pub fn generate() -> Result<Self, Error> {
        Ok(Self(entropy()?))
    }

    /// Reads a key file: 64 hexadecimal digits, readable by nobody but its owner.
    ///
    /// # Errors
    /// When the file cannot be read, others may read it, or it holds something else.
    pub fn load(path: &Path) -> Result<Self, Error> {
        parse_hex(read_secret(path)?.trim()).map(Self).ok_or_else(|| {
            refuse(path, format!("must hold {} hexadecimal digits and nothing else", 2 * Self::LEN))
        })
    }

    /// Writes a new key file that only its owner can read.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(Error::file("create the key file", path))?;
        self.0
            .iter()
            .try_for_each(|byte| write!(file, "{byte:02x}"))
            .and_then(|()| writeln!(file))
            .and_then(|()| file.sync_all())
            .map_err(Error::file("write the key file", path))
    }

    /// What seals and checks datagrams with this key.
    pub fn seal(&self) -> Seal {
        Keys::from(self.clone()).seal()
    }

    fn derived(&self) -> [u8; 32] {
        blake3::derive_key("parthood 2026-11 datagram seal", &self.0)
    }
}

/// The keys that a process knows: one while nothing changes, two while a cluster goes over to another key.
///
/// First every process accepts the new key besides the old one; then every process sends with the new one and accepts the old
/// one; then nobody accepts the old one. Processes that are one stage apart understand one another, so each stage is a restart of one process
/// after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Seals what is sent.
    pub sent: Key,
    /// What it seals is accepted as well.
    pub accepted: Option<Key>,
}

impl From<Key> for Keys {
    fn from(sent: Key) -> Self {
        Self { sent, accepted: None }
    }
}

impl Keys {
    /// What seals and checks datagrams with these keys.
    pub fn seal(&self) -> Seal {
        Seal { sent: self.sent.derived(), accepted: self.accepted.as_ref().map(Key::derived) }
    }
}

fn refuse(path: &Path, what: String) -> Error {
    Error::Key { path: path.into(), what }
}

/// Reads a small file that nobody but its owner can read.
///
/// # Errors
/// When it cannot be read, or others may read it.
pub fn read_secret(path: &Path) -> Result<String, Error> {
    let file = File::open(path).map_err(Error::file("open the key file", path))?;
    let mode = file.metadata().map_err(Error::file("inspect the key file", path))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(refuse(path, format!("has mode {mode:03o}: others may read it; run chmod 600 on it")));
    }
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text).map_err(Error::file("read the key file", path))?;
    Ok(text)
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(secret)")
    }
}

/// Computes the code that proves a datagram comes from a holder of a key.
#[derive(Clone)]
pub struct Seal {
    sent: [u8; 32],
    accepted: Option<[u8; 32]>,
}

impl Seal {
    /// What proves that `bytes` come from here.
    pub(super) fn code(&self, bytes: &[u8]) -> [u8; 16] {
        code(&self.sent, bytes)
    }

    /// Is this a code of `bytes`? Takes the same time wherever the two differ.
    pub(super) fn accepts(&self, bytes: &[u8], found: &[u8; 16]) -> bool {
        let is_by = |key| {
            let difference = u128::from_ne_bytes(code(key, bytes)) ^ u128::from_ne_bytes(*found);
            std::hint::black_box(difference) == 0
        };
        is_by(&self.sent) || self.accepted.as_ref().is_some_and(is_by)
    }
}

/// The keyed hash of `bytes`, cut to 16 bytes: enough against guessing, as a forger cannot try codes offline.
fn code(key: &[u8; 32], bytes: &[u8]) -> [u8; 16] {
    let hash = blake3::keyed_hash(key, bytes);
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(secret)")
    }
}

/// Random bytes from the operating system.
///
/// # Errors
/// When it has none.
pub fn entropy<const N: usize>() -> Result<[u8; N], Error> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; N];
    let mut read = || -> io::Result<()> { File::open(path)?.read_exact(&mut bytes) };
    read().map_err(Error::file("read randomness from", path))?;
    Ok(bytes)
}

fn parse_hex(text: &str) -> Option<[u8; Key::LEN]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * Key::LEN {
        return None;
    }
    let mut bytes = [0; Key::LEN];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_saved_key_is_loaded_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.key");
        let key = Key::generate().unwrap();
        key.save(&path).unwrap();
        assert_eq!(Key::load(&path).unwrap(), key);
        assert_ne!(Key::generate().unwrap(), key);
        assert!(key.save(&path).unwrap_err().to_string().contains("cluster.key"));
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.key");
        Key::new([7; 32]).save(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let message = Key::load(&path).unwrap_err().to_string();
        assert!(message.contains("mode 640") && message.contains("chmod 600"), "{message}");
    }

    #[test]
    fn a_missing_or_malformed_key_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.key");
        assert!(Key::load(&path).unwrap_err().to_string().contains("cluster.key"));
        for text in ["", "abc", &"g".repeat(64), &"a".repeat(65), &"é".repeat(32)] {
            let _ = std::fs::remove_file(&path);
            File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
            assert!(Key::load(&path).unwrap_err().to_string().contains("64 hexadecimal digits"), "{text}");
        }
    }

    #[test]
    fn while_keys_are_exchanged_neighbouring_stages_understand_one_another_and_others_do_not() {
        let [old, new] = [1, 2].map(|byte| Key::new([byte; 32]));
        let stages = [
            Keys::from(old.clone()),
            Keys { sent: old.clone(), accepted: Some(new.clone()) },
            Keys { sent: new.clone(), accepted: Some(old) },
            Keys::from(new),
        ]
        .map(|keys| keys.seal());
        let hears = |to: &Seal, from: &Seal| to.accepts(b"message", &from.code(b"message"));
        for (i, one) in stages.iter().enumerate() {
            for (j, other) in stages.iter().enumerate() {
                assert_eq!(hears(one, other) && hears(other, one), i.abs_diff(j) <= 1, "{i} and {j}");
            }
        }
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(
            format!("{:?} {:?}", Key::new([1; 32]), Key::new([1; 32]).seal()),
            "Key(secret) Seal(secret)"
        );
    }
}
