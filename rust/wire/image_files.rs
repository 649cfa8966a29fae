// SPDX-License-Identifier: GPL-2.0

//! The records of an image that hold files: descriptions, descriptors, directories, the program file.
//!
//! A *description* is one open file (offset, flags); a *descriptor* is a number that names one. The image
//! of a process has one [`Description`] for each open file, then one [`Descriptor`] for each number, so
//! that numbers which shared a description share it again. A [`Description`] is followed, in the same
//! record, by the path or the name of the file.

use crate::{
    codec::{Reader, Result, Wire, WireError, Writer},
    ids::NodeId,
    wire_struct,
};

/// Record: a [`Description`] and its path.
pub const DESCRIPTION: u16 = 0x0301;
/// Record: a [`Descriptor`].
pub const DESCRIPTOR: u16 = 0x0302;
/// Record: a [`Place`] with the path of the working directory.
pub const WORKING_DIRECTORY: u16 = 0x0303;
/// Record: a [`FileIdentity`] with the path of the program file (`/proc/PID/exe`).
pub const PROGRAM_FILE: u16 = 0x0304;

/// Version of all of these.
pub const VERSION: u16 = 1;

/// Longest path, in bytes (the kernel's `PATH_MAX`).
pub const MAX_PATH: usize = 4096;

/// Most descriptors of a process that are carried.
pub const MAX_DESCRIPTORS: usize = 4096;

/// Largest record of this file, in bytes.
pub const MAX_RECORD: usize = 256 + MAX_PATH;

/// Bytes of the identity of a mount.
pub const MOUNT_ID: usize = 16;

wire_struct! {
    /// What makes a file of a shared mount the same file at every node.
    pub struct FileIdentity {
        /// Identity of the mount, equal at all nodes that mount the same export.
        pub mount: [u8; MOUNT_ID],
        /// Inode number.
        pub ino: u64,
        /// Size in bytes.
        pub size: u64,
        /// Time of the last modification: seconds.
        pub mtime_seconds: i64,
        /// And nanoseconds.
        pub mtime_nanoseconds: u32,
        /// Inode generation, 0 if the file system has none.
        pub generation: u32,
        /// Type and permission bits.
        pub mode: u32,
        /// User that the file was opened as (file-system uid).
        pub opener_uid: u32,
        /// Group that the file was opened as (file-system gid).
        pub opener_gid: u32,
        /// Flags that it is to be opened with.
        pub flags: u32,
    }

    /// What `fstat` tells of a file that stays where it is.
    pub struct FileStat {
        /// Device of the file system, as `new_encode_dev`.
        pub dev: u32,
        /// Device of a device file, as `new_encode_dev`.
        pub rdev: u32,
        /// Inode number.
        pub ino: u64,
        /// Size in bytes.
        pub size: u64,
        /// Blocks of 512 bytes.
        pub blocks: u64,
        /// Type and permission bits.
        pub mode: u32,
        /// Number of links.
        pub links: u32,
        /// Owner.
        pub uid: u32,
        /// Group.
        pub gid: u32,
        /// Preferred size of a transfer, as a power of 2.
        pub block_bits: u32,
        /// Last modification: nanoseconds since 1970.
        pub mtime: i64,
        /// Last access.
        pub atime: i64,
        /// Last change of the inode.
        pub ctime: i64,
    }

    /// A file that stays at its owner node, named there by its handle.
    pub struct Forwarded {
        /// The node where it is open.
        pub owner: NodeId,
        /// The handle there.
        pub handle: u64,
        /// What it is.
        pub stat: FileStat,
    }

    /// One number that names an open file.
    pub struct Descriptor {
        /// The number.
        pub fd: u32,
        /// The description that it names.
        pub description: u32,
        /// 1 if it is closed on exec, else 0.
        pub close_on_exec: u8,
    }

    /// A device that every node has alike, such as `/dev/null`.
    pub struct Device {
        /// Device number, as `new_encode_dev`.
        pub rdev: u32,
    }

    /// Shared memory of the image.
    pub struct Memory {
        /// The number of its [`SharedObject`](crate::image_memory::SharedObject).
        pub object: u32,
    }

    /// A directory of a shared mount. Its path follows.
    pub struct Place {
        /// Identity of the mount.
        pub mount: [u8; MOUNT_ID],
        /// Inode number.
        pub ino: u64,
    }
}

/// Where an open file is found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// On a shared mount: it is opened again by its path.
    Shared(FileIdentity),
    /// At its owner node: a proxy stands for it.
    Forwarded(Forwarded),
    /// A device that every node has alike: it is opened again by its path.
    Device(Device),
    /// Shared memory that the process alone has: it is opened again by its number in the image.
    Memory(Memory),
}

/// One open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// Number within the image; descriptors name it.
    pub id: u32,
    /// Status flags and access mode, as `fcntl(F_GETFL)` tells.
    pub flags: u32,
    /// Offset in bytes.
    pub position: i64,
    /// Where it is found again.
    pub source: Source,
}

const KIND_SHARED: u8 = 1;
const KIND_FORWARDED: u8 = 2;
const KIND_DEVICE: u8 = 3;
const KIND_MEMORY: u8 = 4;

