// SPDX-License-Identifier: GPL-2.0

//! Signals of the current process: what is done about them, which are blocked, which wait.
//!
//! C header: [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h).
//!
//! Lock order: `siglock` is a spin lock taken with interrupts off; nothing is allocated or waited for under it.

use crate::{
    own::Own,
    subject::Subject, //
};
use core::mem::{offset_of, size_of};
use kernel::{
    bindings,
    error::to_result,
    ffi,
    prelude::*, //
};

/// Number of signals.
pub const SIGNALS: u32 = 64;

/// Bytes of the kernel's information about a signal.
pub const INFO_SIZE: usize = size_of::<bindings::kernel_siginfo>();

const SIGKILL: u32 = 9;
const SIGALRM: i32 = 14;
const SIGSTOP: u32 = 19;
const SIGXCPU: i32 = 24;
const SIGVTALRM: i32 = 26;
const SIGPROF: i32 = 27;
const SI_TIMER: i32 = -2;
const SI_KERNEL: i32 = 0x80;

/// `sigqueue::flags`: it belongs to a POSIX timer.
const PREALLOCATED: ffi::c_int = 1;
/// `sigqueue::flags`: ours, for a signal that is in an image. The kernel leaves the bits that it does not know alone.
const CAPTURED: ffi::c_int = 1 << 30;

/// A handler's address that is neither "default" nor "ignore": signals are queued for it, and neither dropped nor fatal.
const PARKED_HANDLER: usize = 2;

/// The bit of a signal in a mask.
const fn bit(signal: u32) -> u64 {
    1u64 << (signal.wrapping_sub(1) & 63)
}

/// What is done about one signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// Address of the handler; 0 = default, 1 = ignore.
    pub handler: u64,
    /// `SA_*`.
    pub flags: u64,
    /// Address of the code that returns from the handler.
    pub restorer: u64,
    /// Signals blocked while it runs.
    pub mask: u64,
}

/// Masks and alternate stack.
#[derive(Clone, Copy, Debug, Default)]
pub struct Masks {
    /// Signals blocked now.
    pub blocked: u64,
    /// The mask to return to, if `restore_saved`.
    pub saved: u64,
    /// Whether a system call replaced the mask for its own duration.
    pub restore_saved: bool,
    /// Lowest address of the alternate stack.
    pub stack: u64,
    /// Its size; 0 = none.
    pub stack_size: u64,
    /// `SS_*`.
    pub stack_flags: u32,
}

/// A signal that waits.
#[derive(Clone, Copy)]
pub struct Waiting {
    /// Its number.
    pub signal: u32,
    /// For the process, not for the thread.
    pub shared: bool,
    /// Its `kernel_siginfo`; `None` if the kernel had no memory for it.
    pub info: Option<[u8; INFO_SIZE]>,
}

/// The lock of all signal state of the current task, with interrupts off.
struct SigLock<'own>(&'own Own);

impl<'own> SigLock<'own> {
    fn new(own: &'own Own) -> Self {
        // SAFETY: The current task is a user task; it has a `sighand` as long as it lives.
        unsafe { banyan_bindings::banyan_siglock() };
        Self(own)
    }

    /// The queue for the process or for the thread.
    fn queue(&self, shared: bool) -> *mut bindings::sigpending {
        let task = self.0.raw();
        if shared {
            // SAFETY: The current task.
            unsafe { &raw mut (*(*task).signal).shared_pending }
        } else {
            // SAFETY: The current task.
            unsafe { &raw mut (*task).pending }
        }
    }

    /// Calls `each` for every entry of a queue, which it may unlink.
    fn each(&self, shared: bool, mut each: impl FnMut(*mut bindings::sigqueue)) {
        let queue = self.queue(shared);
        // SAFETY: The lock protects the list; its entries are in `sigqueue`s. `next` is read before `each` may unlink the entry.
        unsafe {
            let head = &raw mut (*queue).list;
            let mut at = (*head).next;
            while at != head {
                let next = (*at).next;
                each(at.byte_sub(offset_of!(bindings::sigqueue, list)).cast());
                at = next;
            }
        }
    }
}

