// SPDX-License-Identifier: GPL-2.0

//! Faults on purpose, for tests: one [`Point`] at every step of a move, on both sides.
//!
//! Set through debugfs, by root: `echo "POINT ACTION [TIMES]" > /sys/kernel/debug/banyan_migrate/faults`, with ACTION one of `fail` (the
//! step fails), `delay=MILLISECONDS`, `power-cut` (the machine resets at once, without a word to anybody), `off`; TIMES is how often it
//! happens, once if it is left out. Reading the file lists the points with what is set and how often each was passed. There is one table,
//! for the whole module; a point that is not set costs a load and an increment.

use banyan_wire::Reason;
use kernel::{
    fmt,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    uaccess::UserSliceReader, //
};
use kernel_ext::{
    machine,
    wait::{
        self,
        Interrupt, //
    }, //
};

/// Longest command.
const LONGEST: usize = 128;
/// Longest delay, milliseconds.
const MAX_DELAY_MS: u32 = 60_000;

const OFF: u32 = 0;
const FAIL: u32 = 1;
const DELAY: u32 = 2;
const POWER_CUT: u32 = 3;

macro_rules! points {
    ($($(#[$meta:meta])* $name:ident = $text:literal;)*) => {
        /// A step of a move.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Point {
            $($(#[$meta])* $name,)*
        }

        const COUNT: usize = [$($text,)*].len();
        static TABLE: [Entry; COUNT] = [$(Entry::new($text),)*];
    };
}

points! {
    /// Source: before the offer.
    Offer = "source-offer";
    /// Source: accepted, before the bulk connection.
    Connect = "source-connect";
    /// Source: at the border, before the capture.
    Capture = "source-capture";
    /// Source: captured, before the end of the image is sent.
    Sent = "source-sent";
    /// Source: the target has restored it, before the commit is sent.
    Commit = "source-commit";
    /// Source: the commit is answered, before the old process lets go.
    Leave = "source-leave";
    /// Target: an offer came.
    Offered = "target-offered";
    /// Target: the bulk connection came.
    Connected = "target-connected";
    /// Target: a task begins to become the process.
    Rebuild = "target-rebuild";
    /// Target: the image is complete, before this is said.
    Restored = "target-restored";
    /// Target: the commit came, before it is taken.
    Committing = "target-committing";
    /// Target: the commit is taken, before it is answered.
    Committed = "target-committed";
    /// Target: before the process runs.
    Run = "target-run";
}

struct Entry {
    name: &'static str,
    action: Atomic<u32>,
    /// Of a delay: milliseconds.
    value: Atomic<u32>,
    /// How often it still happens.
    times: Atomic<i32>,
    passed: Atomic<u64>,
}

impl Entry {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            action: Atomic::new(OFF),
            value: Atomic::new(0),
            times: Atomic::new(0),
            passed: Atomic::new(0),
        }
    }

    fn set(&self, action: u32, value: u32, times: i32) {
        self.action.store(OFF, Relaxed);
        self.value.store(value, Relaxed);
        self.times.store(times, Relaxed);
        self.action.store(action, Relaxed);
    }
}

/// Passes a point. Where a step cannot fail, the result is ignored, and only delays and power cuts have an effect.
///
/// # Errors
///
/// [`Reason::Injected`] if it is set to fail.
pub fn pass(point: Point) -> Result<(), Reason> {
    let Some(entry) = TABLE.get(point as usize) else {
        return Ok(());
    };
    entry.passed.fetch_add(1, Relaxed);
    let action = entry.action.load(Relaxed);
    if action == OFF {
        return Ok(());
    }
    if entry.times.fetch_sub(1, Relaxed) <= 0 {
        // Used up.
        entry.times.store(0, Relaxed);
        return Ok(());
    }
    pr_info!("fault at {}\n", entry.name);
    match action {
        FAIL => Err(Reason::Injected),
        DELAY => {
            let _ = wait::sleep(Interrupt::Killable, entry.value.load(Relaxed));
            Ok(())
        }
        POWER_CUT => {
            machine::reset();
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Lists the points.
pub fn show(_: &(), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for entry in &TABLE {
        let action = match entry.action.load(Relaxed) {
            FAIL => "fail",
            DELAY => "delay",
            POWER_CUT => "power-cut",
            _ => "off",
        };
        let (value, times, passed) = (
            entry.value.load(Relaxed),
            entry.times.load(Relaxed),
            entry.passed.load(Relaxed),
        );
        f.write_fmt(fmt!(
            "{} {} {} times={} passed={}\n",
            entry.name,
            action,
            value,
            times,
            passed
        ))?;
    }
    Ok(())
}

/// Takes a command.
///
/// # Errors
///
/// `ENOENT` for an unknown point, `EINVAL` for what is no command, `E2BIG`, `EFAULT`.
pub fn store(_: &(), reader: &mut UserSliceReader) -> Result {
    let mut bytes = [0u8; LONGEST];
    let command = bytes.get_mut(..reader.len()).ok_or(E2BIG)?;
    reader.read_slice(command)?;
    let command = core::str::from_utf8(command).map_err(|_| EINVAL)?;
    let mut words = command.split_ascii_whitespace();
    let name = words.next().ok_or(EINVAL)?;
    let action = words.next().ok_or(EINVAL)?;
    let times = match words.next() {
        Some(times) => times.parse::<i32>().map_err(|_| EINVAL)?,
        None => 1,
    };
    let entry = TABLE
        .iter()
        .find(|entry| entry.name == name)
        .ok_or(ENOENT)?;
    match action.split_once('=') {
        None if action == "off" => entry.set(OFF, 0, 0),
        None if action == "fail" => entry.set(FAIL, 0, times),
        None if action == "power-cut" => entry.set(POWER_CUT, 0, times),
        Some(("delay", value)) => {
            let value = value.parse::<u32>().map_err(|_| EINVAL)?;
            if value > MAX_DELAY_MS {
                return Err(EINVAL);
            }
            entry.set(DELAY, value, times);
        }
        _ => return Err(EINVAL),
    }
    Ok(())
}
