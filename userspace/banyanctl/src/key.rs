// SPDX-License-Identifier: GPL-2.0
//! The cluster's key: 32 bytes that every member has and nobody else.
//!
//! One [`Key`] per start of the daemon, dropped as soon as the kernel has it. It is never printed.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path, //
};

use anyhow::{bail, Context, Result};

use crate::{
    config::KeySource,
    failure::{Failure, Status}, //
};

/// Bytes of a key.
pub const LENGTH: usize = 32;

/// The key of a cluster.
#[derive(Clone, Eq, PartialEq)]
pub struct Key([u8; LENGTH]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// Takes a key as 32 bytes, or as 64 hexadecimal digits with white space around them.
    ///
    /// # Errors
    ///
    /// When it is neither.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if let Ok(raw) = bytes.try_into() {
            return Ok(Self(raw));
        }
        let text = std::str::from_utf8(bytes).unwrap_or("").trim();
        let digits: Option<Vec<u8>> = text
            .chars()
            .map(|c| c.to_digit(16).map(|digit| digit as u8))
            .collect();
        match digits {
            Some(digits) if digits.len() == 2 * LENGTH => {
                let mut key = [0; LENGTH];
                for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
                    *byte = pair.iter().fold(0, |value, digit| (value << 4) | digit);
                }
                Ok(Self(key))
            }
            _ => bail!(
                "a key is {LENGTH} bytes, or {} hexadecimal digits; this is neither",
                2 * LENGTH
            ),
        }
    }

    /// Reads it from where the settings say.
    ///
    /// # Errors
    ///
    /// When it cannot be read or is no key; when others than its owner may read the file.
    pub fn load(source: &KeySource) -> Result<Self> {
        match source {
            KeySource::Text(text) => Self::parse(text.as_bytes()).context("in the setting \"key\""),
            KeySource::File(path) => Self::load_file(path),
        }
    }

    fn load_file(path: &Path) -> Result<Self> {
        let missing = |error: &std::io::Error| {
            Failure::new(
                Status::Failed,
                format!("cannot read the cluster's key {}: {error}", path.display()),
            )
            .advise("Make one with `banyanctl make-key` on one node and copy it to all others.")
        };
        let mut file = File::open(path).map_err(|error| missing(&error))?;
        let mode = file.metadata()?.mode();
        if mode & 0o077 != 0 {
            return Err(Failure::new(
                Status::Failed,
                format!(
                    "the key {} may be read or written by others than root (mode {:o})",
                    path.display(),
                    mode & 0o777
                ),
            )
            .advise(format!("Make it private: chmod 0600 {}", path.display()))
            .into());
        }
        let mut bytes = Vec::new();
        // One byte more than the longest form, so that a longer file is seen to be one.
        Read::by_ref(&mut file).take(4096).read_to_end(&mut bytes)?;
        Self::parse(&bytes).with_context(|| format!("in {}", path.display()))
    }

    /// A new, random one.
    ///
    /// # Errors
    ///
    /// When /dev/urandom cannot be read.
    pub fn generate() -> Result<Self> {
        let mut key = [0; LENGTH];
        File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut key))
            .context("cannot read /dev/urandom")?;
        Ok(Self(key))
    }

    /// Writes it into a new file that its owner alone may read.
    ///
    /// # Errors
    ///
    /// When the file exists already, or cannot be made.
    pub fn save(&self, path: &Path) -> Result<()> {
        if let Some(directory) = path
            .parent()
            .filter(|directory| !directory.as_os_str().is_empty())
        {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        writeln!(file, "{}", self.digits())?;
        file.sync_all()?;
        Ok(())
    }

    /// The hexadecimal digits.
    pub fn digits(&self) -> String {
        let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
        self.0
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)])
            .collect()
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn bytes_and_digits() {
        let digits = "00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100";
        let key = Key::parse(format!("{digits}\n").as_bytes()).unwrap();
        assert_eq!(key.digits(), digits.to_lowercase());
        assert_eq!(Key::parse(key.bytes()).unwrap(), key);
        for bad in [
            &b""[..],
            b"abc",
            &digits.as_bytes()[1..],
            &[b'g'; 64],
            &[0; 33],
        ] {
            assert!(Key::parse(bad).is_err());
        }
        assert_eq!(format!("{key:?}"), "Key(..)");
    }

    #[test]
    fn file_must_be_private() {
        let directory = std::env::temp_dir().join(format!("banyanctl-key-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("key");
        let key = Key::generate().unwrap();
        key.save(&path).unwrap();
        assert!(key.save(&path).is_err());
        let source = KeySource::File(path.clone());
        assert_eq!(Key::load(&source).unwrap(), key);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Key::load(&source).unwrap_err();
        assert!(error
            .downcast_ref::<Failure>()
            .unwrap()
            .advice
            .as_deref()
            .unwrap()
            .contains("chmod 0600"));
        fs::remove_dir_all(&directory).unwrap();
    }
}
