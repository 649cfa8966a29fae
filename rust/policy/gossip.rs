// SPDX-License-Identifier: GPL-2.0

//! How loads are spread: one [`Gossip`] per node.
//!
//! Each round a node sends one message, with its own record and the newest of the others', to one other that it
//! draws; the receiver keeps the newer of two. So a value reaches twice as many nodes each round: all within O(log n) rounds,
//! with high probability. A node sends and, on average, receives one message a round, whatever the number of nodes, and a message has
//! at most [`GossipLimits::window`] entries. Where there are more nodes than rows in a table, or entries in a message, only the
//! newest go round: a node then knows a part of the others, but that part as well as before.
//!
//! An urgent record goes to a few nodes at once, and whoever did not know it passes it on at once; how many such
//! messages a node sends in a round is bounded.

use crate::random::Random;
use crate::record::{Node, Record};
use crate::table::{Merge, Row, Table};
use core::ops::DerefMut;

/// Most entries in a message.
pub const MAX_WINDOW: usize = 128;

/// One entry of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// What its owner measured.
    pub record: Record,
    /// How long ago, when the message was sent.
    pub age_ms: u64,
}

/// The tunables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GossipLimits {
    /// Time between rounds: 100 to 10,000 ms.
    pub period_ms: u64,
    /// Entries in a message: 1 to [`MAX_WINDOW`].
    pub window: usize,
    /// To how many an urgent record goes at once: 1 to 8.
    pub urgent: u32,
    /// Urgent messages that a node sends in a round, own and passed on: 0 to 64.
    pub urgent_round: u32,
}

impl GossipLimits {
    /// What is used unless set otherwise.
    pub const DEFAULT: Self = Self {
        period_ms: 1_000,
        window: MAX_WINDOW,
        urgent: 3,
        urgent_round: 12,
    };
}

/// One node's part in spreading.
#[derive(Clone, Debug)]
pub struct Gossip {
    limits: GossipLimits,
    random: Random,
    due: u64,
    /// Urgent messages left in this round.
    budget: u32,
}

impl Gossip {
    /// The first round is drawn within a period, so that nodes that start together do not send together.
    pub fn new(limits: GossipLimits, now: u64, mut random: Random) -> Self {
        let period = u32::try_from(limits.period_ms).unwrap_or(u32::MAX);
        let due = now.saturating_add(random.below(period).into());
        Self {
            limits,
            random,
            due,
            budget: limits.urgent_round,
        }
    }

    /// When [`Gossip::round`] has something to do next.
    pub const fn due(&self) -> u64 {
        self.due
    }

    /// Whether a round is due; then the message made by [`Gossip::fill`] goes to the peer of that number, of `peers` that
    /// are members and not this node.
    pub fn round(&mut self, now: u64, peers: u32) -> Option<u32> {
        if now < self.due {
            return None;
        }
        self.budget = self.limits.urgent_round;
        // Rounds that were missed are not made up for.
        let next = self.due.saturating_add(self.limits.period_ms.max(1));
        self.due = if next > now {
            next
        } else {
            now.saturating_add(self.limits.period_ms)
        };
        (peers > 0).then(|| self.random.below(peers))
    }

    /// To whom an urgent record goes now: calls `send` with the number of a peer for each message. Of the own record when it
    /// becomes urgent, of another's when [`Gossip::receive`] says so.
    pub fn spread(&mut self, peers: u32, send: &mut impl FnMut(u32)) {
        if peers == 0 {
            return;
        }
        for _ in 0..self.limits.urgent.min(peers) {
            let Some(left) = self.budget.checked_sub(1) else {
                return;
            };
            self.budget = left;
            send(self.random.below(peers));
        }
    }

