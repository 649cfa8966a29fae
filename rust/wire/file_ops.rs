// SPDX-License-Identifier: GPL-2.0

//! What a proxy file and the owner of the true file say to each other.
//!
//! A file that stays at its owner node is named by a *handle* there. A [`Request`] runs in the context of the
//! process's deputy, may take for ever, and is answered by one [`Outcome`]; a [`Number`] with
//! [`op::FILE_CANCEL`](crate::op::FILE_CANCEL) asks to end it early, and the outcome still comes. All are
//! one-way messages: the pairing is by the number that the asking node chose.

use crate::{
    codec::{Reader, Result, Wire, WireError, Writer},
    wire_struct,
};

/// Most bytes of data in one request or outcome.
pub const MAX_DATA: usize = 64 * 1024;

/// Bytes of the head of a [`Request`], before its data.
pub const REQUEST_HEAD: usize = RequestHead::SIZE;

/// Bytes of the head of an [`Outcome`], before its data.
pub const OUTCOME_HEAD: usize = OutcomeHead::SIZE;

wire_struct! {
    /// Names an operation that is under way.
    pub struct Number {
        /// Chosen by the asking node, unique there.
        pub number: u64,
    }

    /// Names a file at its owner node.
    pub struct Handle {
        /// The handle.
        pub handle: u64,
    }

    /// Readiness of a file changed: ask again.
    pub struct Woken {
        /// The handle.
        pub handle: u64,
    }

    /// The head of a request.
    pub struct RequestHead {
        /// Names the operation for the outcome and for cancelling.
        pub number: u64,
        /// The file.
        pub handle: u64,
        /// The process whose deputy does it.
        pub pid: i32,
        /// Status flags that the process set on the file since it was last used (`fcntl(F_SETFL)`).
        pub flags: u32,
        /// 1 if `flags` are to be set, else 0.
        pub set_flags: u8,
        /// What to do: the number of an [`Action`].
        pub action: u8,
        /// First argument.
        pub a: u32,
        /// Second argument.
        pub b: u64,
        /// Third argument.
        pub c: u32,
        /// Where in the file to read or write; -1 for the description's own offset, which then moves.
        pub position: i64,
    }

    /// The head of an outcome.
    pub struct OutcomeHead {
        /// The operation.
        pub number: u64,
        /// What the operation returned: 0 or more, or a negative errno (also those of the kernel's own, up to 530).
        pub result: i64,
        /// Size of the file after it, in bytes; 0 for what is not a regular file.
        pub size: u64,
    }
}

/// What to do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read up to `len` bytes. The outcome has them as data.
    Read {
        /// Bytes.
        len: u32,
    },
    /// Write the data.
    Write,
    /// An ioctl whose argument is a number, or memory of `size` bytes that starts as the data and comes back as data.
    Ioctl {
        /// The command.
        command: u32,
        /// The argument, if `size` is 0.
        argument: u64,
        /// Bytes of memory that it works on.
        size: u32,
    },
    /// Say which events are ready, and tell once when that changes.
    Poll {
        /// The events asked for.
        events: u32,
    },
    /// Tell its [`FileStat`](crate::image_files::FileStat), as data.
    Stat,
    /// Write back (`fsync`); 1 for the data alone.
    Sync {
        /// `fdatasync`?
        data_only: u32,
    },
    /// Move the description's own offset (`lseek`).
    Seek {
        /// The distance.
        offset: i64,
        /// From where: `SEEK_*`.
        whence: u32,
    },
}

/// Bytes of memory that an ioctl may work on.
pub const MAX_IOCTL: u32 = 4096;

const READ: u8 = 1;
const WRITE: u8 = 2;
const IOCTL: u8 = 3;
const POLL: u8 = 4;
const STAT: u8 = 5;
const SYNC: u8 = 6;
const SEEK: u8 = 7;

/// A request to the owner of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Names the operation.
    pub number: u64,
    /// The file.
    pub handle: u64,
    /// The process whose deputy does it.
    pub pid: i32,
    /// Status flags to set first.
    pub flags: Option<u32>,
    /// What to do.
    pub action: Action,
    /// Where to read or write, if not at the description's own offset.
    pub position: Option<u64>,
    /// Its data.
    pub data: &'a [u8],
}

