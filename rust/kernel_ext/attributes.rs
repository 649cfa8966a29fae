// SPDX-License-Identifier: GPL-2.0

//! Small settings of the current process: name, limits, scheduling, what its C library registered.
//!
//! C header: [`include/linux/sched.h`](srctree/include/linux/sched.h). What a system call sets is set with
//! [`Syscalls`](crate::syscalls::Syscalls); here is what has to be read, and what no call sets.

use crate::own::Own;
use kernel::{
    bindings,
    error::to_result,
    ffi,
    prelude::*, //
};

/// Number of resource limits.
pub const LIMITS: usize = 16;

/// Bytes of a process's name, the NUL included.
pub const NAME_SIZE: usize = 16;

/// What the process is like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity {
    /// Its name, padded with NULs.
    pub comm: [u8; NAME_SIZE],
    /// `personality`.
    pub personality: u32,
    /// `umask`.
    pub umask: u32,
    /// `TASK_DUMPABLE_*`.
    pub dumpable: u32,
    /// Signal on its parent's death.
    pub parent_death_signal: u32,
    /// Whether orphaned descendants become its children.
    pub subreaper: bool,
    /// Whether it chooses the ids of its POSIX timers.
    pub timer_ids: bool,
    /// Which transparent huge pages it gets: 0 all, 1 none, 2 those that it asks for.
    pub huge_pages: u32,
    /// `PF_MCE_PROCESS` and `PF_MCE_EARLY` as `prctl(PR_MCE_KILL_GET)` tells them: 0 late, 1 early, 2 default.
    pub mce_kill: u32,
}

/// How it is scheduled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scheduling {
    /// `SCHED_*`.
    pub policy: u32,
    /// Whether children start with the default policy.
    pub reset_on_fork: bool,
    /// Nice value.
    pub nice: i32,
    /// Real-time priority.
    pub rt_priority: u32,
    /// Time slice asked for, nanoseconds; 0 = the default.
    pub slice: u64,
    /// Slack of timers, nanoseconds.
    pub timer_slack: u64,
    /// Slack that it can go back to, nanoseconds.
    pub default_timer_slack: u64,
    /// Priority for input and output, as `ioprio_get` gives it; 0 = none set.
    pub io_priority: u32,
}

/// What the C library registered for the thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Userland {
    /// List of robust futexes; 0 = none.
    pub robust_list: u64,
    /// Word cleared at the end of the thread; 0 = none.
    pub clear_child_tid: u64,
    /// Area for restartable sequences; 0 = none.
    pub rseq: u64,
    /// Its size.
    pub rseq_size: u32,
    /// The word before every abort handler.
    pub rseq_signature: u32,
}

/// Why a restartable sequence cannot be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSequence;

impl Own {
    /// What it is like.
    pub fn identity(&self) -> Identity {
        // SAFETY: The current task and its own fields.
        unsafe {
            let raw = self.raw();
            let task = &*raw;
            let signal = &*task.signal;
            let mut comm = [0; NAME_SIZE];
            for (to, &from) in comm.iter_mut().zip(&task.comm) {
                *to = from;
            }
            let mce_kill = match (
                task.flags & bindings::PF_MCE_PROCESS != 0,
                task.flags & bindings::PF_MCE_EARLY != 0,
            ) {
                (false, _) => 2,
                (true, early) => early.into(),
            };
            Identity {
                comm,
                personality: task.personality,
                umask: banyan_bindings::banyan_umask(),
                dumpable: banyan_bindings::banyan_dumpable(raw),
                parent_death_signal: task.pdeath_signal as u32,
                subreaper: signal.is_child_subreaper,
                timer_ids: signal.timer_create_restore_ids() != 0,
                huge_pages: banyan_bindings::banyan_huge_pages(),
                mce_kill,
            }
        }
    }

    /// Its process group and its session.
    pub fn process_groups(&self) -> (i32, i32) {
        let (mut group, mut session) = (0, 0);
        // SAFETY: The places are valid.
        unsafe { banyan_bindings::banyan_read_groups(&mut group, &mut session) };
        (group, session)
    }

