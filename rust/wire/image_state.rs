// SPDX-License-Identifier: GPL-2.0

//! The records of an image that hold a process's signals, timers, credentials and attributes.
//!
//! One record of each type per process, but for those that say "one each". Times are nanoseconds of the process's own clocks. Masks of
//! signals have bit `n - 1` for signal `n`. All addresses are addresses in the process.

use crate::codec::{Array, Result, Wire, WireError, Writer};
use crate::wire_struct;

/// Record: [`SignalActions`].
pub const SIGNAL_ACTIONS: u16 = 0x0201;
/// Record: [`SignalState`].
pub const SIGNAL_STATE: u16 = 0x0202;
/// Record, one each, in the order of the queue: [`PendingSignal`].
pub const PENDING_SIGNAL: u16 = 0x0203;
/// Record: [`Restart`]; absent if no system call waits to be restarted.
pub const RESTART: u16 = 0x0204;

/// Record: [`IntervalTimers`].
pub const INTERVAL_TIMERS: u16 = 0x0211;
/// Record, one each: [`PosixTimer`].
pub const POSIX_TIMER: u16 = 0x0212;
/// Record: [`Usage`].
pub const USAGE: u16 = 0x0213;

/// Record: [`Credentials`].
pub const CREDENTIALS: u16 = 0x0221;
/// Record, as many as it takes: supplementary groups, `u32` each, see [`encode_words`].
pub const GROUPS: u16 = 0x0222;

/// Record, empty: a Landlock domain confines the process. It stays at its home, and what it judges is done there.
pub const LANDLOCK: u16 = 0x0223;

/// Record: [`Identity`].
pub const IDENTITY: u16 = 0x0231;
/// Record: [`Limits`].
pub const LIMITS: u16 = 0x0232;
/// Record: [`Scheduling`].
pub const SCHEDULING: u16 = 0x0233;
/// Record: the CPUs that the process asked for, as `u32` words of 32 CPUs each, see [`encode_words`]; absent if it never asked.
pub const AFFINITY: u16 = 0x0234;
/// Record: [`Userland`].
pub const USERLAND: u16 = 0x0235;

/// Version of all of these.
pub const VERSION: u16 = 1;

/// Number of signals.
pub const SIGNALS: usize = 64;
/// Bytes of the kernel's `kernel_siginfo`.
pub const SIGINFO: usize = 48;
/// Most pending signals that are carried.
pub const MAX_PENDING: usize = 1024;
/// Most POSIX timers that are carried.
pub const MAX_POSIX_TIMERS: usize = 1024;
/// Most supplementary groups (the kernel's `NGROUPS_MAX`).
pub const MAX_GROUPS: usize = 65536;
/// Most words in a [`GROUPS`] or [`AFFINITY`] record.
pub const MAX_WORDS: usize = 1024;
/// Number of resource limits.
pub const LIMIT_COUNT: usize = 16;

