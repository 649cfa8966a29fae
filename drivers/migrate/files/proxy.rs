// SPDX-License-Identifier: GPL-2.0

//! A file that stands for a file of another node.
//!
//! One [`Proxy`] for each open file that a process here has of its owner node; it lives until the last close. What is done to it is done
//! there, in the context of the process's deputy, one request after the other. Readiness is told by the owner (see
//! [`op::POLL_WAKE`]); each look asks anew.
//!
//! Lock order: the list of proxies is the innermost lock; nothing is called with it held but waking.

use banyan_wire::{
    file_ops::{
        Action,
        Handle,
        Woken,
        MAX_DATA, //
    },
    image_files::{
        FileStat,
        Forwarded, //
    },
    op,
    NodeId,
    Wire, //
};
use kernel::{
    fs::{
        File,
        LocalFile, //
    },
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        poll::{
            PollCondVarBox,
            PollTable, //
        },
        Arc,
        ArcBorrow,
        Mutex, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};
use kernel_ext::file_numbers::{
    O_APPEND,
    O_NONBLOCK,
    POLLERR,
    POLLHUP,
    S_IFIFO,
    S_IFMT,
    S_IFREG, //
};
use kernel_ext::{
    file,
    proxyfs::{
        self,
        ProxyFile,
        Stat, //
    },
    wait::{
        self,
        Interrupt, //
    },
};

use super::{
    calls::{
        Ask,
        Reply, //
    },
    files,
    ioctls::{
        self,
        Shape, //
    },
    Files, //
};

/// Pause before an operation is tried again that a signal for the deputy ended and none here did.
const AGAIN_MS: u32 = 5;

/// Status flags that a process may change and the owner must know.
const FLAGS: u32 = O_APPEND | O_NONBLOCK;

/// A file that stands for a file of another node.
pub struct Proxy {
    /// The file at its owner.
    pub there: Forwarded,
    /// Status flags that the owner knows of.
    flags: Atomic<u32>,
    /// The process moved on or home: the file at the owner stays open.
    moved: Atomic<bool>,
    readiness: Arc<Readiness>,
}

/// Who waits for a proxy to become ready.
struct Readiness {
    waiters: PollCondVarBox,
}

/// All proxies of this node, to be woken.
#[pin_data]
pub struct Proxies {
    #[pin]
    list: Mutex<RBTree<Key, Arc<Readiness>>>,
}

/// Owner, handle there, and a number that tells proxies of the same file apart.
type Key = (u8, u64, usize);

impl Proxies {
    /// None.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            list <- new_mutex!(RBTree::new(), "banyan proxies"),
        })
    }

    /// How many proxies are waited for.
    pub fn count(&self) -> usize {
        self.list.lock().iter().count()
    }

    fn wake(&self, which: impl Fn(&Key) -> bool) {
        for (key, readiness) in self.list.lock().iter() {
            if which(key) {
                readiness.waiters.notify_all();
            }
        }
    }
}

/// The owner says that readiness of a file changed.
pub fn woken(files: &Files, from: NodeId, payload: &[u8]) {
    if let Ok(woken) = Woken::decode(payload) {
        files
            .list
            .wake(|key| key.0 == from.get() && key.1 == woken.handle);
    }
}

/// A node is gone: all who wait for its files look again, and see an error.
pub fn node_down(files: &Files, node: NodeId) {
    files.list.wake(|key| key.0 == node.get());
}

/// Makes a file that stands for one of another node.
///
/// # Errors
///
/// `ENOMEM`, `ENFILE`.
pub fn make(files: &Files, there: Forwarded, name: &CStr, flags: u32) -> Result<ARef<File>> {
    let readiness = Arc::new(
        Readiness {
            waiters: PollCondVarBox::new(c"banyan proxy", kernel::static_lock_class!())?,
        },
        GFP_KERNEL,
    )?;
    let proxy = Arc::new(
        Proxy {
            there,
            flags: Atomic::new(flags & FLAGS),
            moved: Atomic::new(false),
            readiness: Arc::clone(&readiness),
        },
        GFP_KERNEL,
    )?;
    let node = RBTreeNode::new(proxy.key(), readiness, GFP_KERNEL)?;
    let opened = files
        .proxies
        .open(name, &stat_of(&there.stat), flags, proxy)?;
    files.list.list.lock().insert(node);
    Ok(opened)
}

fn stat_of(stat: &FileStat) -> Stat {
    Stat {
        ino: stat.ino,
        size: stat.size,
        blocks: stat.blocks,
        atime: stat.atime,
        mtime: stat.mtime,
        ctime: stat.ctime,
        dev: stat.dev,
        rdev: stat.rdev,
        mode: stat.mode,
        links: stat.links,
        uid: stat.uid,
        gid: stat.gid,
        block_bits: stat.block_bits,
    }
}

/// Whether an error only says that a signal ended the operation.
fn interrupted(error: Error) -> bool {
    error == EINTR || error == ERESTARTSYS || error == ERESTARTNOINTR || error == ERESTARTNOHAND
}

impl Proxy {
    fn key(&self) -> Key {
        (
            self.there.owner.get(),
            self.there.handle,
            (&raw const *self.readiness) as usize,
        )
    }

    /// The last close is not to be told to the owner: the process has other proxies of it, or the file itself, where it is now.
    pub fn leave_open(&self) {
        self.moved.store(true, Relaxed);
    }

    /// Tells the owner that the proxies of the file are here now.
    pub fn announce(&self) {
        self.tell(op::FILE_HOLDER);
    }

