// SPDX-License-Identifier: GPL-2.0

//! Bounded waits that a signal can end: [`Completion`] and [`WaitQueue`].
//!
//! C headers: [`include/linux/completion.h`](srctree/include/linux/completion.h),
//! [`include/linux/wait.h`](srctree/include/linux/wait.h)

use kernel::{
    bindings,
    ffi::{
        c_long,
        c_ulong, //
    },
    prelude::*,
    time::{
        msecs_to_jiffies,
        Msecs, //
    },
    types::Opaque, //
};

/// Which signals end a wait. A kernel thread's wait ends, either way, when its owner asks it to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// Only a fatal one.
    Killable,
    /// Any.
    Any,
}

impl Interrupt {
    pub(crate) fn raw(self) -> banyan_bindings::banyan_wait {
        match self {
            Interrupt::Killable => banyan_bindings::banyan_wait_BANYAN_WAIT_KILLABLE,
            Interrupt::Any => banyan_bindings::banyan_wait_BANYAN_WAIT_INTERRUPTIBLE,
        }
    }

    fn must_end(self) -> bool {
        // SAFETY: Reads the current task.
        unsafe { banyan_bindings::banyan_wait_must_end(self.raw()) }
    }

    fn task_state(self) -> u32 {
        // SAFETY: Reads the current task.
        unsafe { banyan_bindings::banyan_wait_state(self.raw()) }
    }
}

/// Returns whether a signal that kills the current process waits for it.
pub fn fatal_signal_pending() -> bool {
    // SAFETY: Reads the current task.
    unsafe { banyan_bindings::banyan_fatal_signal_pending() }
}

/// Sleeps for so many milliseconds.
///
/// # Errors
///
/// `EINTR` if a signal of the sort `interrupt` came first.
pub fn sleep(interrupt: Interrupt, duration: Msecs) -> Result {
    let queue = KBox::pin_init(WaitQueue::new(), GFP_KERNEL)?;
    match queue.wait(interrupt, duration, || false) {
        Err(e) if e == ETIMEDOUT => Ok(()),
        other => other,
    }
}

/// One event that happens once, or is counted: `struct completion`.
#[pin_data]
pub struct Completion {
    #[pin]
    inner: Opaque<bindings::completion>,
}

// SAFETY: A completion has no tie to a thread.
unsafe impl Send for Completion {}
// SAFETY: Its functions lock internally.
unsafe impl Sync for Completion {}

impl Completion {
    /// One that has not happened.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot: *mut bindings::completion| {
                // SAFETY: `slot` is valid and uninitialised.
                unsafe { bindings::init_completion(slot) };
            }),
        })
    }

    /// Lets one waiter go, now or later.
    pub fn complete(&self) {
        // SAFETY: Initialised by `new`.
        unsafe { bindings::complete(self.inner.get()) };
    }

    /// Lets all waiters go, now and for ever.
    pub fn complete_all(&self) {
        // SAFETY: Initialised by `new`.
        unsafe { bindings::complete_all(self.inner.get()) };
    }

    /// Returns whether it has happened, and if it is counted, takes one.
    pub fn try_wait(&self) -> bool {
        // SAFETY: Initialised by `new`.
        unsafe { bindings::try_wait_for_completion(self.inner.get()) }
    }

    /// Waits for it, at most `timeout` milliseconds.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT`; `EINTR` if a signal of the sort `interrupt` came first. A kernel thread that is asked to stop waits on.
    pub fn wait(&self, interrupt: Interrupt, timeout: Msecs) -> Result {
        let timeout: c_ulong = msecs_to_jiffies(timeout).max(1);
        let left: c_long = if interrupt.task_state() == bindings::TASK_INTERRUPTIBLE {
            // SAFETY: Initialised by `new`.
            unsafe {
                bindings::wait_for_completion_interruptible_timeout(self.inner.get(), timeout)
            }
        } else {
            // SAFETY: Initialised by `new`.
            unsafe { bindings::wait_for_completion_killable_timeout(self.inner.get(), timeout) }
        };
        match left {
            0 => Err(ETIMEDOUT),
            left if left < 0 => Err(EINTR),
            _ => Ok(()),
        }
    }

    /// Waits for it without end. Only for events that cannot fail to come, such as the end of a callback.
    pub fn wait_uninterruptible(&self) {
        // SAFETY: Initialised by `new`.
        unsafe { bindings::wait_for_completion(self.inner.get()) };
    }
}

/// A queue of sleepers, each waiting for a condition of its own: `struct wait_queue_head`.
///
/// Whoever may have made a condition true calls [`WaitQueue::wake_all`] after the change.
#[pin_data]
pub struct WaitQueue {
    #[pin]
    inner: Opaque<bindings::wait_queue_head>,
}

// SAFETY: A wait queue has no tie to a thread.
unsafe impl Send for WaitQueue {}
// SAFETY: Its functions lock internally.
unsafe impl Sync for WaitQueue {}

impl WaitQueue {
    /// An empty queue.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot: *mut bindings::wait_queue_head| {
                // SAFETY: `slot` is valid and uninitialised; name and class are static.
                unsafe {
                    bindings::__init_waitqueue_head(
                        slot,
                        c"banyan".as_char_ptr(),
                        kernel::static_lock_class!().get_ref().as_ptr(),
                    )
                };
            }),
        })
    }

    /// Wakes all sleepers, to look at their conditions again. From any context.
    pub fn wake_all(&self) {
        // SAFETY: Initialised by `new`. TASK_NORMAL and 0 wake all.
        unsafe {
            bindings::__wake_up(
                self.inner.get(),
                bindings::TASK_NORMAL,
                0,
                core::ptr::null_mut(),
            )
        };
    }

    /// Waits until `condition` returns true, at most `timeout` milliseconds. The condition is called in the running state and may
    /// take locks, sleeping ones too.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT`; `EINTR` if a signal of the sort `interrupt` came, or the kernel thread is to stop. The condition was false last.
    pub fn wait(
        &self,
        interrupt: Interrupt,
        timeout: Msecs,
        mut condition: impl FnMut() -> bool,
    ) -> Result {
        let queue = self.inner.get();
        let state = interrupt.task_state();
        let mut left = msecs_to_jiffies(timeout) as c_long;
        let entry = Opaque::new(bindings::wait_queue_entry::default());
        // SAFETY: The entry stays in place and is taken off the queue before this function ends.
        unsafe {
            banyan_bindings::banyan_wait_init(entry.get());
            bindings::add_wait_queue(queue, entry.get());
        }
        let result = loop {
            if condition() {
                break Ok(());
            }
            if interrupt.must_end() {
                break Err(EINTR);
            }
            if left <= 0 {
                break Err(ETIMEDOUT);
            }
            // SAFETY: The entry is on the queue.
            left = unsafe { bindings::wait_woken(entry.get(), state, left) };
        };
        // SAFETY: Added above.
        unsafe { bindings::remove_wait_queue(queue, entry.get()) };
        result
    }
}

/// Lets some time (10 ms) pass, whatever signals wait.
pub fn pause() {
    // SAFETY: Called in a context that may sleep, as all of this module is.
    unsafe { bindings::msleep(10) };
}
