// SPDX-License-Identifier: GPL-2.0

//! The machine's clocks, in nanoseconds.
//!
//! C header: [`include/linux/timekeeping.h`](srctree/include/linux/timekeeping.h)

use kernel::bindings;

/// `CLOCK_MONOTONIC` of the machine (not of a time namespace).
pub fn monotonic_ns() -> u64 {
    // SAFETY: Reads a clock.
    unsafe { bindings::ktime_get() }.unsigned_abs()
}

/// The same in milliseconds.
pub fn monotonic_ms() -> u64 {
    monotonic_ns() / 1_000_000
}

/// `CLOCK_BOOTTIME` of the machine.
pub fn boottime_ns() -> u64 {
    // SAFETY: Reads a clock.
    unsafe { bindings::ktime_get_boottime() }.unsigned_abs()
}

/// `CLOCK_REALTIME`.
pub fn realtime_ns() -> u64 {
    // SAFETY: Reads a clock.
    unsafe { bindings::ktime_get_real() }.unsigned_abs()
}
