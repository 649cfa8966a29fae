// SPDX-License-Identifier: GPL-2.0

//! Work that a task does in its own context, at the border between kernel and user mode.
//!
//! A [`BoundaryWork`] is owned by the kernel's task work list from [`post`] until it runs; it runs exactly once, possibly long after
//! the one who posted it lost interest, and cannot be called back. It keeps its module loaded meanwhile.
//!
//! A work of ours runs after all others that wait, such as the last closing of files. It may take long, and it may end the task: the
//! kernel takes the whole list off the task before it runs the first, so that those behind one that ends the task would be lost with all
//! that they hold.

use crate::{
    own::Own,
    subject::Subject, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    task::Task, //
};

/// What the task does after its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on to user mode (or to the next work, or into the handling of its signals).
    Resume,
    /// It ends with this status, encoded as `wait` gives it.
    Exit(i32),
}

/// Work for a task's own context.
pub trait BoundaryWork: Send + 'static {
    /// Does it. May sleep. The task must not be kept from ending: every wait in here ends on a fatal signal.
    fn run(&mut self, own: &Own) -> Outcome;

    /// Called instead of [`run`](Self::run) if the task is exiting.
    fn abandoned(&mut self);
}

/// How a task is brought to the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// Interrupt its sleep and its user code, as a signal does, and let the kernel decide about restarting the system call afterwards.
    Interrupt,
    /// Only see to it that it does not enter user mode before the work is done.
    Return,
}

#[repr(C)]
struct Pending<W> {
    head: bindings::callback_head,
    module: *mut bindings::module,
    work: W,
}

/// Work that is ready to be posted: what can fail has been done.
pub struct Ready<W: BoundaryWork> {
    // Always there until `post` takes it.
    pending: Option<KBox<Pending<W>>>,
}

// SAFETY: The head is not on any list yet, the module is only given back, and the work may be sent.
unsafe impl<W: BoundaryWork> Send for Ready<W> {}

/// Makes `work` ready to be posted, so that posting it later cannot fail for want of memory.
///
/// # Errors
///
/// `ENODEV` if the module is going away, `ENOMEM`. The work is dropped then.
pub fn prepare<W: BoundaryWork>(module: &'static ThisModule, work: W) -> Result<Ready<W>> {
    let pending = KBox::new(
        Pending {
            head: bindings::callback_head {
                next: core::ptr::null_mut(),
                func: Some(run_pending::<W>),
            },
            module: module.as_ptr(),
            work,
        },
        GFP_KERNEL,
    )?;
    // SAFETY: `ThisModule` is a valid module.
    if !unsafe { bindings::try_module_get(module.as_ptr()) } {
        return Err(ENODEV);
    }
    Ok(Ready {
        pending: Some(pending),
    })
}

impl<W: BoundaryWork> Ready<W> {
    /// Lets `task` do the work at the border.
    ///
    /// # Errors
    ///
    /// `ESRCH` if the task is past the point where it runs such work. The work is dropped then.
    pub fn post(mut self, task: &Subject, notify: Notify) -> Result {
        let Some(pending) = self.pending.take() else {
            return Err(EINVAL);
        };
        let mode = match notify {
            Notify::Interrupt => bindings::task_work_notify_mode_TWA_SIGNAL,
            Notify::Return => bindings::task_work_notify_mode_TWA_RESUME,
        };
        let raw = KBox::into_raw(pending);
        // SAFETY: The task is referenced by `task`; `head` stays valid until `run_pending` takes the box back, which it does once.
        let added = to_result(unsafe { bindings::task_work_add(task.raw(), raw.cast(), mode) });
        if added.is_err() {
            // SAFETY: The list did not take it.
            self.pending = Some(unsafe { KBox::from_raw(raw) });
        }
        added
    }
}

impl<W: BoundaryWork> Drop for Ready<W> {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take() {
            // SAFETY: The reference taken by `prepare`.
            unsafe { bindings::module_put(pending.module) };
        }
    }
}

/// Lets `task` do `work` at the border.
///
/// # Errors
///
/// Those of [`prepare`] and [`Ready::post`].
pub fn post<W: BoundaryWork>(
    task: &Subject,
    module: &'static ThisModule,
    notify: Notify,
    work: W,
) -> Result {
    prepare(module, work)?.post(task, notify)
}

/// Waits until no task runs in the text of a module whose works have all given up their reference to it.
///
/// To be called last in the drop of a module that uses [`post`].
pub fn synchronize() {
    // SAFETY: May sleep here. Each task that was between `module_put` and its return to the kernel has left by then.
    unsafe { bindings::synchronize_rcu_tasks() };
}

impl Own {
    /// Whether works wait that run only when the one that runs now is done.
    pub fn works_wait(&self) -> bool {
        // SAFETY: The current task; a plain read of a pointer that others may set meanwhile.
        unsafe {
            !(&raw const (*self.raw()).task_works)
                .read_volatile()
                .is_null()
        }
    }
}

/// # Safety
///
/// Called by the kernel, with the head of a `Pending<W>` that `post` gave to it, in the context of the task.
unsafe extern "C" fn run_pending<W: BoundaryWork>(head: *mut bindings::callback_head) {
    // SAFETY: The head is ours until it is on a list again; `next` is as it was when it was put on the list, which the kernel has taken off
    // the task. The kernel has read it, too, and goes on there. Putting it back fails only for a task that is past all works.
    let later = unsafe {
        !(*head).next.is_null()
            && bindings::task_work_add(
                Task::current_raw(),
                head,
                bindings::task_work_notify_mode_TWA_NONE,
            ) == 0
    };
    if later {
        return;
    }
    // SAFETY: `head` is the first field of a `Pending<W>` made by `post`, which gave up its box.
    let mut pending = unsafe { KBox::<Pending<W>>::from_raw(head.cast()) };
    let module = pending.module;
    let outcome = {
        // SAFETY: Task works run in user tasks only; the token is gone before the task goes on.
        let own = unsafe { Own::new() };
        if own.exiting() {
            pending.work.abandoned();
            Outcome::Resume
        } else {
            pending.work.run(&own)
        }
    };
    drop(pending);
    // SAFETY: The reference that `post` took. `synchronize` covers the few instructions from here to the return.
    unsafe { bindings::module_put(module) };
    if let Outcome::Exit(status) = outcome {
        // SAFETY: In process context, with nothing left to undo. The second does not return.
        unsafe {
            banyan_bindings::banyan_leave_frozen();
            bindings::do_exit(status as isize)
        };
    }
}
