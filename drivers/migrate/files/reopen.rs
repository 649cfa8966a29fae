// SPDX-License-Identifier: GPL-2.0

//! Files that are opened again where the process is: those on shared mounts, and devices that every node has alike.
//!
//! A file is the right one if its mount has the same identity and its inode the same number. Opening revalidates what this node had
//! cached of it, so that it sees what was written elsewhere before.

use banyan_wire::image_files::{
    self,
    Device,
    FileIdentity,
    Place, //
};
use kernel::{
    fs::{
        file::flags::O_RDONLY,
        File, //
    },
    prelude::*,
    str::BStr,
    sync::aref::ARef, //
};
use kernel_ext::file::{
    self,
    Facts, //
};
use kernel_ext::file_numbers::{
    FASYNC,
    O_ACCMODE,
    O_CLOEXEC,
    O_DIRECTORY,
    O_LARGEFILE,
    O_NOCTTY,
    O_NOFOLLOW,
    O_PATH,
    O_RDWR,
    S_IFCHR,
    S_IFMT,
    S_IFREG, //
};

use super::Files;

/// A path as the kernel wants it.
struct ZeroTerminated(KVec<u8>);

impl ZeroTerminated {
    fn new(path: &[u8]) -> Result<Self> {
        let mut bytes = KVec::with_capacity(path.len().saturating_add(1), GFP_KERNEL)?;
        bytes.extend_from_slice(path, GFP_KERNEL)?;
        bytes.push(0, GFP_KERNEL)?;
        Ok(Self(bytes))
    }

    fn get(&self) -> Result<&CStr> {
        CStr::from_bytes_with_nul(&self.0).map_err(|_| EINVAL)
    }
}

impl Files {
    /// Whether a file here is the one that was named elsewhere.
    fn is(&self, facts: &Facts, mount: &[u8], ino: u64) -> bool {
        !facts.unlinked
            && facts.ino == ino
            && self.mounts.of(facts).is_some_and(|here| here == *mount)
    }

    /// Opens a file of a shared mount again, as the one who opened it first.
    ///
    /// # Errors
    ///
    /// `ESTALE` if another file has its name or its mount is not here, and those of `open(2)`.
    pub fn reopen(&self, identity: &FileIdentity, path: &[u8], flags: u32) -> Result<ARef<File>> {
        let path = ZeroTerminated::new(path)?;
        let path = path.get()?;
        let flags = (flags & !(FASYNC | O_CLOEXEC | O_PATH)) | O_NOFOLLOW | O_NOCTTY | O_LARGEFILE;
        let opened = match file::as_identity(identity.opener_uid, identity.opener_gid, || {
            file::open(path, flags)
        }) {
            // It was open already, whatever its permissions say by now; that it is the same file is checked below.
            Err(error) if error == EACCES || error == EPERM => file::open(path, flags),
            other => other,
        }
        .inspect_err(|error| pr_notice!("{:?}: cannot be opened again: {:?}\n", path, error))?;
        let facts = file::facts(&opened);
        if !self.is(&facts, &identity.mount, identity.ino)
            || (facts.mode ^ identity.mode) & S_IFMT != 0
        {
            pr_notice!("{:?} is another file here\n", path);
            return Err(ESTALE);
        }
        if facts.mode & S_IFMT == S_IFREG && flags & O_ACCMODE != O_RDONLY {
            // Opening revalidates, but pages that were written here before the process went elsewhere may pass for whole.
            file::revalidate(&opened)?;
        }
        Ok(opened)
    }

    /// Opens a device that every node has alike.
    ///
    /// # Errors
    ///
    /// `ESTALE` if it is another one here, and those of `open(2)`.
    pub fn reopen_device(&self, device: &Device, path: &[u8], flags: u32) -> Result<ARef<File>> {
        let path = ZeroTerminated::new(path)?;
        let opened = file::open(
            path.get()?,
            (flags & !(FASYNC | O_CLOEXEC | O_PATH)) | O_NOCTTY,
        )?;
        let facts = file::facts(&opened);
        if facts.mode & S_IFMT != S_IFCHR || facts.rdev != device.rdev {
            return Err(ESTALE);
        }
        Ok(opened)
    }

    /// Opens a directory of a shared mount, to be a working directory.
    ///
    /// # Errors
    ///
    /// As [`Files::reopen`].
    pub fn reopen_place(&self, place: &Place, path: &[u8]) -> Result<ARef<File>> {
        let path = ZeroTerminated::new(path)?;
        let opened = file::open(path.get()?, O_PATH | O_DIRECTORY)?;
        if !self.is(&file::facts(&opened), &place.mount, place.ino) {
            return Err(ESTALE);
        }
        Ok(opened)
    }
}

/// Opens the file that [`describe`](super::describe) wrote down, unchanged, for a mapping.
///
/// # Errors
///
/// `EBADMSG` for what is no such record, `ESTALE` if the file is another one or was changed meanwhile, and those of `open(2)`.
pub fn for_mapping(record: &[u8]) -> Result<ARef<File>> {
    let (identity, path) =
        image_files::decode_with_path::<FileIdentity>(record).map_err(|_| EBADMSG)?;
    let opened =
        super::files()?.reopen(&identity, path, identity.flags & (O_ACCMODE | O_LARGEFILE))?;
    // A file that the process itself writes through the mapping changes by that.
    let written = identity.flags & O_ACCMODE == O_RDWR;
    if !written && !unchanged(&file::facts(&opened), &identity) {
        // What this node knows of it may be old.
        file::refresh(&opened)?;
        if !unchanged(&file::facts(&opened), &identity) {
            pr_notice!("{:?} was changed meanwhile\n", BStr::from_bytes(path));
            return Err(ESTALE);
        }
    }
    Ok(opened)
}

fn unchanged(facts: &Facts, identity: &FileIdentity) -> bool {
    facts.size == identity.size
        && facts.mtime_seconds == identity.mtime_seconds
        && facts.mtime_nanoseconds == identity.mtime_nanoseconds
}
