// SPDX-License-Identifier: GPL-2.0

//! A parked task: interrupted from outside without a signal, and handed to the kernel's own handling of stops and freezes.

use crate::{
    own::Own,
    subject::Subject, //
};
use kernel::bindings;

impl Subject {
    /// Makes it leave an interruptible wait, now or at its next one, until it calls [`Own::clear_interrupt`].
    pub fn interrupt(&self) {
        // SAFETY: The task is referenced.
        unsafe { banyan_bindings::banyan_set_notify_signal(self.raw()) };
    }
}

impl Own {
    /// Ends the effect of [`Subject::interrupt`].
    pub fn clear_interrupt(&self) {
        // SAFETY: Concerns the current task only. Works that were posted stay on its list and run when it leaves this one.
        unsafe { banyan_bindings::banyan_clear_notify_signal() };
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
}
