// SPDX-License-Identifier: GPL-2.0

//! Timers of the current process, and what it has used of the machine.
//!
//! C headers: [`include/linux/posix-timers.h`](srctree/include/linux/posix-timers.h),
//! [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h). Times are nanoseconds on the node's clocks, without the offsets
//! of a time namespace, unless it says otherwise.

use crate::{
    own::Own,
    subject::Subject,
    syscalls::Syscalls, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

pub use banyan_bindings::{
    banyan_account as Account,
    banyan_interval_timer as IntervalTimer,
    banyan_timer as PosixTimer, //
};

const SECOND: i64 = 1_000_000_000;
const TIMER_ABSTIME: i32 = 1;

/// Number of interval timers: real, virtual, prof.
pub const INTERVAL_TIMERS: usize = 3;

fn timespec(nanoseconds: i64) -> bindings::timespec64 {
    let time = nanoseconds.max(0);
    bindings::timespec64 {
        tv_sec: time / SECOND,
        tv_nsec: (time % SECOND) as isize,
    }
}

fn itimerspec(value: i64, interval: i64) -> bindings::itimerspec64 {
    bindings::itimerspec64 {
        it_interval: timespec(interval),
        it_value: timespec(value),
    }
}

/// Whether timers on this clock can be carried by a process with this pid: clocks that count time, but for alarm clocks and those of
/// devices, and clocks of its own CPU time.
pub fn clock_is_plain(clock: i32, pid: i32) -> bool {
    // SAFETY: Only figures are passed.
    !unsafe { banyan_bindings::banyan_odd_clock(clock, pid) }
}

impl Subject {
    /// The id of a timer that is on a clock which is not plain, if there is one.
    pub fn odd_timer(&self) -> Option<i32> {
        let mut id = 0;
        // SAFETY: A reference to the task is held; the place is valid.
        unsafe { banyan_bindings::banyan_odd_timer(self.raw(), &mut id) }.then_some(id)
    }
}

impl Own {
    /// The timers made by `timer_create`.
    ///
    /// # Errors
    ///
    /// `E2BIG` if there are more than `max`, `ENOMEM`.
    pub fn posix_timers(&self, max: usize) -> Result<KVVec<PosixTimer>> {
        // SAFETY: With no room nothing is written.
        let count = unsafe { banyan_bindings::banyan_timers(core::ptr::null_mut(), 0) };
        if count as usize > max {
            return Err(E2BIG);
        }
        let mut timers = KVVec::with_capacity(count as usize, GFP_KERNEL)?;
        for _ in 0..count {
            timers.push(PosixTimer::default(), GFP_KERNEL)?;
        }
        // SAFETY: There is room for `count`; only the task itself, which runs this, makes and deletes timers.
        unsafe { banyan_bindings::banyan_timers(timers.as_mut_ptr(), count) };
        Ok(timers)
    }

    /// Deletes all timers made by `timer_create`. Their signals that wait are gone, too.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and `ENOSYS` without the kernel's dispatcher.
    pub fn delete_posix_timers(&self) -> Result {
        let calls = Syscalls::new(self, 0);
        for timer in self.posix_timers(usize::MAX)? {
            calls.delete_timer(timer.id)?;
        }
        Ok(())
    }

    /// Arms a timer: for a time on its clock, as the process sees it, or for a duration.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such timer, `ENOSYS` if the kernel lacks a function for it.
    pub fn arm_posix_timer(
        &self,
        id: i32,
        absolute: bool,
        value: i64,
        interval: i64,
        overrun_last: i64,
    ) -> Result {
        let mut spec = itimerspec(value.max(1), interval);
        let flags = if absolute { TIMER_ABSTIME } else { 0 };
        // SAFETY: The times are valid; the former value is not asked for.
        to_result(unsafe {
            banyan_bindings::banyan_ksym_do_timer_settime(
                id,
                flags,
                &raw mut spec,
                core::ptr::null_mut(),
            )
        })?;
        // SAFETY: Looks for the timer itself.
        unsafe { banyan_bindings::banyan_set_overrun(id, overrun_last) };
        Ok(())
    }

    /// `ITIMER_REAL`, `ITIMER_VIRTUAL`, `ITIMER_PROF`.
    pub fn interval_timers(&self) -> [IntervalTimer; INTERVAL_TIMERS] {
        let mut timers: [_; INTERVAL_TIMERS] = core::array::from_fn(|_| IntervalTimer::default());
        // SAFETY: The array has the length that the function wants.
        unsafe { banyan_bindings::banyan_interval_timers(timers.as_mut_ptr()) };
        timers
    }

    /// Starts an interval timer that expires in `value` from now, or stops it if that is 0.
    ///
    /// # Errors
    ///
    /// `ENOSYS` if the kernel lacks the function for it.
    pub fn set_interval_timer(&self, which: usize, value: i64, interval: i64) -> Result {
        let mut spec = itimerspec(value, interval);
        // SAFETY: The times are valid; the former value is not asked for. The kernel refuses a timer that does not exist.
        to_result(unsafe {
            banyan_bindings::banyan_ksym_do_setitimer(
                which as i32,
                &raw mut spec,
                core::ptr::null_mut(),
            )
        })
    }

    /// Puts `ITIMER_REAL` into the state in which it expired at `expires` and its signal waits to be delivered.
    pub fn set_waiting_timer(&self, expires: i64, interval: i64) {
        // SAFETY: Only figures are passed.
        unsafe { banyan_bindings::banyan_set_waiting_timer(expires, interval) };
    }

    /// What it has used.
    pub fn account(&self) -> Account {
        let mut account = Account::default();
        // SAFETY: The place is valid.
        unsafe { banyan_bindings::banyan_get_account(&mut account) };
        account
    }

    /// Sets what it has used.
    pub fn set_account(&self, account: &Account) {
        // SAFETY: Only figures are passed.
        unsafe { banyan_bindings::banyan_set_account(account) };
    }
}