wire_struct! {
    /// What is done about one signal.
    #[derive(Default)]
    pub struct SignalAction {
        /// Address of the handler; 0 = default, 1 = ignore.
        pub handler: u64,
        /// `SA_*`.
        pub flags: u64,
        /// Address of the code that returns from the handler.
        pub restorer: u64,
        /// Signals blocked while it runs.
        pub mask: u64,
    }

    /// What is done about every signal, from signal 1 on.
    pub struct SignalActions {
        /// Entry `n - 1` is for signal `n`.
        pub actions: [SignalAction; SIGNALS],
    }

    /// Masks and the alternate stack.
    pub struct SignalState {
        /// Signals blocked now.
        pub blocked: u64,
        /// The mask to return to, if [`restore_saved`](Self::restore_saved).
        pub saved: u64,
        /// 1 if a system call (`sigsuspend`, `ppoll` ...) replaced the mask for its own duration; else 0.
        pub restore_saved: u32,
        /// `SS_*` of the alternate stack.
        pub stack_flags: u32,
        /// Lowest address of the alternate stack.
        pub stack: u64,
        /// Its size; 0 = none.
        pub stack_size: u64,
    }

    /// One signal that waits to be delivered.
    pub struct PendingSignal {
        /// Its number, 1 to [`SIGNALS`].
        pub signal: u32,
        /// 1 = for the process, 0 = for its one thread.
        pub shared: u16,
        /// 1 if `info` is known; 0 if the kernel had no memory for it.
        pub has_info: u16,
        /// The kernel's `kernel_siginfo`.
        pub info: [u8; SIGINFO],
    }

    /// A system call that `restart_syscall` goes on with, and what it needs for that.
    pub struct Restart {
        /// Which.
        pub what: RestartKind,
        /// Futex: `FUTEX_*` flags as the kernel keeps them. Sleep: clock. Poll: 1 if there is a deadline.
        pub flags: u32,
        /// Futex: the value waited on. Sleep: how the rest is to be reported. Poll: number of descriptors.
        pub value: u32,
        /// Futex: bit set.
        pub bits: u32,
        /// Address of the futex, of where the rest of a sleep is put, or of the descriptors.
        pub address: u64,
        /// Futex: address of the second futex.
        pub address2: u64,
        /// The deadline on the clock that `what` and `flags` name.
        pub deadline: i64,
    }

    /// One interval timer.
    #[derive(Default)]
    pub struct IntervalTimer {
        /// When it expires: CLOCK_MONOTONIC for the real one, CPU time used by the process for the others; 0 = it is not running.
        pub expires: i64,
        /// Its interval; 0 = once.
        pub interval: i64,
        /// Of the real one: 1 if it expired then and goes on when its signal is delivered; else 0.
        pub waits: u64,
    }

    /// `ITIMER_REAL`, `ITIMER_VIRTUAL`, `ITIMER_PROF`, in this order.
    pub struct IntervalTimers {
        /// The three.
        pub timers: [IntervalTimer; 3],
    }

    /// A timer made by `timer_create`.
    pub struct PosixTimer {
        /// Its id.
        pub id: i32,
        /// Its clock.
        pub clock: i32,
        /// `SIGEV_*`.
        pub notify: u32,
        /// The signal that it sends.
        pub signal: u32,
        /// The value that the signal brings.
        pub value: u64,
        /// When it expires on its clock or, if its signal waits, when it did; 0 = it is not armed.
        pub expires: i64,
        /// Its interval; 0 = once.
        pub interval: i64,
        /// Times that it had expired, but for the first, when its last signal was delivered.
        pub overrun_last: i64,
        /// 1 if its signal waits to be delivered; else 0.
        pub pending: u32,
        /// 1 if its clock is CLOCK_REALTIME but `expires` on CLOCK_MONOTONIC, since it was set by a duration; else 0.
        pub relative: u32,
    }

    /// What the process has used so far. Of pairs, the first is for its one thread and the second for threads that ended.
    #[derive(Default)]
    pub struct Usage {
        /// When it began: CLOCK_MONOTONIC.
        pub start: i64,
        /// When it began: CLOCK_BOOTTIME.
        pub start_boottime: i64,
        /// CPU time in user mode.
        pub user: [u64; 2],
        /// CPU time in the kernel.
        pub system: [u64; 2],
        /// CPU time as the scheduler measures it.
        pub run: [u64; 2],
        /// User and system time last reported: of the thread, of the process.
        pub reported: [u64; 4],
        /// User and system time of children that ended.
        pub children: [u64; 2],
        /// Voluntary context switches.
        pub voluntary: [u64; 2],
        /// Involuntary context switches.
        pub involuntary: [u64; 2],
        /// Voluntary and involuntary context switches of children that ended.
        pub children_switches: [u64; 2],
        /// Page faults without input.
        pub minor_faults: [u64; 2],
        /// Page faults with input.
        pub major_faults: [u64; 2],
        /// Page faults without and with input of children that ended.
        pub children_faults: [u64; 2],
        /// Blocks read and written by threads that ended, the same by children.
        pub blocks: [u64; 4],
        /// Largest resident set of it and of its children that ended, pages.
        pub largest: [u64; 2],
        /// Characters read, written, calls of read, of write, bytes from storage, to storage, of which given up: of the thread, then of
        /// threads that ended.
        pub io: [u64; 14],
    }

    /// Who it is.
    pub struct Credentials {
        /// Real, effective, saved, file-system user id.
        pub uids: [u32; 4],
        /// Real, effective, saved, file-system group id.
        pub gids: [u32; 4],
        /// Inheritable, permitted, effective, bounding, ambient capabilities.
        pub capabilities: [u64; 5],
        /// `SECBIT_*`.
        pub securebits: u32,
        /// 1 if `no_new_privs` is set; else 0.
        pub no_new_privs: u32,
        /// Number of supplementary groups, in the [`GROUPS`] records that follow.
        pub groups: u32,
        /// User id of the login that it descends from; all ones = none.
        pub login_uid: u32,
        /// Number of that login's session; all ones = none.
        pub login_session: u32,
        /// Zero.
        pub _pad: u32,
    }

    /// Small settings of the process.
    pub struct Identity {
        /// Its name, padded with NULs.
        pub comm: [u8; 16],
        /// `personality`.
        pub personality: u32,
        /// `umask`.
        pub umask: u32,
        /// 0 = leaves no core dump and may not be traced, 1 = does and may, 2 = core dump for root alone.
        pub dumpable: u32,
        /// [`identity`] flags.
        pub flags: u32,
        /// Signal on its parent's death; 0 = none or kept at home.
        pub parent_death_signal: u32,
        /// `MCE` kill policy: 0 late, 1 early, 2 default.
        pub mce_kill: u32,
        /// Its process group.
        pub group: i32,
        /// Its session.
        pub session: i32,
    }

    /// One resource limit.
    #[derive(Default)]
    pub struct Limit {
        /// In force.
        pub soft: u64,
        /// Up to which it may be raised.
        pub hard: u64,
    }

    /// What it may use.
    pub struct Limits {
        /// By `RLIMIT_*`.
        pub limits: [Limit; LIMIT_COUNT],
        /// Readiness to be killed when memory is short.
        pub oom_score_adj: i32,
        /// The least that it may set this to.
        pub oom_score_adj_min: i32,
    }

    /// How it is scheduled.
    pub struct Scheduling {
        /// `SCHED_*`.
        pub policy: u32,
        /// 1 if children start with the default policy; else 0.
        pub reset_on_fork: u32,
        /// Nice value, -20 to 19.
        pub nice: i32,
        /// Real-time priority, 0 to 99.
        pub rt_priority: u32,
        /// Time slice asked for; 0 = the default.
        pub slice: u64,
        /// Slack of its timers.
        pub timer_slack: u64,
        /// Slack that it can go back to.
        pub default_timer_slack: u64,
        /// Priority for input and output, as `ioprio_get` gives it.
        pub io_priority: u32,
        /// Zero.
        pub _pad: u32,
    }

    /// What the C library has agreed with the kernel for its one thread.
    pub struct Userland {
        /// Address of the list of robust futexes; 0 = none.
        pub robust_list: u64,
        /// Address of the word cleared at its end; 0 = none.
        pub clear_child_tid: u64,
        /// Address of the area for restartable sequences; 0 = none.
        pub rseq: u64,
        /// Its size.
        pub rseq_size: u32,
        /// The word before every abort handler.
        pub rseq_signature: u32,
    }
}

