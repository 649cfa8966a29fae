// SPDX-License-Identifier: GPL-2.0

//! Rate limits, for log lines that a peer can cause.

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// At most `burst` events in each `interval_ms`. Two threads may overshoot by one each when an interval begins: it is only a log.
pub struct RateLimit {
    interval_ms: u64,
    burst: u32,
    began_ms: Atomic<u64>,
    used: Atomic<u32>,
}

impl RateLimit {
    /// A limit of which nothing is used.
    pub const fn new(burst: u32, interval_ms: u64) -> Self {
        Self {
            interval_ms,
            burst,
            began_ms: Atomic::new(0),
            used: Atomic::new(0),
        }
    }

    /// Returns whether one more is within the limit.
    pub fn allows(&self) -> bool {
        let now = crate::clock::monotonic_ms();
        if now.wrapping_sub(self.began_ms.load(Relaxed)) >= self.interval_ms {
            self.began_ms.store(now, Relaxed);
            self.used.store(0, Relaxed);
        }
        self.used.fetch_add(1, Relaxed) < self.burst
    }
}
