// SPDX-License-Identifier: GPL-2.0

//! What came of one workload under one policy; those of several workloads are added up.

use crate::workload::SECOND;

/// Slots of the histogram of ages, of a tenth of a second each.
const SLOTS: usize = 1_200;

/// Ages of records, counted.
#[derive(Clone, Debug)]
pub struct Ages {
    slots: Vec<u64>,
    sum_ms: u64,
    count: u64,
}

impl Default for Ages {
    fn default() -> Self {
        Self {
            slots: vec![0; SLOTS],
            sum_ms: 0,
            count: 0,
        }
    }
}

impl Ages {
    pub fn add(&mut self, age_ms: u64) {
        let slot = (age_ms / 100).min(SLOTS as u64 - 1);
        self.slots[slot as usize] += 1;
        self.sum_ms += age_ms;
        self.count += 1;
    }

    fn join(&mut self, other: &Self) {
        for (ours, theirs) in self.slots.iter_mut().zip(&other.slots) {
            *ours += theirs;
        }
        self.sum_ms += other.sum_ms;
        self.count += other.count;
    }

    /// In seconds.
    pub fn mean(&self) -> f64 {
        self.sum_ms as f64 / 1_000.0 / self.count.max(1) as f64
    }

    /// In seconds, to the next tenth.
    pub fn percentile(&self, percent: u64) -> f64 {
        let mut left = self.count * percent / 100;
        for (slot, &count) in self.slots.iter().enumerate() {
            if count > left {
                return (slot + 1) as f64 / 10.0;
            }
            left -= count;
        }
        0.0
    }
}

/// Counts and figures.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Of each process, relative to the fastest CPU of the cluster alone.
    pub slowdowns: Vec<f64>,
    /// Processes that were started on another node, and that were moved while they ran.
    pub placed: u64,
    pub moved: u64,
    /// Most moves of one process, and moves that came before the minimum residency was over: there must be none.
    pub most_moves: u32,
    pub too_early: u64,
    /// Requests that a target refused, and those that went to a dead node.
    pub refused: u64,
    pub failed: u64,
    pub bytes: u64,
    pub gossip_messages: u64,
    pub request_messages: u64,
    /// Started again since their node or home died; not ended when the simulation did.
    pub restarted: u64,
    pub unfinished: u64,
    /// Of all records in the tables.
    pub ages: Ages,
    /// Seconds until all had ended, times nodes.
    pub node_seconds: f64,
}

impl Outcome {
    pub fn join(&mut self, other: &Self) {
        self.slowdowns.extend(&other.slowdowns);
        self.placed += other.placed;
        self.moved += other.moved;
        self.most_moves = self.most_moves.max(other.most_moves);
        self.too_early += other.too_early;
        self.refused += other.refused;
        self.failed += other.failed;
        self.bytes += other.bytes;
        self.gossip_messages += other.gossip_messages;
        self.request_messages += other.request_messages;
        self.restarted += other.restarted;
        self.unfinished += other.unfinished;
        self.ages.join(&other.ages);
        self.node_seconds += other.node_seconds;
    }

    pub fn mean(&self) -> f64 {
        self.slowdowns.iter().sum::<f64>() / self.slowdowns.len().max(1) as f64
    }

    /// The slowdown that so many hundredths of the processes do not exceed.
    pub fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.slowdowns.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted
            .get((sorted.len() * percent / 100).min(last))
            .copied()
            .unwrap_or(0.0)
    }

    pub fn messages_per_node_second(&self) -> f64 {
        (self.gossip_messages + self.request_messages) as f64 / self.node_seconds.max(1e-9)
    }

    pub fn gossip_per_node_second(&self) -> f64 {
        self.gossip_messages as f64 / self.node_seconds.max(1e-9)
    }

    pub fn lasted(&mut self, until: u64, nodes: usize) {
        self.node_seconds = until as f64 / SECOND as f64 * nodes as f64;
    }
}