crate::wire_enum! {
    /// Which system call is restarted.
    pub enum RestartKind: u32 {
        Sleep = 1, "nanosleep, clock_nanosleep";
        Poll = 2, "poll";
        Futex = 3, "futex wait with a timeout";
        CpuSleep = 4, "clock_nanosleep on a CPU clock";
        AlarmSleep = 5, "clock_nanosleep on an alarm clock";
    }
}

/// Bits of [`Identity::flags`].
pub mod identity {
    /// Orphaned descendants become its children.
    pub const SUBREAPER: u32 = 1;
    /// Gets no huge pages.
    pub const NO_HUGE_PAGES: u32 = 2;
    /// Chooses the ids of its POSIX timers itself.
    pub const TIMER_IDS: u32 = 4;
    /// Gets huge pages only where it asks for them.
    pub const ADVISED_HUGE_PAGES: u32 = 8;
    /// All of them.
    pub const ALL: u32 = 15;
}

/// Writes at most [`MAX_WORDS`] words and returns the length in bytes.
///
/// # Errors
///
/// [`WireError::TooLong`], [`WireError::NoRoom`].
pub fn encode_words(words: &[u32], out: &mut [u8]) -> Result<usize> {
    if words.len() > MAX_WORDS {
        return Err(WireError::TooLong);
    }
    let mut w = Writer::new(out);
    words.iter().try_for_each(|word| w.put(word))?;
    Ok(w.len())
}