    fn tell(&self, op: u16) {
        let mut message = [0u8; Handle::SIZE];
        let handle = Handle {
            handle: self.there.handle,
        };
        if handle.encode(&mut message).is_ok() {
            // Not sent means that the owner is gone, and with it the file.
            let _ = banyan::send(self.there.owner, op, &message);
        }
    }

    /// Has something done at the owner, again and again while only the deputy was interrupted.
    fn perform(&self, file: &LocalFile, action: Action, data: &[u8]) -> Result<Reply> {
        let flags = file.flags() & FLAGS;
        loop {
            let changed = self.flags.load(Relaxed) != flags;
            let reply = files()?.calls.perform(&Ask {
                owner: self.there.owner,
                handle: self.there.handle,
                flags: changed.then_some(flags),
                action,
                position: None,
                data,
            })?;
            if changed {
                self.flags.store(flags, Relaxed);
            }
            if self.there.stat.mode & S_IFMT == S_IFREG {
                proxyfs::set_size(file, reply.size);
            }
            match reply.value() {
                Err(error) if interrupted(error) => {
                    // With a signal here the kernel decides whether the call is restarted; without one the caller must not see it. The
                    // signal of the deputy may be on its way to here.
                    if kernel::current!().signal_pending()
                        || wait::sleep(Interrupt::Any, AGAIN_MS).is_err()
                    {
                        return Ok(reply);
                    }
                }
                _ => return Ok(reply),
            }
        }
    }
}

impl ProxyFile for Proxy {
    fn read(
        self: ArcBorrow<'_, Self>,
        file: &LocalFile,
        to: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        let len = u32::try_from(to.len().min(MAX_DATA))?;
        let reply = self.perform(file, Action::Read { len }, &[])?;
        let count = reply.value()?.min(reply.data.len());
        let data = reply.data.get(..count).unwrap_or(&[]);
        match to.copy_to_iter(data) {
            0 if count > 0 => Err(EFAULT),
            copied => Ok(copied),
        }
    }

    fn write(
        self: ArcBorrow<'_, Self>,
        file: &LocalFile,
        from: &mut IovIterSource<'_>,
    ) -> Result<usize> {
        let mut done = 0usize;
        let mut chunk = KVVec::with_capacity(from.len().min(MAX_DATA), GFP_KERNEL)?;
        loop {
            chunk.clear();
            let wanted = from.len().min(MAX_DATA);
            chunk.resize(wanted, 0, GFP_KERNEL)?;
            let copied = from.copy_from_iter(&mut chunk);
            if copied == 0 && wanted > 0 {
                return if done > 0 { Ok(done) } else { Err(EFAULT) };
            }
            chunk.truncate(copied);
            let result = self
                .perform(file, Action::Write, &chunk)
                .and_then(|reply| reply.value());
            if let Err(error) = result {
                if error == EPIPE && self.there.stat.mode & S_IFMT == S_IFIFO {
                    file::raise_sigpipe();
                }
            }
            match result {
                Ok(count) => {
                    done = done.saturating_add(count);
                    if count < copied || from.is_empty() {
                        return Ok(done);
                    }
                }
                Err(_) if done > 0 => return Ok(done),
                Err(error) => return Err(error),
            }
        }
    }

    fn poll(self: ArcBorrow<'_, Self>, file: &File, table: &PollTable<'_>, events: u32) -> u32 {
        table.register_wait(file, &self.readiness.waiters);
        match self
            .perform(file, Action::Poll { events }, &[])
            .and_then(|reply| reply.value())
        {
            Ok(ready) => u32::try_from(ready).unwrap_or(POLLERR),
            // The caller sees the signal.
            Err(error) if interrupted(error) => 0,
            Err(_) => POLLERR | POLLHUP,
        }
    }

    fn ioctl(
        self: ArcBorrow<'_, Self>,
        file: &File,
        command: u32,
        argument: usize,
    ) -> Result<isize> {
        match ioctls::shape(command).ok_or(ENOTTY)? {
            Shape::Number => {
                let action = Action::Ioctl {
                    command,
                    argument: argument as u64,
                    size: 0,
                };
                Ok(self.perform(file, action, &[])?.value()? as isize)
            }
            Shape::Memory {
                size,
                read,
                written,
            } => {
                let mut memory = KVec::from_elem(0u8, size as usize, GFP_KERNEL)?;
                let user = || UserSlice::new(UserPtr::from_addr(argument), size as usize);
                if read {
                    user().reader().read_slice(&mut memory)?;
                }
                let action = Action::Ioctl {
                    command,
                    argument: 0,
                    size,
                };
                let reply = self.perform(file, action, &memory)?;
                let value = reply.value()?;
                if written {
                    user().writer().write_slice(&reply.data)?;
                }
                Ok(value as isize)
            }
        }
    }

    fn sync(self: ArcBorrow<'_, Self>, file: &File, data_only: bool) -> Result {
        let action = Action::Sync {
            data_only: data_only.into(),
        };
        self.perform(file, action, &[])?.value().map(|_| ())
    }

    fn seek(self: ArcBorrow<'_, Self>, file: &File, offset: i64, whence: u32) -> Result<i64> {
        let reply = self.perform(file, Action::Seek { offset, whence }, &[])?;
        reply.value()?;
        Ok(reply.result)
    }

    fn released(self: Arc<Self>) {
        if let Ok(files) = files() {
            let gone = files.list.list.lock().remove(&self.key());
            drop(gone);
        }
        if !self.moved.load(Relaxed) {
            self.tell(op::FILE_RELEASE);
        }
    }
}
