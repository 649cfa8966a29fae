// SPDX-License-Identifier: GPL-2.0

//! The clocks of a process against those of the node that it is on.
//!
//! In a time namespace a process's own CLOCK_MONOTONIC and CLOCK_BOOTTIME are the node's plus an offset. The kernel keeps deadlines on
//! the node's clocks; what travels is on the process's own.

use crate::own::Own;

/// Which clock a time is on, as far as time namespaces care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeline {
    /// CLOCK_MONOTONIC.
    Monotonic,
    /// CLOCK_BOOTTIME.
    Boottime,
    /// One that time namespaces leave alone: real time, CPU time.
    Unshifted,
}

const CLOCK_REALTIME: i32 = 0;
const CLOCK_MONOTONIC: i32 = 1;
const CLOCK_PROCESS_CPUTIME_ID: i32 = 2;
const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
const CLOCK_MONOTONIC_RAW: i32 = 4;
const CLOCK_MONOTONIC_COARSE: i32 = 6;
const CLOCK_BOOTTIME: i32 = 7;
const CLOCK_BOOTTIME_ALARM: i32 = 9;
const CLOCK_TAI: i32 = 11;

impl Timeline {
    /// That of a clock id.
    pub fn of_clock(clock: i32) -> Self {
        match clock {
            CLOCK_MONOTONIC | CLOCK_MONOTONIC_RAW | CLOCK_MONOTONIC_COARSE => Self::Monotonic,
            CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM => Self::Boottime,
            _ => Self::Unshifted,
        }
    }

    /// Whether a plain sleep can be on this clock.
    pub fn is_sleep_clock(clock: i32) -> bool {
        matches!(
            clock,
            CLOCK_REALTIME | CLOCK_MONOTONIC | CLOCK_BOOTTIME | CLOCK_TAI
        )
    }

    /// Whether it counts the CPU time of whoever asks, rather than that of a process that it names.
    pub fn is_own_cpu_clock(clock: i32) -> bool {
        // Other CPU clocks have the complement of the pid above the three low bits, all ones for oneself; the low bits say which time
        // of thread or process, and 3 or 7 stand for descriptors.
        matches!(clock, CLOCK_PROCESS_CPUTIME_ID | CLOCK_THREAD_CPUTIME_ID)
            || (clock >> 3 == -1 && clock & 3 != 3)
    }
}

impl Own {
    /// What a time on the node's clock is on the process's own, in nanoseconds.
    pub fn to_virtual(&self, line: Timeline, time: i64) -> i64 {
        time.wrapping_add(self.time_offset(line))
    }

    /// What a time on the process's own clock is on the node's, in nanoseconds.
    pub fn to_raw(&self, line: Timeline, time: i64) -> i64 {
        time.wrapping_sub(self.time_offset(line))
    }

    /// How far the process's own clock is ahead of the node's, in nanoseconds.
    pub fn time_offset(&self, line: Timeline) -> i64 {
        // SAFETY: The current task; both only read its time namespace.
        unsafe {
            match line {
                Timeline::Monotonic => banyan_bindings::banyan_monotonic_offset(),
                Timeline::Boottime => banyan_bindings::banyan_boottime_offset(),
                Timeline::Unshifted => 0,
            }
        }
    }
}
