// SPDX-License-Identifier: GPL-2.0

//! What one node tells of its load: the newest [`Record`] of each lies in every other's table.

/// One task that is always runnable, in the unit of loads.
pub const TASK: u32 = 1_000;

/// A node, by number. In the kernel it is the node's id; the simulator has more nodes than there are ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub u16);

/// The load of one node at one moment, as it measured it itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub node: Node,
    /// Takes no processes: it leaves, or its user wants it so.
    pub closed: bool,
    /// Short of memory: to be spread at once.
    pub urgent: bool,
    /// CPUs that are on.
    pub cpus: u16,
    /// Users that sit at it.
    pub users: u16,
    /// Speed of one CPU, in MHz.
    pub mhz: u32,
    /// Runnable tasks in thousandths: those that run, those that wait for a CPU, those for which a place is reserved.
    pub tasks: u32,
    /// The same smoothed up and at once down (`legacy`).
    pub mean: u32,
    /// The same at once up and smoothed down (`legacy`).
    pub upper: u32,
    /// Which of two records of a node is newer. Greater at each measurement, also after the node started again: begin
    /// with the realtime in ns.
    pub version: u64,
    /// Memory, in KiB.
    pub memory_kib: u64,
    /// Memory that programs could get without swapping, less what is reserved, in KiB.
    pub free_kib: u64,
}

impl Record {
    /// Most CPUs that are believed.
    pub const MAX_CPUS: u16 = 8_192;
    /// Greatest speed that is believed, in MHz.
    pub const MAX_MHZ: u32 = 100_000;
    /// Greatest load that is believed: a million tasks.
    pub const MAX_TASKS: u32 = 1_000_000 * TASK;

    /// Whether it can be true: all values set and within bounds. Nothing is computed from one that is not.
    pub const fn is_sane(&self) -> bool {
        self.cpus > 0
            && self.cpus <= Self::MAX_CPUS
            && self.mhz > 0
            && self.mhz <= Self::MAX_MHZ
            && self.tasks <= Self::MAX_TASKS
            && self.mean <= Self::MAX_TASKS
            && self.upper <= Self::MAX_TASKS
            && self.memory_kib > 0
            && self.free_kib <= self.memory_kib
    }

    /// The same with another task of that load and size. Loads are added to all three figures.
    #[must_use]
    pub const fn with(mut self, load: u32, kib: u64) -> Self {
        self.tasks = self.tasks.saturating_add(load);
        self.mean = self.mean.saturating_add(load);
        self.upper = self.upper.saturating_add(load);
        self.free_kib = self.free_kib.saturating_sub(kib);
        self
    }

    /// The same with one such task less.
    #[must_use]
    pub const fn without(mut self, load: u32, kib: u64) -> Self {
        self.tasks = self.tasks.saturating_sub(load);
        self.mean = self.mean.saturating_sub(load);
        self.upper = self.upper.saturating_sub(load);
        let free = self.free_kib.saturating_add(kib);
        self.free_kib = if free > self.memory_kib {
            self.memory_kib
        } else {
            free
        };
        self
    }

    /// Tasks for each CPU, in thousandths.
    pub fn per_cpu(&self) -> u32 {
        self.tasks.checked_div(self.cpus.into()).unwrap_or(u32::MAX)
    }

    /// Memory in use, in KiB.
    pub const fn used_kib(&self) -> u64 {
        self.memory_kib.saturating_sub(self.free_kib)
    }
}

/// What a small idle node tells of itself, for tests.
#[cfg(test)]
pub(crate) fn small(node: u16, version: u64) -> Record {
    Record {
        node: Node(node),
        version,
        cpus: 1,
        mhz: 1_000,
        memory_kib: 100,
        free_kib: 100,
        ..Record::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unset_is_not_believed() {
        let good = Record {
            cpus: 4,
            mhz: 3_000,
            memory_kib: 1 << 20,
            free_kib: 1 << 19,
            ..Record::default()
        };
        assert!(good.is_sane());
        assert!(!Record::default().is_sane());
        assert!(!Record { cpus: 0, ..good }.is_sane());
        assert!(!Record { mhz: 0, ..good }.is_sane());
        assert!(!Record {
            free_kib: 2 << 20,
            ..good
        }
        .is_sane());
        assert!(!Record {
            tasks: u32::MAX,
            ..good
        }
        .is_sane());
    }

    #[test]
    fn with_and_without_cancel() {
        let good = Record {
            cpus: 4,
            mhz: 3_000,
            memory_kib: 100,
            free_kib: 50,
            ..Record::default()
        };
        assert_eq!(good.with(TASK, 20).without(TASK, 20), good);
        assert_eq!(good.without(TASK, 70).free_kib, 100);
        assert_eq!(good.with(9_000, 0).per_cpu(), 2_250);
    }
}
