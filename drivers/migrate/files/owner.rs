// SPDX-License-Identifier: GPL-2.0

//! Files that processes elsewhere use: the owner's side.
//!
//! One [`OwnedFile`] for each open file that a process homed here took along; a handle names it. What the process does to it runs in the
//! context of its deputy ([`FileJob`]), so that credentials, session and terminal are right. Readiness is told by hooks on the file's
//! wait queues and one thread that sends the messages, since a hook may not.
//!
//! Lock order: `table` and `running` are innermost; nothing is called with them held. `hook` of a file is held while the file is polled.

use banyan_wire::{
    file_ops::{
        Action,
        Handle,
        Number,
        Outcome,
        Request,
        Woken,
        OUTCOME_HEAD, //
    },
    image_files::FileStat,
    migrate::journey_of,
    op,
    NodeId,
    Wire, //
};
use kernel::{
    fs::File,
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        Arc,
        Mutex, //
    },
};
use kernel_ext::file_numbers::{
    S_IFMT,
    S_IFREG, //
};
use kernel_ext::{
    file::{
        self,
        At,
        Facts,
        PollHook,
        Wake, //
    },
    kthread::{
        self,
        KThread, //
    },
    own::Own,
    subject::Subject,
    wait::{
        Interrupt,
        WaitQueue, //
    },
};

use super::Files;
use crate::{
    deputy::Job,
    state, //
};

/// How long the thread sleeps if nothing wakes it.
const IDLE_MS: u32 = 60_000;

/// Nothing was done: whoever asked asks again, and should a signal have come first then after its handler, whatever that wants of
/// interrupted calls.
const NOT_BEGUN: Error = ERESTARTNOINTR;

/// A file that a process elsewhere uses.
#[pin_data]
pub struct OwnedFile {
    handle: u64,
    file: ARef<File>,
    readiness: Arc<Readiness>,
    /// Made at the first poll.
    #[pin]
    hook: Mutex<Option<PollHook<Readiness>>>,
}

/// What a hook on a file's wait queues touches.
struct Readiness {
    /// The node where its proxies are, 0 while none is known.
    holder: Atomic<u32>,
    woken: Atomic<bool>,
    changed: Arc<Changed>,
}

impl Wake for Readiness {
    fn wake(&self) {
        self.woken.store(true, Relaxed);
        self.changed.any.store(true, Relaxed);
        self.changed.queue.wake_all();
    }
}

/// What the thread waits for.
#[pin_data]
struct Changed {
    any: Atomic<bool>,
    #[pin]
    queue: WaitQueue,
}

type Table = RBTree<u64, Arc<OwnedFile>>;

/// All files that processes elsewhere use.
#[pin_data]
pub struct Owned {
    #[pin]
    table: Mutex<Table>,
    /// Operations under way, by node and number.
    #[pin]
    running: Mutex<RBTree<(u8, u64), Arc<Running>>>,
    changed: Arc<Changed>,
    #[pin]
    teller: Mutex<Option<KThread>>,
}

/// An operation under way.
struct Running {
    pid: i32,
    cancelled: Atomic<bool>,
}

/// A handle: of this process, on the journey that began with this move, this file.
pub fn handle(pid: i32, moves: u32, file: u32) -> u64 {
    let (pid, journey) = (pid.unsigned_abs() & 0x3f_ffff, journey_of(moves));
    (u64::from(pid) << 42) | (u64::from(journey) << 16) | u64::from(file & 0xffff)
}

/// The process of a handle.
fn process(handle: u64) -> i32 {
    i32::try_from(handle >> 42).unwrap_or(0)
}

/// Whether a process homed here runs at that node.
fn is_at(pid: i32, node: NodeId) -> bool {
    let deputy = state::get().ok().and_then(|state| state.deputies.get(pid));
    deputy.is_some_and(|deputy| deputy.place().node == node)
}

