// SPDX-License-Identifier: GPL-2.0
//! The device `/dev/banyan` as the caller sees it: one function per ioctl.
//!
//! One [`Device`] per open file; whoever opened it owns it. Structures are encoded and decoded by `banyan_wire`, so their bytes
//! are exactly those that the kernel's own copy of that crate reads and writes. C header: include/uapi/asm-generic/ioctl.h.

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    path::Path, //
};

use banyan_wire::{
    uapi::{
        self, Drain, Explain, List, Migrate, MountRecord, Mounts, NodeRecord, Nodes, ProcRecord,
        ReasonRecord, ServeEnter, ServeFailed, ServeState, ServeWait, Where,
    },
    Wire, //
};

/// What came back from a call: the kernel may fill the structure also when it reports an error.
#[derive(Debug)]
pub struct Answer<T> {
    /// The structure as the kernel left it.
    pub value: T,
    /// Whether the call succeeded.
    pub result: io::Result<()>,
}

/// An open `/dev/banyan`.
#[derive(Debug)]
pub struct Device {
    file: File,
}

/// Records fetched in the first attempt; a list that has more is asked for again with more room.
const FIRST_ROOM: usize = 128;
/// Attempts while the list grows between two calls.
const ATTEMPTS: usize = 8;

fn invalid() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

/// The length of one encoded structure, as its first field has it.
fn size_of<T: Wire>() -> u32 {
    T::SIZE as u32
}

impl Device {
    /// Opens the device.
    ///
    /// # Errors
    ///
    /// ENOENT when the module is not loaded; what `open` says.
    pub fn open() -> io::Result<Self> {
        Self::open_at(Path::new(uapi::DEVICE))
    }

