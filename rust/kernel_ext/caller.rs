// SPDX-License-Identifier: GPL-2.0

//! Who asks: the rights of the current task, whether it is wanted elsewhere, and to whom another one belongs.

use crate::subject::Subject;
use kernel::bindings;

/// A capability of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// `CAP_SYS_ADMIN`.
    SysAdmin,
    /// `CAP_SYS_PTRACE`.
    SysPtrace,
}

/// Whether the current task has a capability in the initial user namespace.
pub fn capable(capability: Capability) -> bool {
    let number = match capability {
        Capability::SysAdmin => bindings::CAP_SYS_ADMIN,
        Capability::SysPtrace => bindings::CAP_SYS_PTRACE,
    };
    // SAFETY: Asks about the current task.
    unsafe { bindings::capable(number as i32) }
}

/// The effective user id of the current task in the initial user namespace.
pub fn euid() -> u32 {
    // SAFETY: The credentials of the current task stay while it runs this.
    unsafe { (*(*bindings::get_current()).cred).euid.val }
}

/// Whether anything asks the current task to leave an interruptible wait: a signal, or work at the border.
pub fn signal_pending() -> bool {
    // SAFETY: Asks about the current task.
    unsafe { bindings::signal_pending(bindings::get_current()) != 0 }
}

impl Subject {
    /// Its real user id in the initial user namespace.
    pub fn real_uid(&self) -> u32 {
        self.uids().0
    }

    /// Real and saved user id.
    fn uids(&self) -> (u32, u32) {
        // SAFETY: The task is referenced; its credentials are read under RCU.
        unsafe {
            bindings::rcu_read_lock();
            let cred = (&raw const (*self.raw()).real_cred).read_volatile();
            let uids = ((*cred).uid.val, (*cred).suid.val);
            bindings::rcu_read_unlock();
            uids
        }
    }

    /// Whether a user may send it signals: it has that user's real or saved id.
    pub fn belongs_to(&self, uid: u32) -> bool {
        let (real, saved) = self.uids();
        uid == real || uid == saved
    }

    /// Its name, padded with zeros.
    pub fn name(&self) -> [u8; 16] {
        // SAFETY: The task is referenced. A name that is being changed may be read half changed, but always ends in a zero.
        unsafe { (&raw const (*self.raw()).comm).read() }
    }
}