impl Owned {
    /// None.
    pub fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            table <- new_mutex!(RBTree::new(), "banyan owned files"),
            running <- new_mutex!(RBTree::new(), "banyan file jobs"),
            changed: Arc::pin_init(pin_init!(Changed {
                any: Atomic::new(false),
                queue <- WaitQueue::new(),
            }), GFP_KERNEL)?,
            teller <- new_mutex!(None, "banyan file teller"),
        })
    }

    /// How many files there are.
    pub fn count(&self) -> usize {
        self.table.lock().iter().count()
    }

    /// Adds a file under its handle.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn add(&self, handle: u64, file: ARef<File>, holder: NodeId) -> Result {
        let readiness = Arc::new(
            Readiness {
                holder: Atomic::new(u32::from(holder.get())),
                woken: Atomic::new(false),
                changed: Arc::clone(&self.changed),
            },
            GFP_KERNEL,
        )?;
        let owned = Arc::pin_init(
            pin_init!(OwnedFile {
                handle,
                file,
                readiness,
                hook <- new_mutex!(None, "banyan poll hook"),
            }),
            GFP_KERNEL,
        )?;
        let node = RBTreeNode::new(handle, owned, GFP_KERNEL)?;
        let former = self.table.lock().insert(node);
        drop(former);
        Ok(())
    }

    /// The file with this handle.
    pub fn get(&self, handle: u64) -> Option<ARef<File>> {
        self.find(handle).map(|owned| owned.file.clone())
    }

    fn find(&self, handle: u64) -> Option<Arc<OwnedFile>> {
        self.table.lock().get(&handle).cloned()
    }

    fn remove(&self, handle: u64) {
        let gone = self.table.lock().remove(&handle);
        drop(gone);
    }

    /// Lets go of all files that the process took along on this journey.
    pub fn forget(&self, pid: i32, moves: u32) {
        let gone = handle(pid, moves, 0) >> 16;
        while let Some(handle) = self.first(|handle| handle >> 16 == gone) {
            self.remove(handle);
        }
    }

    fn first(&self, which: impl Fn(u64) -> bool) -> Option<u64> {
        self.table
            .lock()
            .keys()
            .copied()
            .find(|&handle| which(handle))
    }

    /// Lets go of everything; to be called when the module goes.
    pub fn clear(&self) {
        let teller = self.teller.lock().take();
        drop(teller);
        while let Some(handle) = self.first(|_| true) {
            self.remove(handle);
        }
    }

    /// A proxy was closed for the last time. Where the process is no more, or never was, nobody has a say in it.
    pub fn released(&self, from: NodeId, payload: &[u8]) {
        match Handle::decode(payload) {
            Ok(Handle { handle }) if is_at(process(handle), from) => self.remove(handle),
            _ => (),
        }
    }

    /// The proxies of a file are at that node now.
    pub fn held_by(&self, from: NodeId, payload: &[u8]) {
        let Ok(Handle { handle }) = Handle::decode(payload) else {
            return;
        };
        if !is_at(process(handle), from) {
            return;
        }
        if let Some(owned) = self.find(handle) {
            owned.readiness.holder.store(u32::from(from.get()), Relaxed);
            // A wake-up may have gone to where the proxies were.
            owned.readiness.wake();
        }
    }

    /// The node is gone, and what used files from there. Deputies let go of the rest when they end.
    pub fn node_down(&self, node: NodeId) {
        let number = |running: &RBTree<(u8, u64), Arc<Running>>| {
            running
                .iter()
                .find(|(key, running)| key.0 == node.get() && !running.cancelled.load(Relaxed))
                .map(|(key, _)| key.1)
        };
        loop {
            let Some(number) = number(&self.running.lock()) else {
                return;
            };
            self.end_early(node, number);
        }
    }

    /// The process that waits for this operation got a signal.
    pub fn cancel(&self, from: NodeId, payload: &[u8]) {
        if let Ok(Number { number }) = Number::decode(payload) {
            self.end_early(from, number);
        }
    }

    fn end_early(&self, from: NodeId, number: u64) {
        let Some(running) = self.running.lock().get(&(from.get(), number)).cloned() else {
            return;
        };
        running.cancelled.store(true, Release);
        if let Some(deputy) = state::get()
            .ok()
            .and_then(|state| state.deputies.get(running.pid))
        {
            deputy.kick();
        }
    }

    /// Starts the thread that tells wake-ups, at the first poll.
    fn start_telling(files: &Arc<Files>) -> Result {
        let mut teller = files.owned.teller.lock();
        if teller.is_none() {
            let changed = Arc::clone(&files.owned.changed);
            *teller = Some(KThread::spawn(fmt!("banyan_files"), move || {
                tell(&changed)
            })?);
        }
        Ok(())
    }
}

