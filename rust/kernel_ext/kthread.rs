// SPDX-License-Identifier: GPL-2.0

//! Kernel threads that run a closure and are joined when their handle goes.
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use core::{
    ffi::{
        c_int,
        c_void, //
    },
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::from_err_ptr,
    ffi::c_long,
    fmt,
    prelude::*,
    str::CString,
    sync::{
        new_mutex,
        Mutex, //
    }, //
};

/// A kernel thread. Dropping the handle asks the thread to stop and waits until its closure has returned.
///
/// The closure has to look at [`should_stop`] between its waits; the waits of this crate end by themselves when the thread is
/// asked. Whoever drops the handle must hold nothing that the closure waits for.
///
/// # Invariants
///
/// `task` holds a reference. `body` is the boxed closure, which the thread has taken over if it ever ran; `drop_body` frees it.
pub struct KThread {
    task: NonNull<bindings::task_struct>,
    body: *mut c_void,
    drop_body: unsafe fn(*mut c_void),
}

// SAFETY: The handle has no tie to the thread that made it; the closure is `Send`.
unsafe impl Send for KThread {}
// SAFETY: No method takes `&self` but `is_finished`, which only reads a flag of the task.
unsafe impl Sync for KThread {}

impl KThread {
    /// Starts a thread with this name.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINTR` if the caller is being killed.
    pub fn spawn<F: FnOnce() + Send + 'static>(name: fmt::Arguments<'_>, body: F) -> Result<Self> {
        let name = CString::try_from_fmt(name)?;
        let body = KBox::into_raw(KBox::new(body, GFP_KERNEL)?).cast::<c_void>();
        // SAFETY: The format and its argument are C strings; `run` takes over `body`, which is of its type.
        let task = from_err_ptr(unsafe {
            bindings::kthread_create_on_node(
                Some(run::<F>),
                body,
                bindings::NUMA_NO_NODE,
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        });
        let task = match task.map(NonNull::new) {
            Ok(Some(task)) => task,
            other => {
                // SAFETY: No thread was made, so that the closure is still ours.
                unsafe { drop_body::<F>(body) };
                return Err(other.err().unwrap_or(ENOMEM));
            }
        };
        // SAFETY: The new thread exists and sleeps until it is woken.
        unsafe {
            bindings::get_task_struct(task.as_ptr());
            bindings::wake_up_process(task.as_ptr());
        }
        // INVARIANT: The reference was taken before the thread could end.
        Ok(Self {
            task,
            body,
            drop_body: drop_body::<F>,
        })
    }

    /// Returns whether the closure has returned, so that dropping the handle does not wait.
    pub fn is_finished(&self) -> bool {
        // SAFETY: The reference keeps the task; the state only moves towards the end.
        unsafe { (*self.task.as_ptr()).exit_state != 0 }
    }
}

/// # Safety
///
/// `data` is a boxed `F` that the caller gives away.
unsafe extern "C" fn run<F: FnOnce() + Send>(data: *mut c_void) -> c_int {
    // SAFETY: By the caller's promise.
    let body = KBox::into_inner(unsafe { KBox::from_raw(data.cast::<F>()) });
    body();
    0
}

/// # Safety
///
/// `data` is a boxed `F` that the caller gives away.
unsafe fn drop_body<F>(data: *mut c_void) {
    // SAFETY: By the caller's promise.
    drop(unsafe { KBox::from_raw(data.cast::<F>()) });
}

impl Drop for KThread {
    fn drop(&mut self) {
        // SAFETY: The reference keeps the task, even if the thread has ended. `kthread_stop` waits for its end.
        let status = unsafe { bindings::kthread_stop(self.task.as_ptr()) };
        if status == EINTR.to_errno() {
            // SAFETY: The kernel answers this, and `run` never does, if the thread was stopped before it first ran. Then the
            // closure is still ours.
            unsafe { (self.drop_body)(self.body) };
        }
        // SAFETY: Taken in `spawn`.
        unsafe { bindings::put_task_struct(self.task.as_ptr()) };
    }
}

/// Returns whether the current task is a kernel thread that is asked to stop.
pub fn should_stop() -> bool {
    // SAFETY: Reads the current task.
    unsafe { banyan_bindings::banyan_should_stop() }
}

/// Gives the current thread this nice value.
pub fn set_nice(nice: i32) {
    // SAFETY: The current task exists; any value is brought into range.
    unsafe { bindings::set_user_nice(bindings::get_current(), nice as c_long) };
}

/// Threads without a fixed number, for work that arrives. Dropping it stops and joins all.
///
/// Lock order: `threads` is innermost, and never held while a thread is joined.
#[pin_data]
pub struct ThreadGroup {
    #[pin]
    threads: Mutex<Option<KVec<KThread>>>,
    most: usize,
}

impl ThreadGroup {
    /// A group of at most `most` threads at one time.
    pub fn new(most: usize) -> impl PinInit<Self> {
        pin_init!(Self {
            threads <- new_mutex!(Some(KVec::new())),
            most,
        })
    }

    /// Starts one more; joins those that have ended.
    ///
    /// # Errors
    ///
    /// `EBUSY` if so many run already, `ESHUTDOWN` after [`ThreadGroup::stop`], and those of [`KThread::spawn`].
    pub fn spawn(&self, name: fmt::Arguments<'_>, body: impl FnOnce() + Send + 'static) -> Result {
        let mut guard = self.threads.lock();
        let threads = (*guard).as_mut().ok_or(ESHUTDOWN)?;
        // They have ended, so that dropping them does not wait.
        threads.retain(|thread| !thread.is_finished());
        if threads.len() >= self.most {
            return Err(EBUSY);
        }
        threads.reserve(1, GFP_KERNEL)?;
        threads.push(KThread::spawn(name, body)?, GFP_KERNEL)?;
        Ok(())
    }

    /// Joins those that have ended.
    pub fn reap(&self) {
        if let Some(threads) = (*self.threads.lock()).as_mut() {
            threads.retain(|thread| !thread.is_finished());
        }
    }

    /// Stops and joins all; starts no more. Must not be called by one of them.
    pub fn stop(&self) {
        let threads = self.threads.lock().take();
        drop(threads);
    }
}
