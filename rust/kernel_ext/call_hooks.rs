// SPDX-License-Identifier: GPL-2.0

//! Hooks on system calls, for marked tasks only.
//!
//! One [`CallHooks`] at most is on at a time, owned by the module that decides about the calls; a [`CallMark`] belongs to whoever looks
//! after the task. Tasks without a mark make hooked calls as ever.

use crate::own::Own;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    ffi,
    prelude::*,
    sync::atomic::{
        Atomic,
        Full, //
    }, //
};

/// What becomes of a hooked call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is made as it is.
    Through,
    /// It is begun anew before the task goes on in user mode: after any work that waits for it at the border.
    Restart,
    /// It fails.
    Fail(Error),
}

/// A system call as the user made it.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Its number.
    pub number: u16,
    /// Its arguments.
    pub arguments: [u64; 6],
}

impl Asked {
    /// An argument by its place, from 0 on; 0 if there is no such place.
    pub fn argument(&self, place: u8) -> u64 {
        self.arguments.get(usize::from(place)).copied().unwrap_or(0)
    }
}

/// Who decides about the hooked calls of marked tasks.
pub trait Decide {
    /// Decides about one, in the task's own context. May sleep; waits end on a signal.
    fn decide(asked: &Asked) -> Verdict;
}

static HOOKED: Atomic<bool> = Atomic::new(false);

/// The hooks, while they are on. Dropping takes them off.
pub struct CallHooks<D: Decide>(PhantomData<D>);

impl<D: Decide> CallHooks<D> {
    /// Hooks the calls with these names (as in `__x64_sys_NAME`). Says how many of them could not be hooked.
    ///
    /// # Errors
    ///
    /// `EBUSY` if hooks are on, or if another tool has hooked one of the calls in a way that excludes ours; `ENOMEM`, `ENOENT`.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Result<(Self, u32)> {
        let mut text = KVec::new();
        let mut starts = KVec::new();
        for name in names {
            starts.push(text.len(), GFP_KERNEL)?;
            text.extend_from_slice(name.as_bytes(), GFP_KERNEL)?;
            text.push(0, GFP_KERNEL)?;
        }
        let mut pointers = KVec::with_capacity(starts.len(), GFP_KERNEL)?;
        for &start in starts.iter() {
            let name: &[u8] = text.get(start..).ok_or(EINVAL)?;
            pointers.push(name.as_ptr().cast::<ffi::c_char>(), GFP_KERNEL)?;
        }
        if HOOKED.xchg(true, Full) {
            return Err(EBUSY);
        }
        let mut missing = 0;
        // SAFETY: Each pointer is to a text that ends with a zero and stays until the return; `HOOKED` keeps others out. `instead` stays
        // until the hooks are taken off, by the drop of the value that the caller's module owns.
        let done = to_result(unsafe {
            banyan_bindings::banyan_calls_hook(
                pointers.as_ptr(),
                u32::try_from(pointers.len())?,
                Some(instead::<D>),
                &mut missing,
            )
        });
        if let Err(e) = done {
            HOOKED.store(false, kernel::sync::atomic::Release);
            return Err(e);
        }
        Ok((Self(PhantomData), missing))
    }
}

impl<D: Decide> Drop for CallHooks<D> {
    fn drop(&mut self) {
        // SAFETY: They are on, by this value's existence, and nobody else takes them off.
        unsafe { banyan_bindings::banyan_calls_unhook() };
        HOOKED.store(false, kernel::sync::atomic::Release);
    }
}

/// # Safety
///
/// Called by a hook, in the context of a marked task, with the registers of its system call.
unsafe extern "C" fn instead<D: Decide>(
    registers: *const bindings::pt_regs,
    number: u32,
) -> ffi::c_long {
    // SAFETY: The registers of the current task's system call, which stay until it returns.
    let user = unsafe { &*registers };
    let asked = Asked {
        number: u16::try_from(number).unwrap_or(u16::MAX),
        arguments: [user.di, user.si, user.dx, user.r10, user.r8, user.r9].map(|word| word as u64),
    };
    match D::decide(&asked) {
        // SAFETY: The arguments are those given to this function.
        Verdict::Through => unsafe { banyan_bindings::banyan_call_through(registers, number) },
        // SAFETY: In a system call of the current task, whose result this is.
        Verdict::Restart => unsafe { banyan_bindings::banyan_call_restart() },
        Verdict::Fail(error) => error.to_errno() as ffi::c_long,
    }
}

/// The mark of a task whose calls are decided about. Dropping takes it off.
///
/// # Invariants
///
/// The mark is in the list of marks.
pub struct CallMark(NonNull<banyan_bindings::banyan_call_mark>);

// SAFETY: A mark may be taken off by anyone.
unsafe impl Send for CallMark {}
// SAFETY: A shared reference gives access to nothing.
unsafe impl Sync for CallMark {}

impl CallMark {
    /// Marks the current task; nothing changes for it before [`activate`](Self::activate). The caller keeps a reference to the task as long as the mark, so that no other task takes its place.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(_own: &Own) -> Result<Self> {
        // SAFETY: In the context of a user task.
        let mark = unsafe { banyan_bindings::banyan_call_mark() };
        // INVARIANT: The mark was just put into the list.
        Ok(Self(NonNull::new(mark).ok_or(ENOMEM)?))
    }

    /// From now on the task's hooked calls are decided about.
    pub fn activate(&self) {
        // SAFETY: The mark is valid by the invariant.
        unsafe { banyan_bindings::banyan_call_mark_activate(self.0.as_ptr()) };
    }
}

impl Drop for CallMark {
    fn drop(&mut self) {
        // SAFETY: It is in the list by the invariant, and taken off only here.
        unsafe { banyan_bindings::banyan_call_unmark(self.0.as_ptr()) };
    }
}
