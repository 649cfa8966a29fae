// SPDX-License-Identifier: GPL-2.0

//! What holds moves back, whatever the policy: one [`Limits`] per node, with its blacklist.

use crate::decision::Reason;
use crate::fixed::Fixed;
use crate::probes::Task;
use crate::record::{Node, Record};

/// Most nodes on a blacklist.
pub const BLACKLIST: usize = 128;

/// Nodes that take nothing from here.
#[derive(Clone, Debug)]
pub struct Blacklist {
    nodes: [Option<Node>; BLACKLIST],
    /// How many are on it: it is asked often and mostly empty.
    count: u16,
}

impl Blacklist {
    /// Nobody is on it.
    pub const EMPTY: Self = Self {
        nodes: [None; BLACKLIST],
        count: 0,
    };

    /// Puts a node on it; whether there was room.
    pub fn add(&mut self, node: Node) -> bool {
        if self.contains(node) {
            return true;
        }
        let Some(free) = self.nodes.iter_mut().find(|slot| slot.is_none()) else {
            return false;
        };
        *free = Some(node);
        self.count = self.count.saturating_add(1);
        true
    }

    /// Takes it off.
    pub fn remove(&mut self, node: Node) {
        for slot in self.nodes.iter_mut().filter(|slot| **slot == Some(node)) {
            *slot = None;
            self.count = self.count.saturating_sub(1);
        }
    }

    /// Whether it is on it.
    pub fn contains(&self, node: Node) -> bool {
        self.count > 0 && self.nodes.contains(&Some(node))
    }
}

/// The filters' tunables and what they remember.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Load for each CPU (thousandths) under which a node is not relieved of processes; 0 to 100,000.
    pub threshold: u32,
    /// Time between two rounds of moves from a node; 0 to 600,000 ms.
    pub interval_ms: u64,
    /// By how many hundredths another node must be better; 0 to 1,000.
    pub hysteresis: u32,
    /// Time that a process stays on a node before it is moved on; 0 to 3,600,000 ms.
    pub residency_ms: u64,
    /// Age from which on what is known of a node is not used; 500 to 600,000 ms.
    pub stale_ms: u64,
    /// Nodes to which nothing goes.
    pub blacklist: Blacklist,
    /// When the last moves were.
    moved: Option<u64>,
}

impl Limits {
    /// What is used unless set otherwise.
    pub const DEFAULT: Self = Self {
        threshold: 0,
        interval_ms: 1_000,
        hysteresis: 20,
        residency_ms: 5_000,
        stale_ms: 10_000,
        blacklist: Blacklist::EMPTY,
        moved: None,
    };

    /// Whether a round of moves may begin now.
    ///
    /// # Errors
    /// [`Reason::Interval`] and [`Reason::UnderThreshold`].
    pub fn may_begin(&self, now: u64, here: &Record) -> Result<(), Reason> {
        if self
            .moved
            .is_some_and(|then| now.saturating_sub(then) < self.interval_ms)
        {
            return Err(Reason::Interval);
        }
        if here.per_cpu() < self.threshold {
            return Err(Reason::UnderThreshold);
        }
        Ok(())
    }

    /// Something was moved.
    pub fn moved(&mut self, now: u64) {
        self.moved = Some(now);
    }

    /// Whether this process may be moved.
    ///
    /// # Errors
    /// [`Reason::NotMovable`] and [`Reason::Residency`].
    pub const fn may_leave(&self, task: &Task) -> Result<(), Reason> {
        if !task.movable {
            return Err(Reason::NotMovable);
        }
        if task.moved && task.residency_ms < self.residency_ms {
            return Err(Reason::Residency);
        }
        Ok(())
    }

    /// Whether a cost there is enough below one here.
    ///
    /// # Errors
    /// [`Reason::BestHere`] and [`Reason::Hysteresis`].
    pub fn is_better(&self, here: Fixed, there: Fixed) -> Result<(), Reason> {
        if there >= here {
            return Err(Reason::BestHere);
        }
        if there.percent(self.hysteresis.saturating_add(100)) >= here {
            return Err(Reason::Hysteresis);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blacklist_has_its_bounds() {
        let mut list = Blacklist::EMPTY;
        for n in 0..BLACKLIST as u16 {
            assert!(list.add(Node(n)));
        }
        assert!(list.add(Node(3)));
        assert!(!list.add(Node(999)));
        list.remove(Node(3));
        assert!(!list.contains(Node(3)));
        assert!(list.add(Node(999)));
    }

    #[test]
    fn each_filter_says_no_for_its_reason() {
        let mut limits = Limits {
            threshold: 1_500,
            ..Limits::DEFAULT
        };
        let here = Record {
            cpus: 2,
            tasks: 3_000,
            ..Record::default()
        };
        assert_eq!(limits.may_begin(0, &here), Ok(()));
        assert_eq!(
            limits.may_begin(0, &here.without(1, 0)),
            Err(Reason::UnderThreshold)
        );
        limits.moved(10_000);
        assert_eq!(limits.may_begin(10_999, &here), Err(Reason::Interval));
        assert_eq!(limits.may_begin(11_000, &here), Ok(()));
        assert_eq!(
            limits.is_better(Fixed::whole(12), Fixed::whole(12)),
            Err(Reason::BestHere)
        );
        assert_eq!(
            limits.is_better(Fixed::whole(12), Fixed::whole(10)),
            Err(Reason::Hysteresis)
        );
        assert_eq!(limits.is_better(Fixed::whole(13), Fixed::whole(10)), Ok(()));
        let task = Task {
            id: 1,
            load: 1_000,
            rss_kib: 0,
            move_kib: 0,
            age_ms: 0,
            residency_ms: 4_999,
            life_ms: None,
            moved: true,
            movable: true,
        };
        assert_eq!(limits.may_leave(&task), Err(Reason::Residency));
        assert_eq!(
            limits.may_leave(&Task {
                moved: false,
                ..task
            }),
            Ok(())
        );
        assert_eq!(
            limits.may_leave(&Task {
                residency_ms: 5_000,
                ..task
            }),
            Ok(())
        );
        assert_eq!(
            limits.may_leave(&Task {
                movable: false,
                moved: false,
                ..task
            }),
            Err(Reason::NotMovable)
        );
    }
}
