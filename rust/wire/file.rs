// SPDX-License-Identifier: GPL-2.0

//! Messages of forwarded files: ops 0x0301 to 0x03ff. The proxy asks, the owner node does.
//!
//! The owner names an open file by a handle, unique on that node and never used again. A handle lives
//! until the last proxy of it is released or its node is gone.

use crate::codec::{Reader, Result, Wire, WireError, Writer};

/// Most data in one operation or answer, bytes.
pub const MAX_DATA: usize = 64 * 1024;

crate::wire_enum! {
    /// What is to be done.
    pub enum FileCall: u16 {
        Read = 1, "read";
        Write = 2, "write";
        Ioctl = 3, "ioctl";
        Poll = 4, "poll";
        Seek = 5, "llseek";
        Sync = 6, "fsync";
        Truncate = 7, "ftruncate";
        SetFlags = 8, "fcntl F_SETFL";
        Flush = 9, "flush at close";
        Stat = 10, "fstat";
    }
}

/// [`FileOpHead::flags`]: do not wait: answer `EAGAIN` instead.
pub const OP_NONBLOCK: u16 = 1;
/// [`FileOpHead::flags`]: `data` is what the ioctl's argument points to; without it `arg` is the argument.
pub const OP_ARG_IS_DATA: u16 = 2;
/// [`FileOpHead::flags`]: the data of the answer is to be copied to where the argument points.
pub const OP_WANT_DATA: u16 = 4;

crate::wire_struct! {
    /// The fixed part of a [`FileOp`].
    pub struct FileOpHead {
        /// The owner's name for the file.
        pub handle: u64,
        /// The proxy's name for this operation, for [`FileCancel`]; unique per proxy node.
        pub cookie: u64,
        /// File position for read, write; offset for seek; length for truncate; -1 = the file has none.
        pub offset: i64,
        /// Ioctl: the argument; poll: events wanted; seek: whence; flags for `SetFlags`.
        pub arg: u64,
        /// Ioctl: the command.
        pub cmd: u32,
        /// Read: bytes wanted, at most [`MAX_DATA`]; ioctl: room for the answer's data.
        pub len: u32,
        /// Pid of the process that asks: whose credentials, terminal and signals count.
        pub pid: i32,
        /// What is to be done.
        pub call: FileCall,
        /// `OP_*`.
        pub flags: u16,
    }

    /// The fixed part of a [`FileReply`].
    pub struct FileReplyHead {
        /// What the call returned: bytes, a position, events, or a negative errno.
        pub result: i64,
        /// File position after it; -1 = the file has none.
        pub offset: i64,
    }

    /// "Nobody waits for this operation any more." The answer still comes (`EINTR`, or what was done).
    /// [`op::FILE_CANCEL`](crate::op::FILE_CANCEL).
    pub struct FileCancel {
        /// The owner's name for the file.
        pub handle: u64,
        /// The operation.
        pub cookie: u64,
    }

    /// Readiness changed at the owner. [`op::POLL_WAKE`](crate::op::POLL_WAKE).
    pub struct PollWake {
        /// The owner's name for the file.
        pub handle: u64,
        /// What is ready now: `EPOLL*` bits.
        pub events: u32,
        /// Counts the wakes of this handle: an older one than the last is ignored.
        pub seq: u32,
    }

    /// Names a file. [`op::FILE_STAT`](crate::op::FILE_STAT), [`op::FILE_HOLD`](crate::op::FILE_HOLD),
    /// [`op::FILE_RELEASE`](crate::op::FILE_RELEASE).
    pub struct FileHandle {
        /// The owner's name for the file.
        pub handle: u64,
        /// Pid of the process concerned.
        pub pid: i32,
        /// Zero.
        pub _pad: u32,
    }

    /// What `fstat` says at the owner; also part of a description in an image.
    pub struct FileStat {
        /// Inode number.
        pub ino: u64,
        /// Size, bytes.
        pub size: u64,
        /// Blocks, 512 bytes each.
        pub blocks: u64,
        /// Device of the inode (`new_encode_dev`).
        pub dev: u32,
        /// Device that it stands for (`new_encode_dev`), or 0.
        pub rdev: u32,
        /// Type and permissions.
        pub mode: u32,
        /// Links.
        pub nlink: u32,
        /// Owner, initial user namespace.
        pub uid: u32,
        /// Group, initial user namespace.
        pub gid: u32,
        /// Preferred block size, bytes.
        pub blksize: u32,
        /// Zero.
        pub _pad: u32,
        /// Last access, nanoseconds since 1970.
        pub atime_ns: i64,
        /// Last change of the data, nanoseconds since 1970.
        pub mtime_ns: i64,
        /// Last change of the inode, nanoseconds since 1970.
        pub ctime_ns: i64,
    }
}

/// An operation and its data. [`op::FILE_OP`](crate::op::FILE_OP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOp<'a> {
    /// What and on what.
    pub head: FileOpHead,
    /// Data to write, or what an ioctl's argument points to; at most [`MAX_DATA`] bytes.
    pub data: &'a [u8],
}

impl<'a> FileOp<'a> {
    /// Writes the message and returns its length.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`], [`WireError::NoRoom`].
    pub fn encode(&self, out: &mut [u8]) -> Result<usize> {
        encode(&self.head, self.data, out)
    }

    /// Reads the message.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`] if the data or [`FileOpHead::len`] is beyond [`MAX_DATA`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        let (head, data) = decode::<FileOpHead>(bytes)?;
        if head.len as usize > MAX_DATA {
            return Err(WireError::TooLong);
        }
        Ok(Self { head, data })
    }
}

/// The answer to a [`FileOp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileReply<'a> {
    /// What came of it.
    pub head: FileReplyHead,
    /// Data read, or what an ioctl left; at most [`MAX_DATA`] bytes.
    pub data: &'a [u8],
}

impl<'a> FileReply<'a> {
    /// Writes the message and returns its length.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`], [`WireError::NoRoom`].
    pub fn encode(&self, out: &mut [u8]) -> Result<usize> {
        encode(&self.head, self.data, out)
    }

    /// Reads the message.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`], [`WireError::BadValue`] if the result is neither a count nor an errno.
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        let (head, data) = decode::<FileReplyHead>(bytes)?;
        if head.result < -4095 {
            return Err(WireError::BadValue);
        }
        Ok(Self { head, data })
    }
}

fn encode(head: &impl Wire, data: &[u8], out: &mut [u8]) -> Result<usize> {
    if data.len() > MAX_DATA {
        return Err(WireError::TooLong);
    }
    let mut w = Writer::new(out);
    w.put(head)?;
    w.bytes(data)?;
    Ok(w.len())
}

fn decode<H: Wire>(bytes: &[u8]) -> Result<(H, &[u8])> {
    let mut r = Reader::new(bytes);
    let head = r.get()?;
    let data = r.rest();
    if data.len() > MAX_DATA {
        return Err(WireError::TooLong);
    }
    Ok((head, data))
}

const _: () = {
    assert!(FileOpHead::SIZE == 48 && FileReplyHead::SIZE == 16 && FileStat::SIZE == 80);
    assert!(FileCancel::SIZE == 16 && PollWake::SIZE == 16 && FileHandle::SIZE == 16);
    assert!(MAX_DATA.saturating_add(FileOpHead::SIZE) <= crate::frame::MAX_PAYLOAD as usize);
};
