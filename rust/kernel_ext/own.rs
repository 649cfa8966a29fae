// SPDX-License-Identifier: GPL-2.0

//! The current user process, where its whole state may be read and replaced.
//!
//! [`Own`] is a token: whoever holds one runs in the context of a user task with one thread, at the border between kernel and user
//! mode or in a system call that will not look at the process's memory again. At most a handful exist, each on the stack of the task
//! that it stands for. The files of this crate that hold one kind of process state add their methods to it.

use kernel::{
    bindings,
    prelude::*,
    task::Task,
    types::NotThreadSafe, //
};

/// The current user process, whose state may be read and replaced.
///
/// # Invariants
///
/// The current task is a user task with an address space of its own, and the value does not leave its context.
pub struct Own(NotThreadSafe);

impl Own {
    /// Makes a token.
    ///
    /// # Safety
    ///
    /// The current task must be a user task with an `mm`, and the value must be dropped before the task returns to user mode or ends.
    pub(crate) unsafe fn new() -> Self {
        // INVARIANT: By the safety requirements; `NotThreadSafe` keeps it in this context.
        Self(NotThreadSafe)
    }

    /// The caller of a system call, if it is a process with one thread that shares its memory, descriptors and handlers with nobody.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it shares any of these, `EINVAL` if it is not a user process.
    pub fn of_caller() -> Result<Self> {
        // INVARIANT: Checked here; a task cannot lose its `mm` while it runs this.
        let own = Self(NotThreadSafe);
        let task = own.raw();
        // SAFETY: `task` is the current task. The pointers are its own, which only it changes.
        unsafe {
            if (*task).mm.is_null()
                || (*task).flags & (bindings::PF_KTHREAD | bindings::PF_USER_WORKER) != 0
            {
                return Err(EINVAL);
            }
            let mm = &(*(*task).mm).__bindgen_anon_1;
            if (*(*task).signal).nr_threads != 1
                || mm.mm_users.counter != 1
                || (*(*task).files).count.counter != 1
                || (*(*task).sighand).count.refs.counter != 1
            {
                return Err(EBUSY);
            }
        }
        Ok(own)
    }

    /// The task.
    pub(crate) fn raw(&self) -> *mut bindings::task_struct {
        Task::current_raw()
    }

    /// Its address space.
    pub(crate) fn raw_mm(&self) -> *mut bindings::mm_struct {
        // SAFETY: The task is the current one and has an `mm` by the type's invariant.
        unsafe { (*self.raw()).mm }
    }

    /// Its pid, as every node knows it.
    pub fn pid(&self) -> i32 {
        // SAFETY: The current task; `pid` does not change.
        unsafe { (*self.raw()).pid }
    }

    /// Whether it is on its way out, so that nothing of it is worth keeping.
    pub fn exiting(&self) -> bool {
        // SAFETY: The current task.
        unsafe { (*self.raw()).flags & bindings::PF_EXITING != 0 }
    }

    /// Whether a fatal signal waits for it.
    pub fn fatal_signal_pending(&self) -> bool {
        // SAFETY: No preconditions.
        unsafe { banyan_bindings::banyan_fatal_signal_pending() }
    }

    /// Whether anything asks it to leave an interruptible wait.
    pub fn signal_pending(&self) -> bool {
        // SAFETY: The current task is valid.
        unsafe { bindings::signal_pending(self.raw()) != 0 }
    }
}