impl Drop for SigLock<'_> {
    fn drop(&mut self) {
        // SAFETY: Taken by `new` in this context.
        unsafe { banyan_bindings::banyan_sigunlock() };
    }
}

/// Whether the entry is the one that a POSIX timer always has with it.
///
/// # Safety
///
/// The entry is in a queue whose lock is held.
unsafe fn of_timer(entry: *mut bindings::sigqueue) -> bool {
    // SAFETY: By the safety requirements.
    unsafe {
        (*entry).flags & PREALLOCATED != 0 && (*entry).info.__bindgen_anon_1.si_code == SI_TIMER
    }
}

/// Whether a signal comes from a timer or a limit that the process takes along, so that it comes again where the process goes.
fn of_clock(signal: i32, code: i32) -> bool {
    code == SI_TIMER
        || (code == SI_KERNEL && matches!(signal, SIGALRM | SIGVTALRM | SIGPROF | SIGXCPU))
}

impl Own {
    /// What is done about a signal.
    pub fn signal_action(&self, signal: u32) -> Action {
        let _lock = SigLock::new(self);
        // SAFETY: The current task; only it changes its handlers, and the lock is held. An index out of range gives the default.
        unsafe {
            let Some(action) = (*(*self.raw()).sighand)
                .action
                .get(signal.wrapping_sub(1) as usize)
            else {
                return Action::default();
            };
            Action {
                handler: action
                    .sa
                    .sa_handler
                    .map_or(0, |handler| handler as usize as u64),
                flags: action.sa.sa_flags as u64,
                restorer: action
                    .sa
                    .sa_restorer
                    .map_or(0, |restorer| restorer as usize as u64),
                mask: action.sa.sa_mask.sig[0] as u64,
            }
        }
    }

    /// Masks and alternate stack.
    pub fn signal_masks(&self) -> Masks {
        // SAFETY: The current task's own fields.
        unsafe {
            let task = &*self.raw();
            Masks {
                blocked: task.blocked.sig[0] as u64,
                saved: task.saved_sigmask.sig[0] as u64,
                restore_saved: task.restore_sigmask() != 0,
                stack: task.sas_ss_sp as u64,
                stack_size: task.sas_ss_size as u64,
                stack_flags: task.sas_ss_flags,
            }
        }
    }

    /// Sets the blocked signals, and lets none of those through that wait.
    fn set_blocked(&self, mask: u64) {
        let _lock = SigLock::new(self);
        // SAFETY: The current task, under its lock.
        unsafe {
            (*self.raw()).blocked.sig[0] = mask as usize;
            bindings::recalc_sigpending();
        }
    }

    /// Blocks every signal but SIGKILL, so that signals can be queued without effect.
    pub fn block_signals(&self) {
        self.set_blocked(!bit(SIGKILL));
    }

    /// Lets one blocked signal through again.
    pub fn unblock_signal(&self, signal: u32) {
        let blocked = self.signal_masks().blocked;
        self.set_blocked(blocked & !bit(signal));
    }

    /// Gives a signal its default action.
    pub fn default_action(&self, signal: u32) {
        let _lock = SigLock::new(self);
        // SAFETY: The current task, under its lock; with one thread nobody else uses the handlers.
        unsafe {
            if let Some(action) = (*(*self.raw()).sighand)
                .action
                .get_mut(signal.wrapping_sub(1) as usize)
            {
                action.sa = bindings::sigaction::default();
            }
        }
    }

    /// Sets masks and alternate stack; signals that wait and are not blocked take effect on the way to user mode.
    pub fn set_signal_masks(&self, masks: &Masks) {
        let never = bit(SIGKILL) | bit(SIGSTOP);
        // SAFETY: The current task's own fields, which no other task writes.
        unsafe {
            let task = self.raw();
            (*task).saved_sigmask.sig[0] = (masks.saved & !never) as usize;
            (*task).set_restore_sigmask(masks.restore_saved.into());
            (*task).sas_ss_sp = masks.stack as usize;
            (*task).sas_ss_size = masks.stack_size as usize;
            (*task).sas_ss_flags = masks.stack_flags;
        }
        self.set_blocked(masks.blocked & !never);
    }

