// SPDX-License-Identifier: GPL-2.0

//! `legacy`: what Kerrighed does by default. New processes go round the ring; a node whose mean load is at or above a
//! threshold moves one process to the node with the least load, if that is less even with the process. One per node.
//!
//! It knows nothing of the number and speed of CPUs, nor of memory: that is its rule, kept for comparison.

use crate::decision::{Decision, Inputs, Reason};
use crate::fixed::scale;
use crate::probes::Task;
use crate::round_robin::RoundRobin;
use crate::table::Row;
use crate::view::View;
use core::ops::DerefMut;

/// The tunables and the ring.
#[derive(Clone, Debug)]
pub struct Legacy {
    /// Mean load from which on a node acts, in thousandths of a task; 100 to 1,000,000.
    pub threshold: u32,
    /// Time between two moves; 100 to 600,000 ms.
    pub interval_ms: u64,
    /// What counts of the process's load at the target, in hundredths; 100 to 1,000.
    pub stabilisation: u32,
    ring: RoundRobin,
    moved: Option<u64>,
}

impl Legacy {
    /// As Kerrighed has them.
    pub const DEFAULT: Self = Self {
        threshold: 1_500,
        interval_ms: 2_000,
        stabilisation: 130,
        ring: RoundRobin::new(),
        moved: None,
    };

    /// Where a new process starts.
    pub fn place<T>(&mut self, view: &mut View<'_, T>, task: &Task) -> Decision
    where
        T: DerefMut<Target = [Row]>,
    {
        self.ring.place(view, task)
    }

    /// Which of the processes here moves, if one does.
    pub fn balance<T>(&mut self, view: &mut View<'_, T>, tasks: &[Task]) -> Decision
    where
        T: DerefMut<Target = [Row]>,
    {
        let here = view.here;
        let stay = |task, reason| {
            Decision::stay(
                task,
                reason,
                Inputs {
                    here_tasks: here.mean,
                    ..Inputs::default()
                },
            )
        };
        if here.mean < self.threshold {
            return stay(0, Reason::UnderThreshold);
        }
        let waits = self
            .moved
            .is_some_and(|then| view.now.saturating_sub(then) < self.interval_ms);
        if waits {
            return stay(0, Reason::Interval);
        }
        if let Err(reason) = view.limits.may_begin(view.now, &here) {
            return stay(0, reason);
        }
        let Some(victim) = second_highest(
            tasks
                .iter()
                .filter(|task| view.limits.may_leave(task).is_ok()),
        ) else {
            return stay(0, view.why_none(tasks));
        };
        let least = view
            .candidates()
            .min_by_key(|known| (known.record.upper, known.record.node));
        let Some(target) = least else {
            return stay(victim.id, Reason::NoCandidate);
        };
        let counted = scale(victim.load.into(), self.stabilisation.into(), 100);
        let expected = u64::from(target.record.upper).saturating_add(counted);
        let mut inputs = view.inputs_with(&target);
        inputs.here_tasks = here.mean;
        inputs.there_tasks = target.record.upper;
        // It asks nobody.
        inputs.bearable = u32::MAX;
        if expected >= here.mean.into() {
            return Decision::stay(victim.id, Reason::BestHere, inputs);
        }
        self.moved = Some(view.now);
        let node = target.record.node;
        view.sent(victim, node);
        Decision::go(victim.id, node, Reason::Better, inputs)
    }
}

/// The process with the second highest load; the highest if there is but one.
fn second_highest<'a>(tasks: impl Iterator<Item = &'a Task>) -> Option<&'a Task> {
    let (mut first, mut second): (Option<&Task>, Option<&Task>) = (None, None);
    for task in tasks {
        if first.is_none_or(|first| task.load > first.load) {
            second = first;
            first = Some(task);
        } else if second.is_none_or(|second| task.load > second.load) {
            second = Some(task);
        }
    }
    second.or(first)
}
