// SPDX-License-Identifier: GPL-2.0

//! What a process has used of the machine, read from it and set for a task that stands for it.

use crate::{
    own::Own,
    subject::Subject, //
};
pub use banyan_bindings::banyan_usage as Usage;
use core::ptr::NonNull;
use kernel::{
    bindings,
    sync::atomic::{
        Atomic,
        Full, //
    }, //
};

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

/// Memory that a process appears to have in its address space, to `ps` and `top`, though it is elsewhere.
///
/// It is counted as resident anonymous pages. The count is taken back when this is dropped, which the address space outlives: the kernel
/// finds its own pages counted, and no other, when it frees it. While there is any the OOM killer passes the process over.
///
/// # Invariants
///
/// A reference to the `mm_struct` is held (`mmgrab`), and `pages` are counted in it beyond its own.
pub struct ShownMemory {
    mm: NonNull<bindings::mm_struct>,
    pages: Atomic<i64>,
}

// SAFETY: The counters may be changed from any task, and the reference given back by any.
unsafe impl Send for ShownMemory {}
// SAFETY: The counters are changed atomically.
unsafe impl Sync for ShownMemory {}

impl ShownMemory {
    /// That of the current process; nothing yet.
    pub fn new(own: &Own) -> Option<Self> {
        // SAFETY: The current task is a user task with an address space, by the token.
        let mm = NonNull::new(unsafe { banyan_bindings::banyan_hold_mm() })?;
        debug_assert!(mm.as_ptr() == own.raw_mm());
        // INVARIANT: The reference was just taken.
        Some(Self {
            mm,
            pages: Atomic::new(0),
        })
    }

    /// Shows so much from now on.
    pub fn set(&self, kib: u64) {
        // More than any machine has would not be believed.
        let pages = i64::try_from((kib / 4).min(1 << 40)).unwrap_or(0);
        let before = self.pages.xchg(pages, Full);
        let mm = self.mm.as_ptr();
        // SAFETY: The reference keeps the counters. INVARIANT: The sum of all changes is what `pages` says.
        unsafe {
            banyan_bindings::banyan_show_pages(mm, pages.wrapping_sub(before) as isize);
            if (pages == 0) != (before == 0) {
                banyan_bindings::banyan_spare_mm(mm, pages != 0);
            }
        }
    }
}

impl Drop for ShownMemory {
    fn drop(&mut self) {
        self.set(0);
        // SAFETY: The reference taken by `new`.
        unsafe { banyan_bindings::banyan_drop_mm(self.mm.as_ptr()) };
    }
}