    /// Copies the signals that wait, but for those of POSIX timers, and marks them as captured.
    ///
    /// # Errors
    ///
    /// `E2BIG` if there are more than `max`, `ENOMEM`.
    pub fn capture_signals(&self, max: usize) -> Result<KVec<Waiting>> {
        let mut found = KVec::new();
        loop {
            let mut count = 0usize;
            {
                let lock = SigLock::new(self);
                for shared in [false, true] {
                    lock.each(shared, |_| count = count.saturating_add(1));
                }
            }
            // Room for those that have no entry in the queue, and for some that come meanwhile.
            let room = count.saturating_add(2 * SIGNALS as usize + 8);
            if count > max {
                return Err(E2BIG);
            }
            found.reserve(room, GFP_KERNEL)?;
            let lock = SigLock::new(self);
            let mut fits = true;
            for shared in [false, true] {
                let mut with_info = 0u64;
                lock.each(shared, |entry| {
                    // SAFETY: The entry is in a queue whose lock is held; `kernel_siginfo` is plain bytes.
                    unsafe {
                        (*entry).flags &= !CAPTURED;
                        let signal = (*entry).info.__bindgen_anon_1.si_signo as u32;
                        with_info |= bit(signal);
                        if of_timer(entry) {
                            return;
                        }
                        let mut info = [0; INFO_SIZE];
                        core::ptr::copy_nonoverlapping(
                            (&raw const (*entry).info).cast(),
                            info.as_mut_ptr(),
                            INFO_SIZE,
                        );
                        let waiting = Waiting {
                            signal,
                            shared,
                            info: Some(info),
                        };
                        if found.push_within_capacity(waiting).is_ok() {
                            (*entry).flags |= CAPTURED;
                        } else {
                            fits = false;
                        }
                    }
                });
                // SAFETY: The lock is held.
                let bare = unsafe { (*lock.queue(shared)).signal.sig[0] as u64 }
                    & !with_info
                    & !bit(SIGKILL);
                for signal in (1..=SIGNALS).filter(|&signal| bare & bit(signal) != 0) {
                    fits &= found
                        .push_within_capacity(Waiting {
                            signal,
                            shared,
                            info: None,
                        })
                        .is_ok();
                }
            }
            if fits {
                return Ok(found);
            }
            drop(lock);
            found.clear();
        }
    }

    /// Takes the marks of [`capture_signals`](Self::capture_signals) off again.
    pub fn release_signals(&self) {
        let lock = SigLock::new(self);
        for shared in [false, true] {
            // SAFETY: The entry is in a queue whose lock is held.
            lock.each(shared, |entry| unsafe { (*entry).flags &= !CAPTURED });
        }
    }

