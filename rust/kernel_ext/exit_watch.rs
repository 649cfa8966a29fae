// SPDX-License-Identifier: GPL-2.0

//! Being told when a process ends, at no cost for any other process.
//!
//! An [`ExitWatch`] hangs on the wait queue that the kernel keeps for the pidfds of a process; it wakes a queue of ours, whose sleeper then
//! looks at the process. It is owned by whoever watches.

use crate::{
    subject::Subject,
    wait::WaitQueue, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

#[pin_data(PinnedDrop)]
struct Entry {
    #[pin]
    entry: Opaque<bindings::wait_queue_entry>,
    number: *mut bindings::pid,
    wake: Arc<WaitQueue>,
}

/// A watch on the end of a process. Dropping it ends the watch.
pub struct ExitWatch(#[expect(dead_code)] Pin<KBox<Entry>>);

// SAFETY: The entry is only touched under the lock of the kernel's queue; the pid is referenced.
unsafe impl Send for ExitWatch {}
// SAFETY: A shared reference gives access to nothing.
unsafe impl Sync for ExitWatch {}

impl ExitWatch {
    /// Wakes `wake` when the process ends. One that has ended already is not reported: look after this.
    ///
    /// # Errors
    ///
    /// `ESRCH` if it has been reaped, `ENOMEM`.
    pub fn new(subject: &Subject, wake: Arc<WaitQueue>) -> Result<Self> {
        // SAFETY: The task is referenced; the call returns a reference or null.
        let number =
            unsafe { bindings::get_task_pid(subject.raw(), bindings::pid_type_PIDTYPE_PID) };
        if number.is_null() {
            return Err(ESRCH);
        }
        let entry = KBox::pin_init(
            pin_init!(Entry {
                entry: Opaque::new(bindings::wait_queue_entry {
                    func: Some(on_wake),
                    ..Default::default()
                }),
                number,
                wake,
            }),
            GFP_KERNEL,
        )
        .inspect_err(|_| {
            // SAFETY: The reference taken above.
            unsafe { bindings::put_pid(number) };
        })?;
        // SAFETY: The entry is pinned and leaves the queue before it is freed; the pid, and its queue with it, is referenced until then.
        unsafe { bindings::add_wait_queue(&raw mut (*number).wait_pidfd, entry.entry.get()) };
        Ok(Self(entry))
    }
}

#[pinned_drop]
impl PinnedDrop for Entry {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Added by `new`, unless that failed before the entry was whole. On return no callback runs.
        unsafe {
            bindings::remove_wait_queue(&raw mut (*self.number).wait_pidfd, self.entry.get());
            bindings::put_pid(self.number);
        }
    }
}

/// # Safety
///
/// Called by the kernel with an entry that `ExitWatch::new` added, under the lock of its queue.
unsafe extern "C" fn on_wake(
    entry: *mut bindings::wait_queue_entry,
    _mode: u32,
    _flags: i32,
    _key: *mut kernel::ffi::c_void,
) -> i32 {
    // SAFETY: The entry is the field of a pinned `Entry`, which stays until it is off the queue.
    let entry = unsafe { &*kernel::container_of!(Opaque::cast_from(entry), Entry, entry) };
    entry.wake.wake_all();
    0
}