    /// Makes it a member of the process group and of the session with these numbers, which need have no other member here; 0 leaves
    /// what it is. What these numbers mean here is for the caller to know.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if a number is just being given up, `ENOMEM`, `EPERM`, `ENOSYS` if the kernel lacks a function for it.
    pub fn join_process_groups(&self, group: i32, session: i32) -> Result {
        // SAFETY: The current task has one thread.
        to_result(unsafe { banyan_bindings::banyan_join_groups(group, session) })
    }

    /// Sets the name.
    pub fn set_name(&self, comm: &[u8; NAME_SIZE]) {
        let mut name = *comm;
        if let Some(last) = name.last_mut() {
            *last = 0;
        }
        // SAFETY: The current task; the name ends with a NUL.
        unsafe {
            banyan_bindings::banyan_ksym___set_task_comm(self.raw(), name.as_ptr().cast(), false)
        };
    }

    /// Sets who may trace it and whether it leaves a core dump.
    pub fn set_dumpable(&self, dumpable: u32) {
        if dumpable <= 2 {
            // SAFETY: The current task has an `mm`, as the function wants it.
            unsafe { banyan_bindings::banyan_ksym_task_exec_state_set_dumpable(dumpable) };
        }
    }

    /// Sets the signal that it gets when its parent dies; 0 = none.
    pub fn set_parent_death_signal(&self, signal: u32) {
        if signal <= crate::signals::SIGNALS {
            // SAFETY: The current task's own field.
            unsafe { (*self.raw()).pdeath_signal = signal as ffi::c_int };
        }
    }

    /// Sets whether orphaned descendants become its children.
    pub fn set_subreaper(&self, subreaper: bool) {
        // SAFETY: The current task; with one thread and no children nobody else looks at it.
        unsafe { (*(*self.raw()).signal).is_child_subreaper = subreaper };
    }

    /// The resource limits, soft and hard, by `RLIMIT_*`.
    pub fn limits(&self) -> [(u64, u64); LIMITS] {
        let mut limits = [(0, 0); LIMITS];
        // SAFETY: The current task. Single words are read, as the kernel itself does.
        unsafe {
            for (to, from) in limits.iter_mut().zip(&(*(*self.raw()).signal).rlim) {
                *to = (from.rlim_cur as u64, from.rlim_max as u64);
            }
        }
        limits
    }

    /// Sets the resource limits, without asking whether it may raise them.
    pub fn set_limits(&self, limits: &[(u64, u64); LIMITS]) {
        let mut pairs = [0u64; 2 * LIMITS];
        for (pair, &(soft, hard)) in pairs.chunks_exact_mut(2).zip(limits) {
            if let [to_soft, to_hard] = pair {
                *to_soft = soft.min(hard);
                *to_hard = hard;
            }
        }
        // SAFETY: The array has the length that the function wants.
        unsafe { banyan_bindings::banyan_set_limits(pairs.as_ptr()) };
    }

    /// Readiness to be killed when memory is short, and the least that it may set.
    pub fn oom_score(&self) -> (i32, i32) {
        // SAFETY: The current task.
        unsafe {
            let signal = &*(*self.raw()).signal;
            (signal.oom_score_adj.into(), signal.oom_score_adj_min.into())
        }
    }

    /// Sets both, within -1000 and 1000.
    pub fn set_oom_score(&self, score: i32, least: i32) {
        let clamp = |value: i32| value.clamp(-1000, 1000) as ffi::c_short;
        // SAFETY: The current task. Single words; the kernel reads them without a lock.
        unsafe {
            let signal = (*self.raw()).signal;
            (*signal).oom_score_adj = clamp(score);
            (*signal).oom_score_adj_min = clamp(least);
        }
    }

    /// How it is scheduled.
    pub fn scheduling(&self) -> Scheduling {
        // SAFETY: The current task and its own fields; its `io_context` is made and dropped only by itself.
        unsafe {
            let task = &*self.raw();
            Scheduling {
                policy: task.policy,
                reset_on_fork: task.sched_reset_on_fork() != 0,
                // Nice 0 is static priority 120.
                nice: task.static_prio.saturating_sub(120),
                rt_priority: task.rt_priority,
                slice: if task.se.custom_slice != 0 {
                    task.se.slice
                } else {
                    0
                },
                timer_slack: task.timer_slack_ns,
                default_timer_slack: task.default_timer_slack_ns,
                io_priority: task.io_context.as_ref().map_or(0, |io| io.ioprio.into()),
            }
        }
    }

