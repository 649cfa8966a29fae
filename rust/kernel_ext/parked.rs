// SPDX-License-Identifier: GPL-2.0

//! A parked task: interrupted from outside without a signal, and handed to the kernel's own handling of stops and freezes.

use crate::{
    attributes::LIMITS,
    memory::{
        Bounds,
        NewMapping,
        AUXV,
        PAGE_SIZE, //
    },
    own::Own,
    registers::GENERAL,
    subject::Subject, //
};
use kernel::{
    bindings,
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// `mov $34, %eax; syscall; jmp` back: the system call `pause`, for ever.
const WAITING: [u8; 9] = [0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7];

const SIGSTOP: u32 = 19;

const IP: usize = 16;
const ORIG_AX: usize = 15;

/// Most bytes of arguments and environment that are kept.
const MAX_SHOWN: usize = 256 * 1024;

/// What a task without a program shows of the one that it had: bounds of its memory, arguments and environment. And its limits.
pub struct Shell {
    bounds: Bounds,
    auxv: [u64; AUXV],
    limits: [(u64, u64); LIMITS],
    start: usize,
    shown: KVVec<u8>,
}

impl Subject {
    /// Makes it leave an interruptible wait, now or at its next one, until it calls [`Own::clear_interrupt`].
    pub fn interrupt(&self) {
        // SAFETY: The task is referenced.
        unsafe { banyan_bindings::banyan_set_notify_signal(self.raw()) };
    }

    /// Whether it stands still, by the cgroup freezer or by a stop.
    pub fn stands_still(&self) -> bool {
        // SAFETY: The task is referenced; a plain read of a bit.
        unsafe { banyan_bindings::banyan_frozen(self.raw()) }
    }

    /// The signal that it is stopped by, if it is stopped.
    pub fn stop_signal(&self) -> Option<u32> {
        // SAFETY: A reference to the task is held; a plain read of a word.
        let jobctl = unsafe { (&raw const (*self.raw()).jobctl).read_volatile() };
        match jobctl as u32 & bindings::JOBCTL_STOP_SIGMASK {
            _ if !self.stopped() => None,
            0 => Some(SIGSTOP),
            signal => Some(signal),
        }
    }

    /// Whether it is stopped, as by SIGSTOP.
    pub fn stopped(&self) -> bool {
        // SAFETY: A reference to the task keeps its `signal_struct`; a plain read of a word.
        let flags = unsafe { (&raw const (*(*self.raw()).signal).flags).read_volatile() };
        flags & bindings::SIGNAL_STOP_STOPPED != 0
    }

    /// Whether the cgroup freezer's trap is set for it, by its cgroup or by [`Own::hold`].
    pub fn held(&self) -> bool {
        // SAFETY: The task is referenced; a plain read of a word.
        unsafe { banyan_bindings::banyan_held(self.raw()) }
    }
}

impl Own {
    /// Ends the effect of [`Subject::interrupt`].
    pub fn clear_interrupt(&self) {
        // SAFETY: Concerns the current task only. Works that were posted stay on its list and run when it leaves this one.
        unsafe { banyan_bindings::banyan_clear_notify_signal() };
    }

    /// Whether the cgroup freezer wants it to stand still.
    pub fn freezing(&self) -> bool {
        // SAFETY: Reads a word of the current task.
        unsafe { banyan_bindings::banyan_freezing() }
    }

    /// Holds the task as the cgroup freezer does from when it leaves the border, or lets it go unless its own cgroup is frozen. It can be
    /// killed and suspended meanwhile, and its cgroup counts it as frozen. If its own cgroup is thawed meanwhile, that lets it go, too.
    pub fn hold(&self, hold: bool) {
        // SAFETY: The current task is a user task; it has its signal handlers as long as it lives.
        unsafe { banyan_bindings::banyan_hold(hold) };
    }

    /// Sees to it that the task stops as by the default action of this signal when it leaves to the border, and that no other signal but
    /// a fatal one has an effect there.
    pub fn stop_by(&self, signal: u32) {
        self.block_signals();
        self.default_action(signal);
        self.unblock_signal(signal);
        // SAFETY: The current task.
        unsafe { bindings::send_sig(signal as i32, self.raw(), 1) };
    }

    /// Keeps what the task shows, before it loses it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[inline(never)]
    pub fn shell(&self) -> Result<KBox<Shell>> {
        let bounds = self.bounds();
        let start = usize::try_from(bounds.arg_start)? & !(PAGE_SIZE - 1);
        let end = usize::try_from(bounds.env_end)?;
        let mut shown = KVVec::new();
        // Page by page: the end may be missing.
        for at in (start..end).step_by(PAGE_SIZE) {
            let before = shown.len();
            let page = UserSlice::new(UserPtr::from_addr(at), PAGE_SIZE);
            if before >= MAX_SHOWN || page.read_all(&mut shown, GFP_KERNEL).is_err() {
                shown.truncate(before);
                break;
            }
        }
        Ok(KBox::new(
            Shell {
                bounds,
                auxv: self.auxv(),
                limits: self.limits(),
                start,
                shown,
            },
            GFP_KERNEL,
        )?)
    }

    /// Gives the task, which has no memory, back what it showed.
    ///
    /// # Errors
    ///
    /// Those of mapping and writing it.
    #[inline(never)]
    pub fn put_on(&self, shell: &Shell) -> Result {
        self.set_limits(&shell.limits);
        self.set_bounds(&shell.bounds, &shell.auxv)?;
        if shell.shown.is_empty() {
            return Ok(());
        }
        let pages = NewMapping {
            start: shell.start,
            len: shell.shown.len(),
            read: true,
            write: true,
            ..Default::default()
        };
        self.map(&pages, None)?;
        UserSlice::new(UserPtr::from_addr(shell.start), shell.shown.len())
            .writer()
            .write_slice(&shell.shown)
    }

    /// Makes a page of the task's own with a program that does nothing but wait. Returns its address.
    ///
    /// # Errors
    ///
    /// Those of mapping and writing it.
    pub fn make_waiting_room(&self) -> Result<usize> {
        let page = NewMapping {
            len: PAGE_SIZE,
            read: true,
            write: true,
            exec: true,
            ..Default::default()
        };
        let room = self.map(&page, None)?;
        UserSlice::new(UserPtr::from_addr(room), WAITING.len())
            .writer()
            .write_slice(&WAITING)
            .inspect_err(|_| {
                let _ = self.unmap(room, room.saturating_add(PAGE_SIZE));
            })?;
        Ok(room)
    }

    /// Sees to it that the task waits in this page, should it enter user mode before somebody stops it with a work.
    pub fn enter_waiting_room(&self, room: usize) {
        let mut registers = [0; GENERAL];
        registers[IP] = room as u64;
        registers[ORIG_AX] = u64::MAX;
        self.set_general_registers(&registers);
    }
}
