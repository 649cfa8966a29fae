// SPDX-License-Identifier: GPL-2.0

//! `round_robin`: each new process goes to the next node in the ring, this one included; what runs stays. One per node.
//! It looks at no load; what all others are compared with.

use crate::decision::{Decision, Reason};
use crate::probes::Task;
use crate::record::Node;
use crate::table::Row;
use crate::view::View;
use core::ops::DerefMut;

/// Where the ring stands.
#[derive(Clone, Debug, Default)]
pub struct RoundRobin {
    last: Option<Node>,
}

impl RoundRobin {
    /// Begins with the node after this one.
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// Where a new process starts.
    pub fn place<T>(&mut self, view: &mut View<'_, T>, task: &Task) -> Decision
    where
        T: DerefMut<Target = [Row]>,
    {
        let me = view.here.node;
        let last = self.last.unwrap_or(me);
        let Some(next) = view.next_in_ring(last, |_| true) else {
            return Decision::stay(task.id, Reason::NoCandidate, view.inputs());
        };
        let distance = |node: Node| node.0.wrapping_sub(last.0).wrapping_sub(1);
        let node = next.record.node;
        if distance(me) < distance(node) {
            self.last = Some(me);
            return Decision::stay(task.id, Reason::OwnTurn, view.inputs());
        }
        self.last = Some(node);
        let mut inputs = view.inputs_with(&next);
        inputs.bearable = u32::MAX;
        view.placed(task, node);
        Decision::go(task.id, node, Reason::Turn, inputs)
    }
}