/// The thread that tells wake-ups. It must not keep [`Files`], which joins it.
fn tell(changed: &Changed) {
    while !kthread::should_stop() {
        let _ = changed
            .queue
            .wait(Interrupt::Killable, IDLE_MS, || changed.any.load(Relaxed));
        if !changed.any.xchg(false, Full) {
            continue;
        }
        let Ok(files) = super::files() else {
            continue;
        };
        // Each is looked at once; what wakes meanwhile sets `any` again.
        let mut next = 0u64;
        loop {
            let found = {
                let table = files.owned.table.lock();
                let found = table
                    .iter()
                    .find(|(&handle, owned)| handle >= next && owned.readiness.woken.load(Relaxed))
                    .map(|(_, owned)| Arc::clone(owned));
                found
            };
            let Some(owned) = found else {
                break;
            };
            owned.readiness.woken.xchg(false, Full);
            next = owned.handle;
            let holder = NodeId::from_u32(owned.readiness.holder.load(Relaxed));
            let mut message = [0u8; Woken::SIZE];
            let woken = Woken {
                handle: owned.handle,
            };
            if let (Some(holder), Ok(_)) = (holder, woken.encode(&mut message)) {
                // Not sent means that the node is gone, and with it who waits.
                let _ = banyan::send(holder, op::POLL_WAKE, &message);
            }
        }
    }
}

/// What the file looks like to who uses it elsewhere.
pub fn stat_of(facts: &Facts) -> FileStat {
    let nanoseconds = |seconds: i64, rest: u32| {
        seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(i64::from(rest))
    };
    FileStat {
        dev: facts.dev,
        rdev: facts.rdev,
        ino: facts.ino,
        size: facts.size,
        blocks: facts.blocks,
        mode: facts.mode,
        links: facts.links,
        uid: facts.uid,
        gid: facts.gid,
        block_bits: facts.block_bits,
        mtime: nanoseconds(facts.mtime_seconds, facts.mtime_nanoseconds),
        atime: nanoseconds(facts.atime_seconds, facts.atime_nanoseconds),
        ctime: nanoseconds(facts.ctime_seconds, facts.ctime_nanoseconds),
    }
}

/// A node wants something done to a file.
pub fn request(files: &Arc<Files>, from: NodeId, payload: &[u8]) {
    let Ok(request) = Request::decode(payload) else {
        pr_warn!("node {} sent a damaged file request\n", from.get());
        return;
    };
    if let Err(error) = submit(files, from, &request) {
        let error = if error == NOT_BEGUN { error } else { EIO };
        answer(from, request.number, Err(error), 0, &[]);
    }
}

fn submit(files: &Arc<Files>, from: NodeId, request: &Request<'_>) -> Result {
    let owned = files.owned.find(request.handle).ok_or(EBADF)?;
    let deputy = state::get()?.deputies.get(request.pid).ok_or(ESRCH)?;
    if !is_at(request.pid, from) || !is_at(process(request.handle), from) {
        // It may have come there a moment ago, and ask again.
        return Err(NOT_BEGUN);
    }
    let mut data = KVVec::new();
    data.extend_from_slice(request.data, GFP_KERNEL)?;
    let running = Arc::new(
        Running {
            pid: request.pid,
            cancelled: Atomic::new(false),
        },
        GFP_KERNEL,
    )?;
    let node = RBTreeNode::new(
        (from.get(), request.number),
        Arc::clone(&running),
        GFP_KERNEL,
    )?;
    let job = KBox::new(
        FileJob {
            files: Arc::clone(files),
            from,
            number: request.number,
            owned,
            flags: request.flags,
            action: request.action,
            at: request.position.map_or(At::Own, At::Position),
            data,
            running,
            answered: false,
        },
        GFP_KERNEL,
    )?;
    let former = files.owned.running.lock().insert(node);
    drop(former);
    deputy.submit(job)
}

/// One operation, to be done by the deputy.
struct FileJob {
    files: Arc<Files>,
    from: NodeId,
    number: u64,
    owned: Arc<OwnedFile>,
    flags: Option<u32>,
    action: Action,
    at: At,
    data: KVVec<u8>,
    running: Arc<Running>,
    answered: bool,
}

