// SPDX-License-Identifier: GPL-2.0

//! A task looked at from outside, while it runs.
//!
//! A [`Subject`] holds a reference to the task, so it may end but does not vanish. What is read of it is a snapshot that may be out of
//! date at once; what must hold is asked again in the task's own context ([`Own`](crate::own::Own)).

use core::ptr::NonNull;
use kernel::{
    bindings,
    sync::aref::ARef,
    task::Task, //
};

/// A task looked at from outside.
#[derive(Clone)]
pub struct Subject(ARef<Task>);

impl Subject {
    /// The process with this pid in the initial pid namespace, if it lives.
    pub fn find(pid: i32) -> Option<Self> {
        if pid <= 0 {
            return None;
        }
        // SAFETY: `init_pid_ns` is static. Both lookups return a reference or null; that to the `struct pid` is given back here, that to
        // the task goes to the `ARef`.
        unsafe {
            bindings::rcu_read_lock();
            let number = bindings::find_pid_ns(pid, &raw mut bindings::init_pid_ns);
            let task = bindings::pid_task(number, bindings::pid_type_PIDTYPE_TGID);
            if !task.is_null() {
                bindings::get_task_struct(task);
            }
            bindings::rcu_read_unlock();
            Some(Self(ARef::from_raw(NonNull::new(task)?.cast::<Task>())))
        }
    }

    /// The current task.
    pub fn current() -> Self {
        Self(ARef::from(&**kernel::current!()))
    }

    /// The task.
    pub(crate) fn raw(&self) -> *mut bindings::task_struct {
        self.0.as_ptr()
    }

    /// Its pid in the initial pid namespace.
    pub fn pid(&self) -> i32 {
        self.0.pid()
    }

    /// Whether this is that same task.
    pub fn is(&self, other: &Subject) -> bool {
        self.raw() == other.raw()
    }

    /// Whether it has begun to exit.
    pub fn exiting(&self) -> bool {
        // SAFETY: A reference is held; a plain read of a word.
        unsafe { (&raw const (*self.raw()).flags).read_volatile() & bindings::PF_EXITING != 0 }
    }

    /// Its exit status as `wait` encodes it, once it has ended.
    pub fn exit_status(&self) -> Option<i32> {
        // SAFETY: A reference to the task keeps its `signal_struct`. The codes do not change after `exit_state` is set.
        unsafe {
            let task = self.raw();
            if (&raw const (*task).exit_state).read_volatile() == 0 {
                return None;
            }
            let signal = (*task).signal;
            if (*signal).flags & bindings::SIGNAL_GROUP_EXIT != 0 {
                Some((*signal).group_exit_code)
            } else {
                Some((*task).exit_code)
            }
        }
    }

    /// Sends it a signal as the kernel does (no sender).
    pub fn kill(&self, signal: i32) {
        // SAFETY: A reference to the task is held.
        unsafe { bindings::send_sig(signal, self.raw(), 1) };
    }
}
