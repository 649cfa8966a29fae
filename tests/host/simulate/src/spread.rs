// SPDX-License-Identifier: GPL-2.0

//! How old what nodes know of each other is, for a number of nodes: gossip alone, without load, once for each number.

use banyan_policy::{Entry, Gossip, GossipLimits, Node, Random, Record, Row, Table, MAX_WINDOW};

/// Rounds until the ages are steady, and rounds in which they are read.
const ROUNDS: (u64, u64) = (30, 6);

/// What was found; ages in rounds.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub nodes: usize,
    /// Nodes that a node knows, on average.
    pub known: f64,
    pub mean: f64,
    pub p99: f64,
    pub greatest: f64,
    /// That a node sends in a round.
    pub messages: f64,
}

impl Spread {
    /// What the mean must not exceed to be called O(log n).
    pub fn allowed(&self) -> f64 {
        1.5 * (self.nodes as f64).log2() + 1.5
    }
}

pub fn measure(nodes: usize, seed: u64) -> Spread {
    let limits = GossipLimits::DEFAULT;
    let period = limits.period_ms;
    let mut tables: Vec<_> = (0..nodes)
        .map(|_| Table::new(vec![Row::default(); 128], 60_000))
        .collect();
    let mut gossips: Vec<_> = (0..nodes as u64)
        .map(|i| Gossip::new(limits, 0, Random::new(seed ^ (i << 20))))
        .collect();
    // Whose round is when does not change, so that one order is that of all periods.
    let mut order: Vec<_> = (0..nodes).collect();
    order.sort_by_key(|&i| gossips[i].due());
    let mut ages = Vec::new();
    let mut message = [Entry::default(); MAX_WINDOW];
    let (mut sent, mut reads) = (0_u64, 0_u64);
    for round in 0..ROUNDS.0 + ROUNDS.1 {
        for &me in &order {
            let now = gossips[me].due();
            let Some(draw) = gossips[me].round(now, nodes as u32 - 1) else {
                continue;
            };
            let own = Record {
                node: Node(me as u16),
                version: round + 1,
                cpus: 1,
                mhz: 1_000,
                memory_kib: 1,
                ..Record::default()
            };
            let count = gossips[me].fill(now, &own, &tables[me], &mut message);
            sent += 1;
            let to = draw as usize + usize::from(draw as usize >= me);
            for entry in &message[..count] {
                gossips[to].receive(now, Node(to as u16), entry, &mut tables[to]);
            }
        }
        if round >= ROUNDS.0 {
            // Of at most 500 nodes, evenly spaced.
            for table in tables.iter().step_by(nodes.div_ceil(500)) {
                reads += 1;
                ages.extend(table.iter((round + 1) * period).map(|known| known.age_ms));
            }
        }
    }
    ages.sort_unstable();
    let rounds = |ms: u64| ms as f64 / period as f64;
    Spread {
        nodes,
        known: ages.len() as f64 / reads.max(1) as f64,
        mean: ages.iter().sum::<u64>() as f64 / ages.len().max(1) as f64 / period as f64,
        p99: rounds(ages.get(ages.len() * 99 / 100).copied().unwrap_or(0)),
        greatest: rounds(ages.last().copied().unwrap_or(0)),
        messages: sent as f64 / nodes as f64 / (ROUNDS.0 + ROUNDS.1) as f64,
    }
}
