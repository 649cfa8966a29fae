// SPDX-License-Identifier: GPL-2.0

//! `rbt`: a node's load is its tasks divided by its speed, weighted by the users that sit at it; all tasks of the
//! cluster, dealt out greedily, give each node an ideal load, and who is above it moves small processes to the next nodes
//! in the ring that are below theirs. One per node.
//!
//! ```text
//!   inc(m)  = (1 + K·users(m)) · M / (MHz(m) · cpus(m))       load(m) = tasks(m) · inc(m)
//!   ideal: again and again, one task to argmin(ideal(m) + inc(m))
//! ```
//!
//! Its first implementation herded: it did not count its own moves until the next reading. Here each move counts at once at both
//! ends, ideals are those of the nodes to which something may go, what is unset or too old is left out, and nothing stops for good.

use crate::decision::{Decision, Inputs, Reason};
use crate::fixed::scale;
use crate::probes::Task;
use crate::record::{Record, TASK};
use crate::table::Row;
use crate::view::View;
use core::ops::DerefMut;

/// M: what one task is on a node with one CPU of 1 MHz. Greater than the published 10^6, since loads are whole here.
const M: u64 = 1_000_000_000_000;

/// The tunables.
#[derive(Clone, Debug)]
pub struct Rbt {
    /// K: how many times as busy each user makes a node; 0 to 100.
    pub users: u32,
    /// Time between two rounds; 100 to 600,000 ms.
    pub interval_ms: u64,
    /// Most moves in a round; 1 to 64.
    pub moves: u32,
    ran: Option<u64>,
}

/// How tasks would be dealt out.
struct Ideal {
    /// The greatest level at which all nodes filled up to it hold no more than there are.
    level: u64,
    /// Tasks that are left for those whose next one ends just above the level.
    left: u64,
}

impl Rbt {
    /// As published.
    pub const DEFAULT: Self = Self {
        users: 1,
        interval_ms: 5_000,
        moves: 16,
        ran: None,
    };

    /// The load that one task is on that node; at least 1.
    pub fn inc(&self, node: &Record) -> u64 {
        let speed = u64::from(node.mhz).saturating_mul(node.cpus.into());
        let busy = u64::from(self.users)
            .saturating_mul(node.users.into())
            .saturating_add(1);
        scale(M, busy, speed).max(1)
    }

