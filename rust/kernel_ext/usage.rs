// SPDX-License-Identifier: GPL-2.0

//! What a process has used of the machine, read from it and set for a task that stands for it.

use crate::{
    own::Own,
    subject::Subject, //
};
pub use banyan_bindings::banyan_usage as Usage;

impl Subject {
    /// What it has used so far, or in all if it has ended.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        // SAFETY: The task is referenced, which keeps its `signal_struct`; the place is valid.
        unsafe { banyan_bindings::banyan_usage_of(self.raw(), &mut usage) };
        usage
    }
}

impl Own {
    /// Makes the current process appear to have used this, to its parent and to `ps`. No figure falls.
    pub fn set_usage(&self, usage: &Usage) {
        // SAFETY: The current task has one thread, by the token.
        unsafe { banyan_bindings::banyan_set_usage(usage) };
    }
}
