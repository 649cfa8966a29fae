// SPDX-License-Identifier: GPL-2.0

//! A parked task: interrupted from outside without a signal, and handed to the kernel's own handling of stops and freezes.

use crate::{
    memory::{
        NewMapping,
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

const IP: usize = 16;
const ORIG_AX: usize = 15;

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