/// Reads what [`encode_words`] wrote.
///
/// # Errors
///
/// [`WireError::TooLong`], [`WireError::Trailing`].
pub fn decode_words(bytes: &[u8]) -> Result<Array<'_, u32>> {
    let words = Array::<u32>::whole(bytes)?;
    if words.len() > MAX_WORDS {
        return Err(WireError::TooLong);
    }
    Ok(words)
}

/// Reads [`SignalActions`] one by one: as one value they are too large for a kernel stack.
///
/// # Errors
///
/// [`WireError::Trailing`], [`WireError::Truncated`] if there are not [`SIGNALS`] of them.
pub fn decode_actions(bytes: &[u8]) -> Result<Array<'_, SignalAction>> {
    let actions = Array::<SignalAction>::whole(bytes)?;
    if actions.len() != SIGNALS {
        return Err(WireError::Truncated);
    }
    Ok(actions)
}

impl PendingSignal {
    /// Reads a signal and checks that it is one, and that its information is about itself.
    ///
    /// # Errors
    ///
    /// [`WireError::BadValue`], and those of decoding.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let signal = Self::decode(bytes)?;
        let mut info = crate::codec::Reader::new(&signal.info);
        let number: u32 = info.get()?;
        let known = signal.signal >= 1 && signal.signal as usize <= SIGNALS;
        if !known || signal.shared > 1 || signal.has_info > 1 {
            return Err(WireError::BadValue);
        }
        if signal.has_info == 1 && number != signal.signal {
            return Err(WireError::BadValue);
        }
        Ok(signal)
    }
}

const _: () = {
    assert!(SignalActions::SIZE == 2048 && SignalState::SIZE == 40 && PendingSignal::SIZE == 56);
    assert!(Restart::SIZE == 40 && IntervalTimers::SIZE == 72 && PosixTimer::SIZE == 56);
    assert!(Usage::SIZE == 368 && Credentials::SIZE == 96 && Identity::SIZE == 48);
    assert!(Limits::SIZE == 264 && Scheduling::SIZE == 48 && Userland::SIZE == 32);
};

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(signal: u32, number: u32) -> [u8; 56] {
        let mut info = [0; SIGINFO];
        info[..4].copy_from_slice(&number.to_le_bytes());
        let mut out = [0; 56];
        PendingSignal {
            signal,
            shared: 1,
            has_info: 1,
            info,
        }
        .encode(&mut out)
        .unwrap();
        out
    }

    #[test]
    fn a_pending_signal_is_about_itself() {
        assert_eq!(PendingSignal::parse(&pending(10, 10)).unwrap().signal, 10);
        for (signal, number) in [(0, 0), (65, 65), (10, 11), (u32::MAX, u32::MAX)] {
            assert_eq!(
                PendingSignal::parse(&pending(signal, number)),
                Err(WireError::BadValue)
            );
        }
        assert!(PendingSignal::parse(&[0; 55]).is_err());
    }

    #[test]
    fn words_go_there_and_back() {
        let words: Vec<u32> = (0..MAX_WORDS as u32).collect();
        let mut out = vec![0; MAX_WORDS * 4 + 4];
        let len = encode_words(&words, &mut out).unwrap();
        let back: Vec<u32> = decode_words(&out[..len])
            .unwrap()
            .map(|word| word.unwrap())
            .collect();
        assert_eq!(back, words);
        assert!(decode_words(&out).is_err());
        assert!(decode_words(&out[..3]).is_err());
        assert!(encode_words(&vec![0; MAX_WORDS + 1], &mut out).is_err());
    }

    #[test]
    fn actions_keep_their_places() {
        let mut actions = [SignalAction::default(); SIGNALS];
        actions[63].handler = 0xdead;
        let mut out = [0; 2048];
        SignalActions { actions }.encode(&mut out).unwrap();
        assert_eq!(SignalActions::decode(&out).unwrap().actions, actions);
        let one_by_one = decode_actions(&out).unwrap().map(|action| action.unwrap());
        assert!(one_by_one.eq(actions));
        assert!(decode_actions(&out[32..]).is_err());
    }
}