    /// Takes everything out of the queues that is in the image, and what the process's clocks have sent since: they send it again where
    /// it is now. What others have sent since stays, for [`take_signal`](Self::take_signal). The clocks must be stopped already.
    ///
    /// From here on signals are queued for this task and wake it, but none but SIGKILL has an effect of its own.
    pub fn park_signals(&self) {
        let lock = SigLock::new(self);
        let mut kept = [bindings::list_head::default(); 2];
        let heads = [&raw mut kept[0], &raw mut kept[1]];
        // SAFETY: The current task, under its lock; with one thread nobody else uses the handlers. The heads are of local lists, which
        // entries enter from the queues and all leave again under the lock. `dequeue_signal` is called as it wants to be; it would let
        // go of the lock only for a POSIX timer's entry, and those are kept: they are dropped when they are taken, with the timer gone.
        unsafe {
            let task = self.raw();
            for (signal, action) in (1..).zip(&mut (*(*task).sighand).action) {
                // These two the kernel handles by itself, if they have their default action.
                if matches!(signal, SIGKILL | SIGSTOP) {
                    continue;
                }
                action.sa = bindings::sigaction {
                    sa_handler: core::mem::transmute::<usize, bindings::__sighandler_t>(
                        PARKED_HANDLER,
                    ),
                    ..Default::default()
                };
            }
            (*task).set_restore_sigmask(0);
            (*task).blocked.sig[0] = 0;

            let mut stay = [0u64; 2];
            for (shared, (head, stay)) in [false, true]
                .into_iter()
                .zip(heads.into_iter().zip(&mut stay))
            {
                (*head).next = head;
                (*head).prev = head;
                lock.each(shared, |entry| {
                    let info = &(*entry).info.__bindgen_anon_1;
                    let goes =
                        (*entry).flags & CAPTURED != 0 || of_clock(info.si_signo, info.si_code);
                    if !goes || of_timer(entry) {
                        *stay |= bit(info.si_signo as u32);
                        move_tail(&raw mut (*entry).list, head);
                    }
                });
            }
            let mut hidden = bindings::sigset_t {
                sig: [bit(SIGKILL) as usize],
            };
            let mut info = bindings::kernel_siginfo::default();
            let mut kind = bindings::pid_type_PIDTYPE_PID;
            while bindings::dequeue_signal(&raw mut hidden, &raw mut info, &raw mut kind) != 0 {}
            for (shared, (head, stay)) in [false, true].into_iter().zip(heads.into_iter().zip(stay))
            {
                let queue = lock.queue(shared);
                (*queue).signal.sig[0] |= stay as usize;
                let mut at = (*head).next;
                while at != head {
                    move_tail(at, &raw mut (*queue).list);
                    at = (*head).next;
                }
            }
            bindings::recalc_sigpending();
        }
    }

    /// Whether a process sent it SIGKILL, and not the kernel.
    pub fn killed_by_a_process(&self) -> bool {
        let lock = SigLock::new(self);
        let mut found = false;
        for shared in [false, true] {
            lock.each(shared, |entry| {
                // SAFETY: The entry is in a queue whose lock is held.
                let info = unsafe { &(*entry).info.__bindgen_anon_1 };
                found |= info.si_signo as u32 == SIGKILL && info.si_code <= 0;
            });
        }
        found
    }

    /// Takes the next signal that waits and is not blocked, other than SIGKILL, out of the queue.
    pub fn take_signal(&self) -> Option<Waiting> {
        let mut info = bindings::kernel_siginfo::default();
        let mut kind = bindings::pid_type_PIDTYPE_PID;
        let signal = {
            let _lock = SigLock::new(self);
            // SAFETY: The lock is held; a task has a mask.
            unsafe {
                let mut hidden = bindings::sigset_t {
                    sig: [(*self.raw()).blocked.sig[0] | bit(SIGKILL) as usize],
                };
                bindings::dequeue_signal(&raw mut hidden, &raw mut info, &raw mut kind)
            }
        };
        if signal <= 0 {
            return None;
        }
        let mut bytes = [0; INFO_SIZE];
        // SAFETY: `kernel_siginfo` is plain bytes of this size.
        unsafe {
            core::ptr::copy_nonoverlapping((&raw const info).cast(), bytes.as_mut_ptr(), INFO_SIZE)
        };
        Some(Waiting {
            signal: signal as u32,
            shared: kind != bindings::pid_type_PIDTYPE_PID,
            info: Some(bytes),
        })
    }

    /// Queues a signal of an image for this process, as if it had been sent, and marks it, so that
    /// [`park_signals`](Self::park_signals) drops it if the process is not rebuilt after all. To be called with all signals blocked.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is no signal or the information is about another, `EAGAIN` if the user has too many waiting.
    pub fn queue_signal(&self, waiting: &Waiting) -> Result {
        if waiting.info.is_some() {
            Subject::current().send_info(waiting)?;
            // The last that is equal and has no mark is the one.
            let lock = SigLock::new(self);
            let mut found: *mut bindings::sigqueue = core::ptr::null_mut();
            lock.each(waiting.shared, |entry| {
                // SAFETY: The entry is in a queue whose lock is held; `kernel_siginfo` is plain bytes.
                let info: &[u8; INFO_SIZE] = unsafe { &*(&raw const (*entry).info).cast() };
                // SAFETY: As above.
                let flags = unsafe { (*entry).flags };
                if waiting.info.as_ref() == Some(info) && flags & (CAPTURED | PREALLOCATED) == 0 {
                    found = entry;
                }
            });
            // SAFETY: The lock is still held.
            if let Some(entry) = unsafe { found.as_mut() } {
                entry.flags |= CAPTURED;
            }
            return Ok(());
        }
        if !(1..=SIGNALS).contains(&waiting.signal) {
            return Err(EINVAL);
        }
        let lock = SigLock::new(self);
        // SAFETY: The lock is held.
        unsafe { (*lock.queue(waiting.shared)).signal.sig[0] |= bit(waiting.signal) as usize };
        Ok(())
    }
}