impl Description {
    /// Writes it with the path or name behind it and returns the length.
    ///
    /// # Errors
    ///
    /// [`WireError::NoRoom`], [`WireError::TooLong`] for a path of more than [`MAX_PATH`] bytes.
    pub fn encode(&self, path: &[u8], out: &mut [u8]) -> Result<usize> {
        let mut w = Writer::new(out);
        w.put(&self.id)?;
        w.put(&self.flags)?;
        w.put(&self.position)?;
        match &self.source {
            Source::Shared(identity) => {
                w.put(&KIND_SHARED)?;
                w.put(identity)?;
            }
            Source::Forwarded(forwarded) => {
                w.put(&KIND_FORWARDED)?;
                w.put(forwarded)?;
            }
            Source::Device(device) => {
                w.put(&KIND_DEVICE)?;
                w.put(device)?;
            }
            Source::Memory(memory) => {
                w.put(&KIND_MEMORY)?;
                w.put(memory)?;
            }
        }
        w.blob(path, MAX_PATH)?;
        Ok(w.len())
    }

    /// Reads one and the path behind it.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`], [`WireError::Trailing`], [`WireError::TooLong`]; [`WireError::BadValue`] for an unknown kind, a negative
    /// offset or a path with a zero byte.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8])> {
        let mut r = Reader::new(bytes);
        let id = r.get()?;
        let flags = r.get()?;
        let position: i64 = r.get()?;
        let source = match r.get::<u8>()? {
            KIND_SHARED => Source::Shared(r.get()?),
            KIND_FORWARDED => Source::Forwarded(r.get()?),
            KIND_DEVICE => Source::Device(r.get()?),
            KIND_MEMORY => Source::Memory(r.get()?),
            _ => return Err(WireError::BadValue),
        };
        let path = path(&mut r)?;
        r.finish()?;
        if position < 0 {
            return Err(WireError::BadValue);
        }
        Ok((
            Self {
                id,
                flags,
                position,
                source,
            },
            path,
        ))
    }
}

fn path<'a>(r: &mut Reader<'a>) -> Result<&'a [u8]> {
    let path = r.blob(MAX_PATH)?;
    if path.contains(&0) {
        return Err(WireError::BadValue);
    }
    Ok(path)
}

/// Writes a value with a path behind it and returns the length: a [`Place`], a [`FileIdentity`].
///
/// # Errors
///
/// [`WireError::NoRoom`], [`WireError::TooLong`].
pub fn encode_with_path<T: Wire>(value: &T, path: &[u8], out: &mut [u8]) -> Result<usize> {
    let mut w = Writer::new(out);
    w.put(value)?;
    w.blob(path, MAX_PATH)?;
    Ok(w.len())
}

/// Reads a value and the path behind it; the partner of [`encode_with_path`].
///
/// # Errors
///
/// [`WireError::Truncated`], [`WireError::Trailing`], [`WireError::TooLong`], [`WireError::BadValue`].
pub fn decode_with_path<T: Wire>(bytes: &[u8]) -> Result<(T, &[u8])> {
    let mut r = Reader::new(bytes);
    let value = r.get()?;
    let path = path(&mut r)?;
    r.finish()?;
    Ok((value, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> FileIdentity {
        FileIdentity {
            mount: [7; MOUNT_ID],
            ino: 4711,
            size: 1 << 40,
            mtime_seconds: -5,
            mtime_nanoseconds: 999_999_999,
            generation: 3,
            mode: 0o100_644,
            opener_uid: 1000,
            opener_gid: 100,
            flags: 2,
        }
    }

    fn descriptions() -> [Description; 4] {
        let stat = FileStat {
            dev: 0x14,
            rdev: 0x8800,
            ino: 3,
            size: 0,
            blocks: 0,
            mode: 0o020_620,
            links: 1,
            uid: 1000,
            gid: 5,
            block_bits: 10,
            mtime: 1,
            atime: 2,
            ctime: 3,
        };
        let owner = NodeId::new(5).unwrap();
        [
            Source::Shared(identity()),
            Source::Forwarded(Forwarded {
                owner,
                handle: 9,
                stat,
            }),
            Source::Device(Device { rdev: 0x103 }),
            Source::Memory(Memory { object: 2 }),
        ]
        .map(|source| Description {
            id: 8,
            flags: 0o2002,
            position: 77,
            source,
        })
    }

    #[test]
    fn round_trip() {
        for description in descriptions() {
            let mut out = [0; MAX_RECORD];
            let len = description.encode(b"/home/a", &mut out).unwrap();
            assert_eq!(
                Description::decode(&out[..len]).unwrap(),
                (description, &b"/home/a"[..])
            );
            for cut in 0..len {
                assert!(Description::decode(&out[..cut]).is_err());
            }
            assert!(Description::decode(&out[..len + 1]).is_err());
        }
    }

    #[test]
    fn longest_path_fits() {
        let path = [b'x'; MAX_PATH];
        for description in descriptions() {
            assert!(description.encode(&path, &mut [0; MAX_RECORD]).is_ok());
        }
        let mut out = [0; MAX_RECORD];
        let len = encode_with_path(&identity(), &path, &mut out).unwrap();
        assert_eq!(
            decode_with_path::<FileIdentity>(&out[..len]).unwrap(),
            (identity(), &path[..])
        );
        assert_eq!(
            encode_with_path(&identity(), &[b'x'; MAX_PATH + 1], &mut out),
            Err(WireError::TooLong)
        );
    }

    #[test]
    fn bad_values() {
        let mut out = [0; MAX_RECORD];
        let [shared, ..] = descriptions();
        let len = shared.encode(b"/a\0b", &mut out).unwrap();
        assert_eq!(Description::decode(&out[..len]), Err(WireError::BadValue));
        let negative = Description {
            position: -1,
            ..shared
        };
        let len = negative.encode(b"/a", &mut out).unwrap();
        assert_eq!(Description::decode(&out[..len]), Err(WireError::BadValue));
    }
}
