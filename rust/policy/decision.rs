// SPDX-License-Identifier: GPL-2.0

//! What a policy answers: one [`Decision`] per question, with its reason and the figures that led to it, so that it can
//! be traced and told later.

use crate::fixed::Fixed;
use crate::record::Node;

/// Why. The numbers are stable: they go into traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// The policy is `none`.
    PolicyNone = 1,
    /// It is this node's turn in the ring.
    OwnTurn = 2,
    /// It is that node's turn in the ring.
    Turn = 3,
    /// No other node is known, allowed and fresh enough.
    NoCandidate = 4,
    /// The process cannot or may not be moved.
    NotMovable = 5,
    /// It ends too soon to be worth it.
    TooShort = 6,
    /// This node is the best.
    BestHere = 7,
    /// That node is better.
    Better = 8,
    /// This node's load is under the threshold.
    UnderThreshold = 9,
    /// The last move from here was too short a time ago.
    Interval = 10,
    /// The process has been here for too short a time.
    Residency = 11,
    /// Another node is better, but not by so much as hysteresis wants.
    Hysteresis = 12,
    /// The move would cost more than it gains.
    CostsMore = 13,
    /// This node's load exceeds its ideal, and that one's is below.
    AboveIdeal = 14,
    /// This node's load does not exceed its ideal by enough.
    NearIdeal = 15,
    /// Memory runs short here, and that node has it.
    Ushering = 16,
    /// Memory runs short here, and no node has enough.
    NoMemory = 17,
    /// No process here may be moved.
    NoVictim = 18,
    /// That node takes no processes.
    Closed = 19,
    /// That node has become busier than was known.
    Busier = 20,
    /// That node keeps no more places.
    NoPlace = 21,
}

impl Reason {
    /// In words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::PolicyNone => "the policy moves nothing",
            Self::OwnTurn => "it is this node's turn",
            Self::Turn => "it is that node's turn",
            Self::NoCandidate => "no other node is known, allowed and fresh enough",
            Self::NotMovable => "the process cannot or may not be moved",
            Self::TooShort => "it ends too soon",
            Self::BestHere => "this node is the best",
            Self::Better => "that node is better",
            Self::UnderThreshold => "this node's load is under the threshold",
            Self::Interval => "the last move was too short a time ago",
            Self::Residency => "it has been here for too short a time",
            Self::Hysteresis => "the other node is not better by enough",
            Self::CostsMore => "the move would cost more than it gains",
            Self::AboveIdeal => "this node is above its ideal load, that one below",
            Self::NearIdeal => "this node is near its ideal load",
            Self::Ushering => "memory runs short here, that node has it",
            Self::NoMemory => "memory runs short here, and no node has enough",
            Self::NoVictim => "no process here may be moved",
            Self::Closed => "that node takes no processes",
            Self::Busier => "that node has become busier than was known",
            Self::NoPlace => "that node keeps no more places",
        }
    }
}

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs on here.
    Stay,
    /// It goes there.
    Move(Node),
}

/// The figures that led to a decision; what the policy does not use is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Load of this node.
    pub here_tasks: u32,
    /// Load of the best other, as it was known.
    pub there_tasks: u32,
    /// Age of that.
    pub there_age_ms: u64,
    /// What the task costs here, in the policy's measure.
    pub here_cost: Fixed,
    /// What it would cost there.
    pub there_cost: Fixed,
    /// What the process gains by the move, in ms.
    pub gain_ms: u64,
    /// For how long it would stand still.
    pub move_ms: u64,
    /// Load up to which the target would still be the right one: for the request to it.
    pub bearable: u32,
    /// Nodes that were looked at.
    pub considered: u16,
    /// Nodes that were left out: unknown to the membership, closed, blacklisted, too old, without room.
    pub left_out: u16,
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Which process; 0 if it is about none.
    pub task: u64,
    /// Where to.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// From what.
    pub inputs: Inputs,
}

impl Decision {
    /// It stays.
    pub const fn stay(task: u64, reason: Reason, inputs: Inputs) -> Self {
        Self {
            task,
            verdict: Verdict::Stay,
            reason,
            inputs,
        }
    }

    /// It goes to `node`.
    pub const fn go(task: u64, node: Node, reason: Reason, inputs: Inputs) -> Self {
        Self {
            task,
            verdict: Verdict::Move(node),
            reason,
            inputs,
        }
    }

    /// Where it goes, if it goes.
    pub const fn target(&self) -> Option<Node> {
        match self.verdict {
            Verdict::Stay => None,
            Verdict::Move(node) => Some(node),
        }
    }
}
