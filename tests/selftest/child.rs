// SPDX-License-Identifier: GPL-2.0

//! A user process to test with: a child of the process that loads the module, which waits in a page with programs of ours.
//!
//! Each test that needs one makes its own with [`Child::start`]. It gets works by [`Child::post`] and [`Child::ask`], and is killed and
//! reaped when its [`Child`] is dropped: so no work of a test outlives it, and the module may go at once, even if its loading fails.

use core::ops::Range;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::Msecs,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
    ModuleMetadata, //
};
use kernel_ext::{
    boundary::{
        self,
        BoundaryWork,
        Notify,
        Outcome, //
    },
    memory::PAGE_SIZE,
    own::Own,
    registers::General,
    subject::Subject,
    syscalls::Syscalls,
    wait::{
        pause,
        Completion,
        Interrupt, //
    }, //
};

use crate::{
    check,
    SelftestModule, //
};

/// Places in [`General`].
pub(crate) mod at {
    pub(crate) const R12: usize = 3;
    pub(crate) const BX: usize = 5;
    pub(crate) const R11: usize = 6;
    pub(crate) const AX: usize = 10;
    pub(crate) const CX: usize = 11;
    pub(crate) const DI: usize = 14;
    pub(crate) const ORIG_AX: usize = 15;
    pub(crate) const IP: usize = 16;
    pub(crate) const CS: usize = 17;
    pub(crate) const FLAGS: usize = 18;
    pub(crate) const SP: usize = 19;
    pub(crate) const SS: usize = 20;
    pub(crate) const FS_BASE: usize = 21;
    pub(crate) const GS_BASE: usize = 22;
}

const GETPID: u32 = 39;
const CLONE: u32 = 56;
const WAIT4: u32 = 61;
/// Wait for children that send no signal when they end, too.
const WALL: u64 = 0x4000_0000;
const SIGKILL: i32 = 9;

/// The system call in which the child waits.
pub(crate) const PAUSE: u64 = 34;
/// What it returns when it is interrupted: `ERESTARTNOHAND`, which the kernel makes to a restart if no handler ran.
pub(crate) const RESTARTS: u64 = (-514i64) as u64;
/// What the kernel has there if a task is in no system call.
pub(crate) const NO_CALL: u64 = u64::MAX;

/// Where the system call of [`Own::make_waiting_room`] ends in the page.
const WAITS: Range<u64> = 0..7;
/// A program that stores registers and what lies at the segment bases, changes two registers, and waits.
pub(crate) const PROBE: Range<u64> = 0x40..0x72;
const PROBE_CODE: [u8; 52] = [
    0xf3, 0x0f, 0x7f, 0x07, // movdqu %xmm0, (%rdi)
    0xf3, 0x44, 0x0f, 0x7f, 0x7f, 0x10, // movdqu %xmm15, 16(%rdi)
    0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, // mov %fs:0, %rax
    0x48, 0x89, 0x47, 0x20, // mov %rax, 32(%rdi)
    0x65, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, // mov %gs:0, %rax
    0x48, 0x89, 0x47, 0x28, // mov %rax, 40(%rdi)
    0x66, 0x0f, 0xef, 0xff, // pxor %xmm7, %xmm7
    0x48, 0xff, 0xc3, // inc %rbx
    0xb8, 34, 0, 0, 0, // mov $34, %eax: pause
    0x0f, 0x05, // syscall
    0xeb, 0xf7, // jmp to the mov
];
/// A program that turns for ever: `jmp` to itself.
pub(crate) const SPIN: u64 = 0x80;
const SPIN_CODE: [u8; 2] = [0xeb, 0xfe];
/// Behind it, the page is free for data.
pub(crate) const DATA: u64 = 0x400;

/// How long a test waits for what must happen, in milliseconds.
const LONG: Msecs = 20_000;

/// This module.
pub(crate) const MODULE: &ThisModule = &<SelftestModule as ModuleMetadata>::THIS_MODULE;

/// What became of a work.
#[pin_data]
pub(crate) struct Tally {
    ran: Atomic<u32>,
    abandoned: Atomic<u32>,
    dropped: Atomic<u32>,
    #[pin]
    gone: Completion,
}

impl Tally {
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                ran: Atomic::new(0),
                abandoned: Atomic::new(0),
                dropped: Atomic::new(0),
                gone <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Waits until the work is dropped.
    pub(crate) fn wait(&self, timeout: Msecs) -> Result {
        self.gone.wait(Interrupt::Killable, timeout)
    }

    /// Waits until the work is dropped, which must happen.
    pub(crate) fn end(&self) -> Result {
        self.wait(LONG)
            .inspect_err(|e| pr_err!("# no end of a work: {e:?}\n"))
    }

    /// How often it ran, was abandoned and was dropped.
    pub(crate) fn counts(&self) -> (u32, u32, u32) {
        (
            self.ran.load(Relaxed),
            self.abandoned.load(Relaxed),
            self.dropped.load(Relaxed),
        )
    }
}

/// A work that does what a closure says and keeps a tally of itself.
pub(crate) struct Job<F> {
    pub(crate) tally: Arc<Tally>,
    pub(crate) body: F,
}