    /// Opens the device under another name.
    ///
    /// # Errors
    ///
    /// What `open` says.
    pub fn open_at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: OpenOptions::new().read(true).write(true).open(path)?,
        })
    }

    /// Calls `command` with `value`. A buffer whose address is in `value` must be owned and kept by the caller of this function.
    fn call<T: Wire + Copy>(&self, command: u32, value: &T) -> Answer<T> {
        // Both sides bound a structure by the size in the command word.
        let mut bytes = vec![0u8; uapi::size(command)];
        let encoded = value.encode(&mut bytes);
        if !matches!(encoded, Ok(length) if length == bytes.len()) {
            return Answer {
                value: *value,
                result: Err(invalid()),
            };
        }
        // SAFETY:
        // - the descriptor is open as long as `self` is borrowed.
        // - `bytes` is as long as the command word says, and the kernel reads and writes no more than that there.
        // - a buffer whose address is in the structure is owned by the caller of this function, which keeps it alive.
        let code = unsafe {
            libc::ioctl(
                self.file.as_raw_fd(),
                libc::c_ulong::from(command),
                bytes.as_mut_ptr(),
            )
        };
        let result = if code < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        };
        match T::decode(&bytes) {
            Ok(value) => Answer { value, result },
            Err(_) => Answer {
                value: *value,
                result: result.and(Err(invalid())),
            },
        }
    }

    /// Fetches a list of records: `ask` makes the call for a buffer of that many records at that address, and says how many
    /// records there are and whether the call succeeded.
    fn list<R: Wire>(&self, ask: impl Fn(u32, u64) -> (u32, io::Result<()>)) -> io::Result<Vec<R>> {
        let mut room = FIRST_ROOM;
        for _ in 0..ATTEMPTS {
            let mut bytes = vec![0u8; room.saturating_mul(R::SIZE)];
            let (count, result) = ask(room as u32, bytes.as_mut_ptr() as u64);
            let count = count as usize;
            match result {
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    room = count.max(room).saturating_add(room).min(1 << 20);
                }
                Err(error) => return Err(error),
                Ok(()) => {
                    return bytes
                        .chunks_exact(R::SIZE)
                        .take(count)
                        .map(|record| R::decode(record).map_err(|_| invalid()))
                        .collect()
                }
            }
        }
        Err(io::Error::from_raw_os_error(libc::EAGAIN))
    }

    /// All nodes that this one knows, by ascending id.
    ///
    /// # Errors
    ///
    /// Those of [`Nodes`].
    pub fn nodes(&self) -> io::Result<Vec<NodeRecord>> {
        self.list(|count, buf| {
            let answer = self.call(
                uapi::NODES,
                &Nodes {
                    size: size_of::<Nodes>(),
                    count,
                    buf,
                },
            );
            (answer.value.count, answer.result)
        })
    }

    /// The processes of this node that are away, on their way, or guests.
    ///
    /// # Errors
    ///
    /// Those of [`List`].
    pub fn processes(&self) -> io::Result<Vec<ProcRecord>> {
        self.list(|count, buf| {
            let answer = self.call(
                uapi::LIST,
                &List {
                    size: size_of::<List>(),
                    count,
                    buf,
                },
            );
            (answer.value.count, answer.result)
        })
    }

    /// Every reason why the process cannot move to `node` (0: anywhere).
    ///
    /// # Errors
    ///
    /// Those of [`Explain`].
    pub fn explain(&self, pid: i32, node: u32) -> io::Result<Vec<ReasonRecord>> {
        self.list(|count, buf| {
            let answer = self.call(
                uapi::EXPLAIN,
                &Explain {
                    size: size_of::<Explain>(),
                    pid,
                    node,
                    count,
                    buf,
                },
            );
            (answer.value.count, answer.result)
        })
    }

    /// Moves a process; `flags` are those of [`Migrate`]. The answer holds a reason also on errors.
    pub fn migrate(&self, pid: i32, node: u32, flags: u32) -> Answer<Migrate> {
        self.call(
            uapi::MIGRATE,
            &Migrate {
                size: size_of::<Migrate>(),
                pid,
                node,
                flags,
                ..Migrate::ZERO
            },
        )
    }

    /// Where a process runs.
    ///
    /// # Errors
    ///
    /// Those of [`Where`].
    pub fn locate(&self, pid: i32) -> io::Result<Where> {
        let answer = self.call(
            uapi::WHERE,
            &Where {
                size: size_of::<Where>(),
                pid,
                ..Where::ZERO
            },
        );
        answer.result.map(|()| answer.value)
    }

    /// Brings all processes of this node home, and sends all guests home; `flags` are those of [`Drain`].
    pub fn drain(&self, flags: u32) -> Answer<Drain> {
        self.call(
            uapi::DRAIN,
            &Drain {
                size: size_of::<Drain>(),
                flags,
                ..Drain::ZERO
            },
        )
    }

    /// Waits for a process that arrives here.
    ///
    /// # Errors
    ///
    /// Those of [`ServeWait`].
    pub fn serve_wait(&self) -> io::Result<ServeWait> {
        let answer = self.call(
            uapi::SERVE_WAIT,
            &ServeWait {
                size: size_of::<ServeWait>(),
                ..ServeWait::ZERO
            },
        );
        answer.result.map(|()| answer.value)
    }

    /// Becomes the process that arrived. Returns only on failure, with the reason.
    pub fn serve_enter(&self, arrival: u64) -> io::Error {
        let answer = self.call(
            uapi::SERVE_ENTER,
            &ServeEnter {
                size: size_of::<ServeEnter>(),
                arrival,
                ..ServeEnter::ZERO
            },
        );
        match answer.result {
            Err(error) => error,
            Ok(()) => io::Error::other("SERVE_ENTER returned to its caller"),
        }
    }

    /// Tells that no process could be made for an arrival.
    ///
    /// # Errors
    ///
    /// Those of [`ServeFailed`].
    pub fn serve_failed(&self, arrival: u64, errno: i32) -> io::Result<()> {
        self.call(
            uapi::SERVE_FAILED,
            &ServeFailed {
                size: size_of::<ServeFailed>(),
                errno,
                arrival,
            },
        )
        .result
    }

    /// Tells which mounts of this node other nodes have too; replaces what was told before.
    ///
    /// # Errors
    ///
    /// Those of [`Mounts`].
    pub fn tell_mounts(&self, mounts: &[MountRecord]) -> io::Result<()> {
        let mut bytes = vec![0u8; mounts.len().saturating_mul(MountRecord::SIZE)];
        for (record, room) in mounts.iter().zip(bytes.chunks_exact_mut(MountRecord::SIZE)) {
            record.encode(room).map_err(|_| invalid())?;
        }
        let head = Mounts {
            size: size_of::<Mounts>(),
            count: mounts.len() as u32,
            buf: bytes.as_ptr() as u64,
        };
        self.call(uapi::MOUNTS, &head).result
    }

    /// Tells what became of a child: `what` and `status` as in [`ServeState`].
    ///
    /// # Errors
    ///
    /// Those of [`ServeState`].
    pub fn serve_state(&self, pid: i32, what: u32, status: i32) -> io::Result<()> {
        self.call(
            uapi::SERVE_STATE,
            &ServeState {
                size: size_of::<ServeState>(),
                pid,
                what,
                status,
            },
        )
        .result
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