    /// Sets policy, priorities and slack, without asking whether it may have them. The priority for input and output is set by
    /// [`Syscalls::set_io_priority`](crate::syscalls::Syscalls::set_io_priority).
    ///
    /// # Errors
    ///
    /// `EINVAL` for a policy or a priority that is none.
    pub fn set_scheduling(&self, new: &Scheduling) -> Result {
        if !(-20..=19).contains(&new.nice) {
            return Err(EINVAL);
        }
        // SAFETY: The current task; the values are checked by the function.
        to_result(unsafe {
            banyan_bindings::banyan_set_policy(
                new.policy,
                new.reset_on_fork,
                new.nice,
                new.slice,
                new.rt_priority,
            )
        })?;
        // SAFETY: The current task's own fields.
        unsafe {
            (*self.raw()).timer_slack_ns = new.timer_slack;
            (*self.raw()).default_timer_slack_ns = new.default_timer_slack;
        }
        Ok(())
    }

    /// The CPUs that it asked for, 32 to a word; `None` if it never asked.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn requested_cpus(&self) -> Result<Option<KVec<u32>>> {
        // SAFETY: No preconditions.
        let count = unsafe { banyan_bindings::banyan_cpu_words() };
        let mut words = KVec::from_elem(0u32, count as usize, GFP_KERNEL)?;
        // SAFETY: The current task; `words` has room for `count` words.
        let used = unsafe {
            banyan_bindings::banyan_requested_cpus(self.raw(), words.as_mut_ptr(), count)
        };
        to_result(used.min(0))?;
        Ok((used > 0).then_some(words))
    }

    /// What the C library registered.
    pub fn userland(&self) -> Userland {
        // SAFETY: The current task and its own fields.
        unsafe {
            let task = &*self.raw();
            Userland {
                robust_list: task.futex.robust_list as u64,
                clear_child_tid: task.clear_child_tid as u64,
                rseq: task.rseq.usrptr as u64,
                rseq_size: task.rseq.len,
                rseq_signature: task.rseq.sig,
            }
        }
    }

    /// Forgets what a C library registered, as `execve` does.
    pub fn forget_userland(&self) {
        // SAFETY: The current task and its own fields.
        unsafe {
            banyan_bindings::banyan_rseq_forget();
            let task = self.raw();
            (*task).futex.robust_list = core::ptr::null_mut();
            (*task).clear_child_tid = core::ptr::null_mut();
        }
    }

    /// Forgets the system call that it was in, and the registers with which it would go on, which it does not need any more. From here
    /// on the kernel takes it for a 64-bit program in a system call, whatever it was interrupted in.
    pub fn forget_system_call(&self) {
        // SAFETY: The current task is a user task.
        unsafe { banyan_bindings::banyan_forget_system_call() };
    }

    /// Makes a wait for signals without a timeout, which the kernel has just ended with `EINTR`, one that is restarted unless a handler
    /// runs. To be called before registers are looked at.
    pub fn settle_wait(&self) {
        // SAFETY: The current task is a user task at the border to user mode.
        unsafe { banyan_bindings::banyan_settle_wait() };
    }

    /// Does to a restartable sequence that the process is in what a preemption does: it will go on in the abort handler. To be called
    /// before registers and memory are looked at.
    ///
    /// # Errors
    ///
    /// [`BadSequence`] if the kernel would end the process for it, or if it made a system call in there.
    pub fn leave_sequence(&self) -> Result<(), BadSequence> {
        // SAFETY: The current task is a user task at the border to user mode, or its registers are saved all the same.
        match unsafe { banyan_bindings::banyan_rseq_settle() } {
            0 => Ok(()),
            _ => Err(BadSequence),
        }
    }
}

/// Whether any of these CPUs, 32 to a word, is here and in use.
pub fn any_cpu_here(words: &[u32]) -> bool {
    // SAFETY: The length is that of the slice.
    unsafe {
        banyan_bindings::banyan_any_cpu_here(
            words.as_ptr(),
            words.len().try_into().unwrap_or(u32::MAX),
        )
    }
}

/// Whether this kernel has room in its masks for all of these CPUs, 32 to a word, be they here or not.
pub fn all_countable(words: &[u32]) -> bool {
    // SAFETY: No preconditions.
    let count = unsafe { banyan_bindings::banyan_cpu_words() } as usize;
    words.iter().skip(count).all(|&word| word == 0)
}
