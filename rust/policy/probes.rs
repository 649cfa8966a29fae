// SPDX-License-Identifier: GPL-2.0

//! What is measured of a node, of a process and of a link, and the averages that `legacy` makes of it. Plain values;
//! who measures owns them.

use crate::fixed::scale;
use crate::record::{Node, Record, TASK};

/// What a node measures of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeProbe {
    /// CPUs that are on.
    pub cpus: u16,
    /// Speed of one, in MHz.
    pub mhz: u32,
    /// Mean number of runnable tasks in the last second, in thousandths.
    pub tasks: u32,
    /// Use of all CPUs, in thousandths of all.
    pub busy: u32,
    /// Users that sit at it.
    pub users: u16,
    /// Memory, in KiB.
    pub memory_kib: u64,
    /// What programs could get without swapping, in KiB.
    pub free_kib: u64,
    /// Swapped in and out in the last second, in KiB.
    pub swapped_kib: u64,
    /// Share of the last ten seconds in which some task waited for a CPU, in thousandths (PSI).
    pub pressure_cpu: u16,
    /// The same for memory.
    pub pressure_memory: u16,
    /// The same for input and output.
    pub pressure_io: u16,
    /// Moves that come or go.
    pub moves: u16,
}

impl NodeProbe {
    /// The record to be spread; `low_percent`: free memory below which it is urgent.
    pub fn record(&self, node: Node, version: u64, mean: &LoadMean, low_percent: u32) -> Record {
        Record {
            node,
            closed: false,
            urgent: self.free_kib < scale(self.memory_kib, low_percent.into(), 100),
            cpus: self.cpus,
            users: self.users,
            mhz: self.mhz,
            tasks: self.tasks,
            mean: mean.mean(),
            upper: mean.upper(),
            version,
            memory_kib: self.memory_kib,
            free_kib: self.free_kib.min(self.memory_kib),
        }
    }
}

/// A process that may be placed or moved, as it is measured where it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Names it to the owner.
    pub id: u64,
    /// Its share of a CPU that it would use if it were alone, in thousandths (averaged).
    pub load: u32,
    /// Resident memory, in KiB.
    pub rss_kib: u64,
    /// What a move would send, in KiB; 0 for one that has just started.
    pub move_kib: u64,
    /// CPU time that it has used.
    pub age_ms: u64,
    /// Time since it began to run on this node.
    pub residency_ms: u64,
    /// CPU time that programs of its name use in all, if that is known ([`Lives`](crate::Lives)).
    pub life_ms: Option<u64>,
    /// Whether it has come to this node from another one, placed or moved.
    pub moved: bool,
    /// Whether it can and may be moved at all: kinds of state, opt-outs.
    pub movable: bool,
}

impl Task {
    /// CPU time that it is still likely to use. The measured life of its program, if it has not outlived that; else
    /// as much as it has used, since lives are heavy-tailed.
    pub fn remaining_ms(&self) -> u64 {
        match self.life_ms {
            Some(life) if life > self.age_ms => life.saturating_sub(self.age_ms).max(self.age_ms),
            _ => self.age_ms,
        }
    }
}

/// The link to other nodes, as it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// KiB that go through in a second.
    pub rate_kib: u64,
    /// Round trip, in microseconds.
    pub round_trip_us: u32,
    /// What a move takes apart from sending.
    pub fixed_ms: u32,
}

impl Link {
    /// A gigabit link and a move that takes 10 ms by itself.
    pub const DEFAULT: Self = Self {
        rate_kib: 112 * 1024,
        round_trip_us: 200,
        fixed_ms: 10,
    };

    /// For how long a process stands still while so much of it is sent.
    pub fn move_ms(&self, kib: u64) -> u64 {
        scale(kib, 1_000, self.rate_kib).saturating_add(self.fixed_ms.into())
    }
}

/// The two smoothed loads of a node. One per node, fed each second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadMean {
    mean: u32,
    upper: u32,
}

impl LoadMean {
    /// Takes the mean number of runnable tasks (thousandths) of the last second.
    pub fn feed(&mut self, load: u32) {
        self.mean = if load > self.mean {
            blend(self.mean, 5, load, 3)
        } else {
            load
        };
        self.upper = if load < self.upper {
            blend(self.upper, 7, load, 1)
        } else {
            load
        };
    }

    /// Smoothed up, at once down.
    pub const fn mean(&self) -> u32 {
        self.mean
    }

    /// At once up, smoothed down.
    pub const fn upper(&self) -> u32 {
        self.upper
    }
}

/// The smoothed load of a process. One per process, fed each second, made anew when it moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShareMean(u32);

impl ShareMean {
    /// Takes the part of the last second for which it was runnable, in thousandths.
    pub fn feed(&mut self, share: u32) {
        self.0 = blend(self.0, 5, share.min(TASK), 3);
    }

    /// In thousandths.
    pub const fn get(&self) -> u32 {
        self.0
    }
}

/// `(a·x + b·y) / 8`, which does not exceed the greater of x and y.
fn blend(x: u32, a: u32, y: u32, b: u32) -> u32 {
    let product = |n: u32, weight: u32| u64::from(n).saturating_mul(weight.into());
    let sum = product(x, a).saturating_add(product(y, b));
    u32::try_from(sum >> 3).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_rise_and_fall_as_published() {
        let mut load = LoadMean::default();
        load.feed(8_000);
        assert_eq!((load.mean(), load.upper()), (3_000, 8_000));
        load.feed(8_000);
        assert_eq!((load.mean(), load.upper()), (4_875, 8_000));
        load.feed(0);
        assert_eq!((load.mean(), load.upper()), (0, 7_000));
        let mut share = ShareMean::default();
        share.feed(5_000);
        assert_eq!(share.get(), 375);
    }

    #[test]
    fn what_has_lived_long_will_live_long() {
        let task = Task {
            id: 1,
            load: TASK,
            rss_kib: 0,
            move_kib: 0,
            age_ms: 500,
            residency_ms: 0,
            life_ms: None,
            moved: false,
            movable: true,
        };
        assert_eq!(task.remaining_ms(), 500);
        assert_eq!(
            Task {
                life_ms: Some(2_000),
                ..task
            }
            .remaining_ms(),
            1_500
        );
        assert_eq!(
            Task {
                life_ms: Some(600),
                ..task
            }
            .remaining_ms(),
            500
        );
        assert_eq!(
            Task {
                life_ms: Some(100),
                ..task
            }
            .remaining_ms(),
            500
        );
    }

    #[test]
    fn moves_take_as_long_as_they_are_big() {
        assert_eq!(Link::DEFAULT.move_ms(112 * 1024), 1_010);
        assert_eq!(
            Link {
                rate_kib: 0,
                ..Link::DEFAULT
            }
            .move_ms(1),
            u64::MAX
        );
    }

    #[test]
    fn short_memory_is_urgent() {
        let probe = NodeProbe {
            cpus: 1,
            mhz: 1,
            memory_kib: 100,
            free_kib: 4,
            ..NodeProbe::default()
        };
        assert!(probe.record(Node(1), 1, &LoadMean::default(), 5).urgent);
        assert!(!probe.record(Node(1), 1, &LoadMean::default(), 4).urgent);
    }
}
