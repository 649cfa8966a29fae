// SPDX-License-Identifier: GPL-2.0

//! What a node knows of the loads of the others: one [`Table`] per node, written by gossip and by answers to
//! requests, read by the policy.
//!
//! Ages need no common clock: a record travels with its age, and the receiver counts on from there. A table has room
//! for all nodes of a cluster (ids up to 127), or for a part of them: then nodes whose numbers are equal modulo the number of
//! rows share a row, and the newest record has it.

use crate::record::{Node, Record};
use core::ops::DerefMut;

/// One row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    used: bool,
    record: Record,
    /// When it was measured, by the clock of this node.
    born: u64,
    /// Load that this node has sent there since, which the record does not show yet.
    pending: u32,
    /// The same of memory.
    pending_kib: u64,
    /// When it last sent some.
    charged: u64,
}

/// What is known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its newest record, with what this node has sent there since.
    pub record: Record,
    /// Time since it was measured.
    pub age_ms: u64,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// It is newer than what was known, and is known now.
    Newer,
    /// It is not.
    Older,
    /// It cannot be true, or is too old to be kept.
    Refused,
}

/// The records of other nodes.
#[derive(Clone, Debug)]
pub struct Table<T> {
    rows: T,
    keep_ms: u64,
}

impl<T: DerefMut<Target = [Row]>> Table<T> {
    /// Knows nothing. Records are kept up to the age `keep_ms`.
    pub fn new(mut rows: T, keep_ms: u64) -> Self {
        rows.fill(Row::default());
        Self { rows, keep_ms }
    }

    fn place(&self, node: Node) -> usize {
        usize::from(node.0)
            .checked_rem(self.rows.len())
            .unwrap_or(0)
    }

    /// Takes a record that was measured `age_ms` ago.
    pub fn merge(&mut self, now: u64, record: &Record, age_ms: u64) -> Merge {
        if !record.is_sane() || age_ms > self.keep_ms {
            return Merge::Refused;
        }
        let place = self.place(record.node);
        let Some(row) = self.rows.get_mut(place) else {
            return Merge::Refused;
        };
        let born = now.saturating_sub(age_ms);
        let newer = if !row.used {
            true
        } else if row.record.node == record.node {
            record.version > row.record.version
        } else {
            born > row.born
        };
        if !newer {
            return Merge::Older;
        }
        let shown = !row.used || row.record.node != record.node || born > row.charged;
        *row = Row {
            used: true,
            record: *record,
            born,
            pending: if shown { 0 } else { row.pending },
            pending_kib: if shown { 0 } else { row.pending_kib },
            charged: if shown { 0 } else { row.charged },
        };
        Merge::Newer
    }

    /// This node has sent a task there: it counts at once, until a record shows it that was measured later. Without this,
    /// all that starts between two records would go to one node.
    pub fn charge(&mut self, now: u64, node: Node, load: u32, kib: u64) {
        let place = self.place(node);
        if let Some(row) = self.rows.get_mut(place) {
            if row.used && row.record.node == node {
                row.pending = row.pending.saturating_add(load);
                row.pending_kib = row.pending_kib.saturating_add(kib);
                row.charged = now;
            }
        }
    }

    /// It was refused there after all.
    pub fn discharge(&mut self, node: Node, load: u32, kib: u64) {
        let place = self.place(node);
        if let Some(row) = self.rows.get_mut(place) {
            if row.used && row.record.node == node {
                row.pending = row.pending.saturating_sub(load);
                row.pending_kib = row.pending_kib.saturating_sub(kib);
            }
        }
    }

    /// The node is gone.
    pub fn forget(&mut self, node: Node) {
        let place = self.place(node);
        if let Some(row) = self.rows.get_mut(place) {
            if row.used && row.record.node == node {
                *row = Row::default();
            }
        }
    }

    /// What is known of a node.
    pub fn get(&self, now: u64, node: Node) -> Option<Known> {
        let row = self.rows.get(self.place(node))?;
        self.known(now, row)
            .filter(|known| known.record.node == node)
    }

    /// All that is known, in order of rows.
    pub fn iter(&self, now: u64) -> impl Iterator<Item = Known> + '_ {
        self.rows.iter().filter_map(move |row| self.known(now, row))
    }

    /// The records as they were received, with their ages: to be passed on.
    pub fn received(&self, now: u64) -> impl Iterator<Item = (&Record, u64)> + '_ {
        let keep = self.keep_ms;
        self.rows
            .iter()
            .filter(|row| row.used)
            .map(move |row| (&row.record, now.saturating_sub(row.born)))
            .filter(move |&(_, age)| age <= keep)
    }

    fn known(&self, now: u64, row: &Row) -> Option<Known> {
        let age_ms = now.saturating_sub(row.born);
        (row.used && age_ms <= self.keep_ms).then(|| Known {
            record: row.record.with(row.pending, row.pending_kib),
            age_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::small as record;

    #[test]
    fn the_newer_of_two_stays() {
        let mut table = Table::new(vec![Row::default(); 8], 1_000);
        assert_eq!(table.merge(5_000, &record(3, 7), 100), Merge::Newer);
        assert_eq!(table.merge(5_000, &record(3, 7), 0), Merge::Older);
        assert_eq!(table.merge(5_000, &record(3, 6), 0), Merge::Older);
        assert_eq!(table.get(5_050, Node(3)).unwrap().age_ms, 150);
        assert_eq!(table.get(5_050, Node(11)), None);
        assert_eq!(table.get(5_901, Node(3)), None);
        assert_eq!(table.merge(9_000, &record(4, 1), 1_001), Merge::Refused);
        assert_eq!(table.merge(9_000, &Record::default(), 0), Merge::Refused);
    }

    #[test]
    fn what_was_sent_counts_until_a_later_record() {
        let mut table = Table::new(vec![Row::default(); 8], 10_000);
        table.merge(1_000, &record(3, 1), 0);
        table.charge(1_500, Node(3), 1_000, 40);
        let known = table.get(1_500, Node(3)).unwrap().record;
        assert_eq!(
            (known.tasks, known.upper, known.free_kib),
            (1_000, 1_000, 60)
        );
        // Measured before the task was sent, received after.
        table.merge(2_000, &record(3, 2), 800);
        assert_eq!(table.get(2_000, Node(3)).unwrap().record.tasks, 1_000);
        table.merge(2_100, &record(3, 3), 100);
        assert_eq!(table.get(2_100, Node(3)).unwrap().record.tasks, 0);
        // What is passed on is what its owner said.
        table.charge(2_200, Node(3), 1_000, 40);
        assert_eq!(table.received(2_200).next().unwrap().0.tasks, 0);
    }

    #[test]
    fn nodes_may_share_a_row() {
        let mut table = Table::new(vec![Row::default(); 8], 10_000);
        table.merge(1_000, &record(3, 900), 0);
        assert_eq!(table.merge(1_000, &record(11, 1), 50), Merge::Older);
        assert_eq!(table.merge(1_100, &record(11, 1), 50), Merge::Newer);
        table.forget(Node(3));
        assert_eq!(table.iter(1_100).count(), 1);
        table.forget(Node(11));
        assert_eq!(table.iter(1_100).count(), 0);
        let mut none: Table<&mut [Row]> = Table::new(&mut [], 1);
        assert_eq!(none.merge(0, &record(1, 1), 0), Merge::Refused);
        assert_eq!(none.get(0, Node(1)), None);
    }
}