impl<'a> Request<'a> {
    /// Writes the head alone; the data belong right behind it.
    ///
    /// # Errors
    ///
    /// [`WireError::NoRoom`], [`WireError::BadValue`] for a position beyond 63 bits.
    pub fn encode_head(&self, out: &mut [u8]) -> Result<usize> {
        let (action, a, b, c) = match self.action {
            Action::Read { len } => (READ, len, 0, 0),
            Action::Write => (WRITE, 0, 0, 0),
            Action::Ioctl {
                command,
                argument,
                size,
            } => (IOCTL, command, argument, size),
            Action::Poll { events } => (POLL, events, 0, 0),
            Action::Stat => (STAT, 0, 0, 0),
            Action::Sync { data_only } => (SYNC, data_only, 0, 0),
            Action::Seek { offset, whence } => (SEEK, whence, offset as u64, 0),
        };
        RequestHead {
            number: self.number,
            handle: self.handle,
            pid: self.pid,
            flags: self.flags.unwrap_or(0),
            set_flags: self.flags.is_some().into(),
            action,
            a,
            b,
            c,
            position: match self.position {
                Some(position) => i64::try_from(position).map_err(|_| WireError::BadValue)?,
                None => -1,
            },
        }
        .encode(out)
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`], [`WireError::BadValue`], [`WireError::TooLong`] if it asks for or carries more than it may.
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let head: RequestHead = r.get()?;
        let action = match head.action {
            READ => Action::Read { len: head.a },
            WRITE => Action::Write,
            IOCTL => Action::Ioctl {
                command: head.a,
                argument: head.b,
                size: head.c,
            },
            POLL => Action::Poll { events: head.a },
            STAT => Action::Stat,
            SYNC => Action::Sync { data_only: head.a },
            SEEK => Action::Seek {
                offset: head.b as i64,
                whence: head.a,
            },
            _ => return Err(WireError::BadValue),
        };
        let data = r.rest();
        let fits = match action {
            Action::Read { len } => len as usize <= MAX_DATA && data.is_empty(),
            Action::Write => data.len() <= MAX_DATA,
            Action::Ioctl { size, .. } => size <= MAX_IOCTL && data.len() == size as usize,
            Action::Poll { .. } | Action::Stat | Action::Sync { .. } | Action::Seek { .. } => {
                data.is_empty()
            }
        };
        if !fits {
            return Err(WireError::TooLong);
        }
        let flags = match head.set_flags {
            0 => None,
            1 => Some(head.flags),
            _ => return Err(WireError::BadValue),
        };
        let position = match head.position {
            -1 => None,
            position => Some(u64::try_from(position).map_err(|_| WireError::BadValue)?),
        };
        Ok(Self {
            number: head.number,
            handle: head.handle,
            pid: head.pid,
            flags,
            action,
            position,
            data,
        })
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// The operation.
    pub number: u64,
    /// What it returned.
    pub result: i64,
    /// Size of the file after it, in bytes; 0 for what is not a regular file.
    pub size: u64,
    /// The data that it gave.
    pub data: &'a [u8],
}

impl<'a> Outcome<'a> {
    /// Writes the head alone; the data belong right behind it.
    ///
    /// # Errors
    ///
    /// [`WireError::NoRoom`].
    pub fn encode_head(&self, out: &mut [u8]) -> Result<usize> {
        let mut w = Writer::new(out);
        w.put(&OutcomeHead {
            number: self.number,
            result: self.result,
            size: self.size,
        })?;
        Ok(w.len())
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`], [`WireError::TooLong`]; [`WireError::BadValue`] for a result that is no errno.
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let head: OutcomeHead = r.get()?;
        let data = r.rest();
        if data.len() > MAX_DATA {
            return Err(WireError::TooLong);
        }
        if head.result < -4095 {
            return Err(WireError::BadValue);
        }
        Ok(Self {
            number: head.number,
            result: head.result,
            size: head.size,
            data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIONS: [(Action, &[u8]); 8] = [
        (Action::Read { len: 65536 }, b""),
        (Action::Write, b"hello"),
        (
            Action::Ioctl {
                command: 0x5401,
                argument: 0,
                size: 4,
            },
            b"abcd",
        ),
        (
            Action::Ioctl {
                command: 0x540b,
                argument: u64::MAX,
                size: 0,
            },
            b"",
        ),
        (
            Action::Poll {
                events: 0xffff_ffff,
            },
            b"",
        ),
        (Action::Stat, b""),
        (Action::Sync { data_only: 1 }, b""),
        (
            Action::Seek {
                offset: -9,
                whence: 2,
            },
            b"",
        ),
    ];

    #[test]
    fn requests_round_trip() {
        for (action, data) in ACTIONS {
            for (flags, position) in [(None, Some(0)), (Some(0o4002), None)] {
                let request = Request {
                    number: 1,
                    handle: u64::MAX,
                    pid: 32769,
                    flags,
                    action,
                    position,
                    data,
                };
                let mut out = [0; 128];
                let head = request.encode_head(&mut out).unwrap();
                assert_eq!(head, REQUEST_HEAD);
                out[head..head + data.len()].copy_from_slice(data);
                assert_eq!(Request::decode(&out[..head + data.len()]), Ok(request));
                for cut in 0..head {
                    assert_eq!(Request::decode(&out[..cut]), Err(WireError::Truncated));
                }
            }
        }
    }

    #[test]
    fn limits() {
        let mut out = [0; 128];
        for action in [
            Action::Read { len: 65537 },
            Action::Ioctl {
                command: 1,
                argument: 0,
                size: 4097,
            },
            Action::Ioctl {
                command: 1,
                argument: 0,
                size: 4,
            },
        ] {
            let request = Request {
                number: 1,
                handle: 2,
                pid: 3,
                flags: None,
                action,
                position: None,
                data: b"",
            };
            let head = request.encode_head(&mut out).unwrap();
            assert_eq!(Request::decode(&out[..head]), Err(WireError::TooLong));
        }
    }

    #[test]
    fn outcomes_round_trip() {
        for result in [0, 65536, -5, -512] {
            let outcome = Outcome {
                number: 7,
                result,
                size: 1 << 40,
                data: b"xyz",
            };
            let mut out = [0; 64];
            let head = outcome.encode_head(&mut out).unwrap();
            assert_eq!(head, OUTCOME_HEAD);
            out[head..head + 3].copy_from_slice(b"xyz");
            assert_eq!(Outcome::decode(&out[..head + 3]), Ok(outcome));
        }
        let mut out = [0; 64];
        let bad = Outcome {
            number: 7,
            result: -5000,
            size: 0,
            data: b"",
        };
        let head = bad.encode_head(&mut out).unwrap();
        assert_eq!(Outcome::decode(&out[..head]), Err(WireError::BadValue));
    }
}