impl Job for FileJob {
    fn run(&mut self, own: &Own) {
        if self.running.cancelled.load(Acquire) {
            // It does what it can without waiting, as any call does that a signal meets.
            Subject::current().interrupt();
        }
        let result = self.perform(own);
        let data = if result.is_ok() { &*self.data } else { &[] };
        answer(
            self.from,
            self.number,
            result,
            size_of(&self.owned.file),
            data,
        );
        self.answered = true;
    }
}

impl FileJob {
    /// Does it and leaves what is to be sent back in `data`.
    fn perform(&mut self, own: &Own) -> Result<i64> {
        let file = &*self.owned.file;
        if let Some(flags) = self.flags {
            file::set_flags(file, flags);
        }
        match self.action {
            Action::Read { len } => {
                self.data.resize(len as usize, 0, GFP_KERNEL)?;
                let count = file::read(file, &mut self.data, self.at)?;
                self.data.truncate(count);
                Ok(i64::try_from(count)?)
            }
            Action::Write => {
                let count = file::write(file, &self.data, self.at)?;
                self.data.clear();
                Ok(i64::try_from(count)?)
            }
            Action::Ioctl {
                command,
                argument,
                size,
                ..
            } => {
                let value = if size == 0 {
                    own.ioctl(file, command, argument)?
                } else {
                    own.ioctl_memory(file, command, &mut self.data)?
                };
                Ok(i64::try_from(value)?)
            }
            Action::Poll { events } => {
                Owned::start_telling(&self.files)?;
                let mut hook = self.owned.hook.lock();
                let hook = match &mut *hook {
                    Some(hook) => hook,
                    empty => empty.insert(PollHook::new(file, Arc::clone(&self.owned.readiness))?),
                };
                Ok(i64::from(hook.check(events)))
            }
            Action::Stat => {
                self.data.resize(FileStat::SIZE, 0, GFP_KERNEL)?;
                stat_of(&file::facts(file))
                    .encode(&mut self.data)
                    .map_err(|_| EINVAL)?;
                Ok(0)
            }
            Action::Sync { data_only } => {
                file::sync(file, data_only != 0)?;
                Ok(0)
            }
            Action::Seek { offset, whence } => file::seek(file, offset, whence),
        }
    }
}

impl Drop for FileJob {
    fn drop(&mut self) {
        let gone = self
            .files
            .owned
            .running
            .lock()
            .remove(&(self.from.get(), self.number));
        drop(gone);
        if !self.answered {
            // The deputy ended, or the process is on its way home: then it asks again there.
            answer(self.from, self.number, Err(NOT_BEGUN), 0, &[]);
        }
    }
}

/// The size of a regular file, which its proxies have to know.
fn size_of(file: &File) -> u64 {
    let facts = file::facts(file);
    if facts.mode & S_IFMT == S_IFREG {
        facts.size
    } else {
        0
    }
}

/// Tells how an operation ended.
fn answer(to: NodeId, number: u64, result: Result<i64>, size: u64, data: &[u8]) {
    let result = result.unwrap_or_else(|error| error.to_errno().into());
    let outcome = Outcome {
        number,
        result,
        size,
        data,
    };
    let sent = (|| {
        let mut message =
            KVVec::with_capacity(OUTCOME_HEAD.saturating_add(data.len()), GFP_KERNEL)?;
        message.resize(OUTCOME_HEAD, 0, GFP_KERNEL)?;
        outcome.encode_head(&mut message).map_err(|_| EINVAL)?;
        message.extend_from_slice(data, GFP_KERNEL)?;
        banyan::send(to, op::FILE_OUTCOME, &message)
    })();
    if sent.is_err() {
        // If memory is short, at least the caller shall not wait. If the node is gone, nobody waits.
        let mut message = [0u8; OUTCOME_HEAD];
        let outcome = Outcome {
            number,
            result: ENOMEM.to_errno().into(),
            size,
            data: &[],
        };
        if outcome.encode_head(&mut message).is_ok() {
            let _ = banyan::send(to, op::FILE_OUTCOME, &message);
        }
    }
}