impl Waiting {
    /// Whether the kernel has sent it, and no process.
    pub fn is_from_kernel(&self) -> bool {
        let code = core::mem::offset_of!(bindings::kernel_siginfo, __bindgen_anon_1.si_code);
        self.info
            .and_then(|info| info.get(code..)?.first_chunk().copied())
            .is_none_or(|code| i32::from_ne_bytes(code) > 0)
    }

    /// Information about a signal of which no more is known than that the kernel sent it.
    pub fn plain_info(signal: u32) -> [u8; INFO_SIZE] {
        let mut info = [0; INFO_SIZE];
        for (place, value) in [(0, signal), (8, SI_KERNEL as u32)] {
            if let Some(field) = info.get_mut(place..place + 4) {
                field.copy_from_slice(&value.to_le_bytes());
            }
        }
        info
    }
}

impl Subject {
    /// Whether a signal has its default action. A process that has ended has no other.
    pub fn default_action_of(&self, signal: u32) -> bool {
        // SAFETY: The task is referenced; its `sighand` is freed under RCU and may be gone. The handler is one word.
        unsafe {
            bindings::rcu_read_lock();
            let sighand = (&raw const (*self.raw()).sighand).read_volatile();
            let default = sighand.is_null()
                || (*sighand)
                    .action
                    .get(signal.wrapping_sub(1) as usize)
                    .is_none_or(|action| action.sa.sa_handler.is_none());
            bindings::rcu_read_unlock();
            default
        }
    }

    /// How many signals wait for it.
    pub fn waiting_signals(&self) -> usize {
        // SAFETY: A reference to the task is held.
        unsafe { banyan_bindings::banyan_count_signals(self.raw()) as usize }
    }

    /// Sends it a signal with its information, from whomever that names.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is no signal or the information is about another, `EAGAIN` if its user has too many waiting, `ESRCH` if it ended.
    pub fn send_info(&self, waiting: &Waiting) -> Result {
        let mut info = bindings::kernel_siginfo::default();
        if !(1..=SIGNALS).contains(&waiting.signal) {
            return Err(EINVAL);
        }
        match waiting.info {
            // SAFETY: `kernel_siginfo` is plain bytes of this size.
            Some(bytes) => unsafe {
                core::ptr::copy_nonoverlapping(bytes.as_ptr(), (&raw mut info).cast(), INFO_SIZE);
            },
            None => info.__bindgen_anon_1.si_signo = waiting.signal as i32,
        }
        if info.__bindgen_anon_1.si_signo != waiting.signal as i32 {
            return Err(EINVAL);
        }
        let kind = if waiting.shared {
            bindings::pid_type_PIDTYPE_TGID
        } else {
            bindings::pid_type_PIDTYPE_PID
        };
        // SAFETY: A reference to the task is held; the information is a local.
        to_result(unsafe {
            banyan_bindings::banyan_ksym_do_send_sig_info(
                waiting.signal as i32,
                &raw mut info,
                self.raw(),
                kind,
            )
        })
    }
}

/// Moves an entry of one list to the end of another.
///
/// # Safety
///
/// Both lists are valid and protected by the caller.
unsafe fn move_tail(entry: *mut bindings::list_head, head: *mut bindings::list_head) {
    // SAFETY: By the safety requirements.
    unsafe {
        (*(*entry).prev).next = (*entry).next;
        (*(*entry).next).prev = (*entry).prev;
        (*entry).prev = (*head).prev;
        (*entry).next = head;
        (*(*head).prev).next = entry;
        (*head).prev = entry;
    }
}
