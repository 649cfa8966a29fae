// SPDX-License-Identifier: GPL-2.0
//! The attributes of this node in `/sys/kernel/banyan/`: read by `status`, written by `serve`, `join` and `leave`.
//!
//! One [`Sysfs`] per command. What each attribute takes and gives is documented with the kernel module; here are only those names
//! that the tool uses itself.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf}, //
};

use crate::failure::{libc_errno, Failure, Status};

/// The directory that the module makes.
pub const DIRECTORY: &str = "/sys/kernel/banyan";

/// The directory of attributes.
#[derive(Clone, Debug)]
pub struct Sysfs {
    directory: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self::at(Path::new(DIRECTORY))
    }
}

impl Sysfs {
    /// Attributes in another directory.
    pub fn at(directory: &Path) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Whether the module is there.
    pub fn exists(&self) -> bool {
        self.directory.is_dir()
    }

    /// The value of an attribute without white space around it; `None` when it is not there or cannot be read.
    pub fn get(&self, name: &str) -> Option<String> {
        Some(
            fs::read_to_string(self.directory.join(name))
                .ok()?
                .trim()
                .to_owned(),
        )
    }

    /// Whether this node is, or is about to be, in the cluster.
    pub fn is_online(&self) -> bool {
        self.get("online").is_some_and(|value| value == "1")
    }

    /// All attributes that can be read, by name.
    pub fn all(&self) -> BTreeMap<String, String> {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return BTreeMap::new();
        };
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| self.get(&name).map(|value| (name, value)))
            .collect()
    }

    /// Writes an attribute in one piece.
    ///
    /// # Errors
    ///
    /// A [`Failure`] with words for what the kernel answered. The value is not in them: it may be the key.
    pub fn set(&self, name: &str, value: &str) -> Result<(), Failure> {
        self.write(name, value)
            .map_err(|error| self.explain(name, &error))
    }

    fn write(&self, name: &str, value: &str) -> io::Result<()> {
        let line = format!("{value}\n");
        let mut file = OpenOptions::new()
            .write(true)
            .open(self.directory.join(name))?;
        match file.write(line.as_bytes())? {
            written if written == line.len() => Ok(()),
            _ => Err(io::Error::from(io::ErrorKind::WriteZero)),
        }
    }

    fn explain(&self, name: &str, error: &io::Error) -> Failure {
        if !self.exists() {
            return Failure::not_loaded();
        }
        let what = format!(
            "the setting {name} was not taken ({}): {error}",
            self.directory.join(name).display()
        );
        match error.raw_os_error() {
            Some(libc_errno::EPERM | libc_errno::EACCES) => {
                Failure::new(Status::NotPermitted, what).advise("Only root may change this node's settings.")
            }
            Some(libc_errno::EBUSY) if name == "online" => Failure::new(Status::Held, what)
                .advise("A process holds this node; see which: banyanctl ps. Send it home first: banyanctl drain"),
            Some(libc_errno::EBUSY) => {
                Failure::new(Status::Held, what).advise("The node is online. Let it leave first: banyanctl leave")
            }
            Some(libc_errno::EEXIST) => Failure::new(Status::Failed, what)
                .advise("Another node has this id. Give this one its own: `node = N` in /etc/banyan/banyan.conf"),
            Some(libc_errno::EINVAL) if name == "online" => Failure::new(Status::Failed, what)
                .advise("Key, node or address are missing; put the key into /etc/banyan/key, then: systemctl restart banyan"),
            _ => Failure::new(Status::Failed, what).advise("The reason may be in the kernel log: dmesg | grep banyan"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_and_written() {
        let directory =
            std::env::temp_dir().join(format!("banyanctl-sysfs-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let sysfs = Sysfs::at(&directory);
        assert!(sysfs.exists() && !sysfs.is_online());
        fs::write(directory.join("online"), "0\n").unwrap();
        fs::write(directory.join("cluster"), "grove\n").unwrap();
        sysfs.set("online", "1").unwrap();
        assert!(sysfs.is_online());
        assert_eq!(
            sysfs.all().get("cluster").map(String::as_str),
            Some("grove")
        );
        // An attribute is never made: that is the module's.
        assert!(sysfs.set("shade", "1").is_err());
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(
            sysfs.set("online", "1").unwrap_err().status,
            Status::NotRunning
        );
    }
}
