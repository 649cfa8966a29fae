// SPDX-License-Identifier: GPL-2.0

//! Spreading of loads: ages grow as the logarithm of the number of nodes, messages do not grow at all, what is urgent is quick, and
//! the newer of two records wins in whatever order they come.

use banyan_policy::{
    Entry, Gossip, GossipLimits, Merge, Node, Random, Record, Row, Table, MAX_WINDOW,
};
use proptest::prelude::*;

fn record(node: u16, version: u64) -> Record {
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

/// Nodes that send each other messages without delay.
struct Net {
    nodes: Vec<(Gossip, Table<Vec<Row>>)>,
    sent: Vec<u32>,
    now: u64,
    lost: Random,
}

impl Net {
    fn new(count: u16, rows: usize, seed: u64) -> Self {
        let table = || Table::new(vec![Row::default(); rows], 60_000);
        let gossip = |i| Gossip::new(GossipLimits::DEFAULT, 0, Random::new(seed ^ i));
        Self {
            nodes: (0..u64::from(count))
                .map(|i| (gossip(i), table()))
                .collect(),
            sent: vec![0; count.into()],
            now: 0,
            lost: Random::new(seed),
        }
    }

    fn peer(me: usize, draw: u32) -> usize {
        let draw = draw as usize;
        draw + usize::from(draw >= me)
    }

    /// Runs for so long, in steps of 50 ms, with so many hundredths of the messages lost.
    fn run(&mut self, ms: u64, loss: u32) {
        let peers = self.nodes.len() as u32 - 1;
        let mut out = vec![Entry::default(); MAX_WINDOW];
        for _ in 0..ms / 50 {
            self.now += 50;
            for me in 0..self.nodes.len() {
                let (gossip, table) = &mut self.nodes[me];
                let Some(draw) = gossip.round(self.now, peers) else {
                    continue;
                };
                let count = gossip.fill(self.now, &record(me as u16, self.now), table, &mut out);
                self.sent[me] += 1;
                if self.lost.below(100) < loss {
                    continue;
                }
                let to = Self::peer(me, draw);
                let (gossip, table) = &mut self.nodes[to];
                for entry in &out[..count] {
                    gossip.receive(self.now, Node(to as u16), entry, table);
                }
            }
        }
    }

    /// Nodes that know of `who` being urgent, after messages that take no time.
    fn urgent(&mut self, who: usize) -> usize {
        let peers = self.nodes.len() as u32 - 1;
        let entry = Entry {
            record: Record {
                urgent: true,
                ..record(who as u16, u64::MAX)
            },
            age_ms: 0,
        };
        let mut todo = Vec::new();
        let send = |gossip: &mut Gossip, me, todo: &mut Vec<usize>| {
            gossip.spread(peers, &mut |draw| todo.push(Self::peer(me, draw)));
        };
        send(&mut self.nodes[who].0, who, &mut todo);
        while let Some(to) = todo.pop() {
            let (gossip, table) = &mut self.nodes[to];
            if gossip.receive(self.now, Node(to as u16), &entry, table) {
                send(gossip, to, &mut todo);
            }
        }
        let knows = |table: &Table<Vec<Row>>| {
            table
                .get(self.now, Node(who as u16))
                .is_some_and(|k| k.record.urgent)
        };
        self.nodes.iter().filter(|(_, table)| knows(table)).count()
    }

    /// Greatest and mean age over all tables, in rounds; and the fewest nodes that any table has.
    fn ages(&self) -> (f64, f64, usize) {
        let mut ages = Vec::new();
        let mut fewest = usize::MAX;
        for (_, table) in &self.nodes {
            let before = ages.len();
            ages.extend(
                table
                    .iter(self.now)
                    .map(|known| known.age_ms as f64 / 1_000.0),
            );
            fewest = fewest.min(ages.len() - before);
        }
        let mean = ages.iter().sum::<f64>() / ages.len() as f64;
        (ages.into_iter().fold(0.0, f64::max), mean, fewest)
    }
}

#[test]
fn ages_grow_as_the_logarithm() {
    for count in [2_u16, 4, 8, 16, 32, 64, 127] {
        let mut net = Net::new(count, 128, 5);
        net.run(40_000, 0);
        let (greatest, mean, fewest) = net.ages();
        let log = f64::from(count).log2();
        assert_eq!(fewest, usize::from(count) - 1);
        assert!(mean <= 1.2 * log + 1.0, "{count} nodes: mean {mean}");
        assert!(greatest <= 4.0 * log + 8.0, "{count} nodes: {greatest}");
        assert!(net.sent.iter().all(|n| (38..=41).contains(n)));
    }
}

#[test]
fn a_part_of_many_is_known_as_well() {
    let mut net = Net::new(1_000, 128, 5);
    net.run(30_000, 0);
    let (greatest, mean, fewest) = net.ages();
    assert!(fewest > 120, "{fewest}");
    assert!(
        mean <= 1.2 * 10.0 + 1.0 && greatest <= 48.0,
        "{mean} {greatest}"
    );
}

#[test]
fn urgent_values_reach_nearly_all_at_once() {
    let mut net = Net::new(100, 128, 5);
    net.run(20_000, 0);
    let known = net.urgent(17);
    assert!(known >= 85, "{known}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(12), failure_persistence: None, ..ProptestConfig::default() })]

    /// With a fifth of the messages lost all still hear of all.
    #[test]
    fn loss_only_slows(count in 2_u16..60, seed: u64) {
        let mut net = Net::new(count, 128, seed);
        net.run(60_000, 20);
        let (greatest, mean, fewest) = net.ages();
        let log = f64::from(count).log2();
        prop_assert_eq!(fewest, usize::from(count) - 1);
        prop_assert!(mean <= 1.6 * log + 1.5 && greatest <= 45.0, "{} {}", mean, greatest);
    }

    /// In whatever order records come, the newest is what is known at the end.
    #[test]
    fn order_does_not_matter(mut versions in prop::collection::vec(1_u64..1_000, 1..30), seed: u64) {
        let mut table = Table::new(vec![Row::default(); 4], 60_000);
        let mut random = Random::new(seed);
        let newest = *versions.iter().max().unwrap();
        for i in (1..versions.len()).rev() {
            versions.swap(i, random.below(i as u32 + 1) as usize);
        }
        for &version in &versions {
            // A version says when it was measured, too.
            let merged = table.merge(5_000, &record(1, version), 1_000 - version);
            prop_assert!(merged != Merge::Refused);
        }
        let known = table.get(5_000, Node(1)).unwrap();
        prop_assert_eq!((known.record.version, known.age_ms), (newest, 1_000 - newest));
    }
}

/// Runs per property: `BANYAN_CASES` if it is set.
fn cases(default: u32) -> u32 {
    std::env::var("BANYAN_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}