impl<F: FnMut(&Own) -> Outcome + Send + 'static> BoundaryWork for Job<F> {
    fn run(&mut self, own: &Own) -> Outcome {
        self.tally.ran.fetch_add(1, Relaxed);
        (self.body)(own)
    }

    fn abandoned(&mut self) {
        self.tally.abandoned.fetch_add(1, Relaxed);
    }
}

impl<F> Drop for Job<F> {
    fn drop(&mut self) {
        self.tally.dropped.fetch_add(1, Relaxed);
        self.tally.gone.complete_all();
    }
}

/// The process that loads the module.
///
/// # Errors
///
/// `EBUSY` if it has threads, or somebody looks at it for long.
pub(crate) fn loader() -> Result<Own> {
    for _ in 0..200 {
        match Own::of_caller() {
            Err(e) if e == EBUSY => pause(),
            other => return other,
        }
    }
    Err(EBUSY)
}

/// Reads a word of the current process's memory.
pub(crate) fn user_word(address: u64) -> Result<u64> {
    UserSlice::new(UserPtr::from_addr(usize::try_from(address)?), 8)
        .reader()
        .read()
}

/// Writes to the current process's memory.
pub(crate) fn set_user(address: u64, bytes: &[u8]) -> Result {
    UserSlice::new(UserPtr::from_addr(usize::try_from(address)?), bytes.len())
        .writer()
        .write_slice(bytes)
}

/// The child. Dropping it ends and reaps it.
pub(crate) struct Child {
    parent: Own,
    pub(crate) subject: Subject,
    /// Address of its page.
    pub(crate) room: u64,
}

impl Child {
    /// Starts it. It waits, or is about to.
    pub(crate) fn start() -> Result<Self> {
        let parent = loader()?;
        // In a pid namespace the child's pid would be that of somebody else.
        let calls = Syscalls::new(&parent, 0);
        if calls.call(GETPID, [0; 6])? != usize::try_from(parent.pid())? {
            return Err(EOPNOTSUPP);
        }
        let kept = parent.general_registers()?;
        let room = parent.make_waiting_room()?;
        let base = room as u64;
        // The child has the registers and the memory that its parent has here.
        let child = set_user(base + PROBE.start, &PROBE_CODE)
            .and_then(|()| set_user(base + SPIN, &SPIN_CODE))
            .and_then(|()| {
                parent.enter_waiting_room(room);
                let child = calls.call(CLONE, [0; 6]);
                parent.set_general_registers(&kept);
                child
            });
        let unmapped = parent.unmap(room, room.saturating_add(PAGE_SIZE));
        let pid = i32::try_from(child?)?;
        let child = Self {
            parent,
            subject: Subject::find(pid).ok_or(ESRCH)?,
            room: base,
        };
        unmapped?;
        Ok(child)
    }

    /// The process that started it.
    pub(crate) fn parent(&self) -> i32 {
        self.parent.pid()
    }

    /// Posts a work that does `body`.
    pub(crate) fn post(
        &self,
        notify: Notify,
        body: impl FnMut(&Own) -> Outcome + Send + 'static,
    ) -> Result<Arc<Tally>> {
        let tally = Tally::new()?;
        let kept = tally.clone();
        boundary::post(&self.subject, MODULE, notify, Job { tally, body })?;
        Ok(kept)
    }

    /// Lets it do `body` at the border and go on; returns what that returned.
    pub(crate) fn ask<T: Send + Unpin + 'static>(
        &self,
        notify: Notify,
        mut body: impl FnMut(&Own) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let answer = Arc::pin_init(new_mutex!(None), GFP_KERNEL)?;
        let to = answer.clone();
        let tally = self.post(notify, move |own| {
            *to.lock() = Some(body(own));
            Outcome::Resume
        })?;
        tally.end()?;
        check(tally.counts() == (1, 0, 1), "the work ran once")?;
        let said = answer.lock().take();
        said.ok_or(ENODATA)?
    }

    /// Waits until it waits behind this program of its page; returns its registers there.
    pub(crate) fn until_behind(&self, program: Range<u64>) -> Result<General> {
        let wanted = self.room + program.end;
        for _ in 0..1_000 {
            let registers = self.ask(Notify::Interrupt, Own::general_registers)?;
            if registers[at::IP] == wanted && registers[at::ORIG_AX] == PAUSE {
                check(registers[at::AX] == RESTARTS, "the call is interrupted")?;
                return Ok(registers);
            }
            pause();
        }
        check(false, "the child does not come to wait")?;
        Err(ETIMEDOUT)
    }

    /// Waits until it waits as at first; returns its registers there.
    pub(crate) fn until_waiting(&self) -> Result<General> {
        self.until_behind(WAITS)
    }

    /// Waits for its end; returns its status.
    pub(crate) fn until_ended(&self) -> Result<i32> {
        for _ in 0..2_000 {
            if let Some(status) = self.subject.exit_status() {
                return Ok(status);
            }
            pause();
        }
        Err(ETIMEDOUT)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.subject.kill(SIGKILL);
        // Without a limit: its works must be gone before the module may go. They do not wait for anything.
        while self.subject.exit_status().is_none() {
            pause();
        }
        let pid = self.subject.pid();
        let reaped = Syscalls::new(&self.parent, 0).call(WAIT4, [pid as u64, 0, WALL, 0, 0, 0]);
        if reaped != Ok(pid as usize) {
            pr_err!("# the child {pid} is not reaped: {reaped:?}\n");
        }
    }
}
