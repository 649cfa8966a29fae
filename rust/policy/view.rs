// SPDX-License-Identifier: GPL-2.0

//! What a policy sees when it is asked: made anew for each question by the owner of its parts.

use crate::decision::{Inputs, Reason};
use crate::filters::Limits;
use crate::probes::{Link, Task};
use crate::record::{Node, Record};
use crate::table::{Known, Row, Table};
use core::ops::DerefMut;

/// One node's view of the cluster.
pub struct View<'a, T> {
    /// The time.
    pub now: u64,
    /// Nodes of the cluster, this one too.
    pub nodes: u32,
    /// This node as it measured itself just now.
    pub here: Record,
    /// What it knows of the others, and what it sends there.
    pub table: &'a mut Table<T>,
    /// The filters.
    pub limits: &'a mut Limits,
    /// The link to the others.
    pub link: Link,
    /// Whether a node is a member and may take this node's processes (CPU features, kernel).
    pub permitted: &'a dyn Fn(Node) -> bool,
}

impl<T: DerefMut<Target = [Row]>> View<'_, T> {
    /// Whether what is known of a node may be used.
    pub fn is_candidate(&self, known: &Known) -> bool {
        let node = known.record.node;
        node != self.here.node
            && !known.record.closed
            && known.age_ms <= self.limits.stale_ms
            && !self.limits.blacklist.contains(node)
            && (self.permitted)(node)
    }

    /// The nodes to which something may go.
    pub fn candidates(&self) -> impl Iterator<Item = Known> + '_ {
        let all = self.table.iter(self.now);
        all.filter(|known| self.is_candidate(known))
    }

    /// The first candidate after `after` in the ring of node numbers that is `wanted`; this node itself is not among them.
    pub fn next_in_ring(
        &self,
        after: Node,
        mut wanted: impl FnMut(&Known) -> bool,
    ) -> Option<Known> {
        let mut next: Option<(u16, Known)> = None;
        for known in self.candidates() {
            let distance = known.record.node.0.wrapping_sub(after.0).wrapping_sub(1);
            if next.is_none_or(|(least, _)| distance < least) && wanted(&known) {
                next = Some((distance, known));
            }
        }
        next.map(|(_, known)| known)
    }

    /// The figures of a decision that is not about another node.
    pub fn inputs(&self) -> Inputs {
        let known = self.table.iter(self.now).count();
        let considered = self.candidates().count();
        Inputs {
            here_tasks: self.here.tasks,
            considered: considered.min(usize::from(u16::MAX)) as u16,
            left_out: known.saturating_sub(considered).min(usize::from(u16::MAX)) as u16,
            ..Inputs::default()
        }
    }

    /// The figures of one that is.
    pub fn inputs_with(&self, there: &Known) -> Inputs {
        Inputs {
            there_tasks: there.record.tasks,
            there_age_ms: there.age_ms,
            ..self.inputs()
        }
    }

    /// A task goes there: it counts there, and no longer here, from now on.
    pub fn sent(&mut self, task: &Task, to: Node) {
        self.table.charge(self.now, to, task.load, task.rss_kib);
        self.here = self.here.without(task.load, task.rss_kib);
        self.limits.moved(self.now);
    }

    /// A task that has not started goes there.
    pub fn placed(&mut self, task: &Task, to: Node) {
        self.table.charge(self.now, to, task.load, task.rss_kib);
    }

    /// Why none of these processes can be a victim.
    pub fn why_none(&self, tasks: &[Task]) -> Reason {
        let mut why = tasks
            .iter()
            .filter_map(|task| self.limits.may_leave(task).err());
        match why.next() {
            Some(first) if why.all(|reason| reason == first) => first,
            _ => Reason::NoVictim,
        }
    }
}