    fn ideal<T>(&self, view: &View<'_, T>, more: u64) -> Ideal
    where
        T: DerefMut<Target = [Row]>,
    {
        let total: u64 = self
            .nodes(view)
            .map(|node| u64::from(node.tasks))
            .fold(0, u64::saturating_add);
        // Halves are tasks, so that what is a little under a whole does not vanish.
        let tasks = whole(total).saturating_add(more);
        let filled = |level: u64| {
            let each = self
                .nodes(view)
                .map(|node| level.checked_div(self.inc(&node)).unwrap_or(0));
            each.fold(0, u64::saturating_add)
        };
        // `low` holds no more than there are; `high` holds more, since this node alone does.
        let (mut low, mut high) = (
            0_u64,
            self.inc(&view.here).saturating_mul(tasks.saturating_add(1)),
        );
        while high.saturating_sub(low) > 1 {
            let middle = low.saturating_add(high.saturating_sub(low) >> 1);
            if filled(middle) <= tasks {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ideal {
            level: low,
            left: tasks.saturating_sub(filled(low)),
        }
    }

    /// This node and all to which something may go.
    fn nodes<'v, T>(&self, view: &'v View<'_, T>) -> impl Iterator<Item = Record> + 'v
    where
        T: DerefMut<Target = [Row]>,
    {
        core::iter::once(view.here).chain(view.candidates().map(|known| known.record))
    }

    /// The tasks that a node would ideally have.
    fn share<T>(&self, view: &View<'_, T>, ideal: &Ideal, node: &Record) -> u64
    where
        T: DerefMut<Target = [Row]>,
    {
        let next = ideal.level.saturating_add(1);
        let ends_there = |other: &Record| next.checked_rem(self.inc(other)) == Some(0);
        let share = ideal.level.checked_div(self.inc(node)).unwrap_or(0);
        if ideal.left == 0 || !ends_there(node) {
            return share;
        }
        // Those at the same level are served by number.
        let before = self
            .nodes(view)
            .filter(|other| other.node < node.node && ends_there(other))
            .count();
        let extra = (before as u64) < ideal.left;
        share.saturating_add(extra.into())
    }

    /// The tasks that each node would ideally have, this one first: for tests and to be shown.
    pub fn shares<T>(&self, view: &View<'_, T>, tell: &mut impl FnMut(&Record, u64))
    where
        T: DerefMut<Target = [Row]>,
    {
        let ideal = self.ideal(view, 0);
        for node in self.nodes(view) {
            tell(&node, self.share(view, &ideal, &node));
        }
    }

    /// Where a new process starts.
    pub fn place<T>(&mut self, view: &mut View<'_, T>, task: &Task) -> Decision
    where
        T: DerefMut<Target = [Row]>,
    {
        let ideal = self.ideal(view, 1);
        let below =
            |node: &Record| u64::from(node.tasks) < thousandths(self.share(view, &ideal, node));
        if below(&view.here) {
            return Decision::stay(task.id, Reason::BestHere, view.inputs());
        }
        let Some(next) = view.next_in_ring(view.here.node, |known| below(&known.record)) else {
            return Decision::stay(task.id, Reason::NoCandidate, view.inputs());
        };
        let mut inputs = view.inputs_with(&next);
        inputs.bearable = bearable(self.share(view, &ideal, &next.record));
        view.placed(task, next.record.node);
        Decision::go(task.id, next.record.node, Reason::AboveIdeal, inputs)
    }

    /// Which of the processes here move; `act` gets each decision. `tasks` is put into order of size.
    pub fn balance<T>(
        &mut self,
        view: &mut View<'_, T>,
        tasks: &mut [Task],
        act: &mut impl FnMut(Decision),
    ) where
        T: DerefMut<Target = [Row]>,
    {
        let stay = |view: &View<'_, T>, reason| {
            Decision::stay(
                0,
                reason,
                Inputs {
                    here_tasks: view.here.tasks,
                    ..Inputs::default()
                },
            )
        };
        if self
            .ran
            .is_some_and(|then| view.now.saturating_sub(then) < self.interval_ms)
        {
            return act(stay(view, Reason::Interval));
        }
        if let Err(reason) = view.limits.may_begin(view.now, &view.here) {
            return act(stay(view, reason));
        }
        self.ran = Some(view.now);
        let ideal = self.ideal(view, 0);
        let share = self.share(view, &ideal, &view.here);
        let above = whole(view.here.tasks.into()).saturating_sub(share);
        if above < u64::from(view.here.cpus).saturating_add(1) {
            return act(stay(view, Reason::NearIdeal));
        }
        tasks.sort_unstable_by_key(|task| (task.rss_kib, task.id));
        let most = above.min(self.moves.into()) as usize;
        let mut moved = 0_usize;
        let mut after = view.here.node;
        for task in tasks.iter() {
            if moved >= most {
                return;
            }
            if view.limits.may_leave(task).is_err() {
                continue;
            }
            // Deal out anew: what has just moved counts there now.
            let ideal = self.ideal(view, 0);
            let fits =
                |node: &Record| u64::from(node.tasks) < thousandths(self.share(view, &ideal, node));
            let Some(next) = view.next_in_ring(after, |known| fits(&known.record)) else {
                return act(stay(view, Reason::NoCandidate));
            };
            let node = next.record.node;
            let mut inputs = view.inputs_with(&next);
            inputs.bearable = bearable(self.share(view, &ideal, &next.record));
            view.sent(task, node);
            after = node;
            moved = moved.saturating_add(1);
            act(Decision::go(task.id, node, Reason::AboveIdeal, inputs));
        }
        if moved == 0 {
            act(Decision::stay(0, view.why_none(tasks), view.inputs()));
        }
    }
}

/// Whole tasks, rounded.
fn whole(load: u64) -> u64 {
    let half = u64::from(TASK) >> 1;
    load.saturating_add(half)
        .checked_div(TASK.into())
        .unwrap_or(0)
}

fn thousandths(tasks: u64) -> u64 {
    tasks.saturating_mul(TASK.into())
}

/// A target may not be at its ideal already.
fn bearable(share: u64) -> u32 {
    u32::try_from(thousandths(share).saturating_sub(1)).unwrap_or(u32::MAX)
}