    /// Writes a message: the own record first, then the newest of the others'. Returns the number of entries.
    pub fn fill<T>(&self, now: u64, own: &Record, table: &Table<T>, out: &mut [Entry]) -> usize
    where
        T: DerefMut<Target = [Row]>,
    {
        let room = out.len().min(self.limits.window.clamp(1, MAX_WINDOW));
        let mut slots = out.iter_mut().take(room);
        let Some(first) = slots.next() else {
            return 0;
        };
        *first = Entry {
            record: *own,
            age_ms: 0,
        };
        let mut left = room.saturating_sub(1);
        // Ages in eighths of a period: how many there are of each, then from which on there is no room.
        let mut ages = [0_usize; 64];
        let step = (self.limits.period_ms >> 3).max(1);
        let slot = |age: u64| age.checked_div(step).map_or(63, |n| n.min(63)) as usize;
        let wanted = |record: &Record| record.node != own.node;
        for (_, age) in table.received(now).filter(|(record, _)| wanted(record)) {
            if let Some(count) = ages.get_mut(slot(age)) {
                *count = count.saturating_add(1);
            }
        }
        let mut sure = 0;
        for count in ages {
            if count > left {
                break;
            }
            left = left.saturating_sub(count);
            sure = usize::saturating_add(sure, 1);
        }
        for (record, age_ms) in table.received(now).filter(|(record, _)| wanted(record)) {
            let at = slot(age_ms);
            if at > sure || (at == sure && left == 0) {
                continue;
            }
            if at == sure {
                left = left.saturating_sub(1);
            }
            let Some(entry) = slots.next() else { break };
            *entry = Entry {
                record: *record,
                age_ms,
            };
        }
        room.saturating_sub(slots.len())
    }

    /// Takes an entry of a message that came. Whether it is to be spread further at once: it is urgent and was not known.
    pub fn receive<T>(&self, now: u64, own: Node, entry: &Entry, table: &mut Table<T>) -> bool
    where
        T: DerefMut<Target = [Row]>,
    {
        if entry.record.node == own {
            return false;
        }
        let was = table
            .get(now, entry.record.node)
            .is_some_and(|known| known.record.urgent);
        let merged = table.merge(now, &entry.record, entry.age_ms);
        merged == Merge::Newer && entry.record.urgent && !was
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::small as record;

    #[test]
    fn the_newest_go_first_and_no_more_than_the_window() {
        let limits = GossipLimits {
            window: 5,
            ..GossipLimits::DEFAULT
        };
        let gossip = Gossip::new(limits, 0, Random::new(1));
        let mut table = Table::new(vec![Row::default(); 64], 60_000);
        for node in 1..40 {
            table.merge(100_000, &record(node, 1), u64::from(node) * 500);
        }
        let mut out = [Entry::default(); 16];
        let count = gossip.fill(100_000, &record(0, 1), &table, &mut out);
        assert_eq!(count, 5);
        let mut nodes: Vec<u16> = out[..count].iter().map(|e| e.record.node.0).collect();
        nodes.sort_unstable();
        assert_eq!(nodes, [0, 1, 2, 3, 4]);
        assert_eq!(gossip.fill(100_000, &record(0, 1), &table, &mut []), 0);
    }

    #[test]
    fn rounds_come_once_a_period() {
        let mut gossip = Gossip::new(GossipLimits::DEFAULT, 0, Random::new(7));
        let sent = (0..100_000)
            .filter(|&now| gossip.round(now, 9).is_some())
            .count();
        assert!((99..=100).contains(&sent), "{sent}");
        assert!(gossip.round(500_000, 9).is_some());
        assert!(gossip.round(500_001, 9).is_none());
        assert!(gossip.round(900_000, 0).is_none());
    }

    #[test]
    fn urgent_messages_are_bounded() {
        let mut gossip = Gossip::new(GossipLimits::DEFAULT, 0, Random::new(7));
        let mut sent = 0;
        for _ in 0..100 {
            gossip.spread(50, &mut |_| sent += 1);
        }
        assert_eq!(sent, 12);
        assert!(gossip.round(5_000, 50).is_some());
        gossip.spread(50, &mut |_| sent += 1);
        assert_eq!(sent, 15);
    }

    #[test]
    fn what_is_urgent_is_passed_on_once() {
        let gossip = Gossip::new(GossipLimits::DEFAULT, 0, Random::new(7));
        let mut table = Table::new(vec![Row::default(); 64], 60_000);
        let urgent = Record {
            urgent: true,
            ..record(5, 2)
        };
        let entry = Entry {
            record: urgent,
            age_ms: 1,
        };
        assert!(gossip.receive(100, Node(1), &entry, &mut table));
        assert!(!gossip.receive(100, Node(1), &entry, &mut table));
        let again = Entry {
            record: Record {
                version: 3,
                ..urgent
            },
            age_ms: 1,
        };
        assert!(!gossip.receive(100, Node(1), &again, &mut table));
        assert!(!gossip.receive(
            100,
            Node(5),
            &Entry {
                record: record(5, 9),
                age_ms: 0
            },
            &mut table
        ));
        assert_eq!(table.get(100, Node(5)).unwrap().record.version, 3);
    }
}
