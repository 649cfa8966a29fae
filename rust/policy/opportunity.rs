// SPDX-License-Identifier: GPL-2.0

//! `opportunity_cost`, the default: a process goes where it raises the sum of all costs least. One per node.
//!
//! ```text
//!   cost(m) = cpu(m) + weight · (n^(used memory / memory) - 1) / n
//!   cpu(m)  = tasks(m) · stretch(m)     stretch(m) = max(1, tasks(m) / cpus(m)) · 1000 / MHz(m)     (`Stretch`)
//!           = n^(tasks(m) / speed(m) / greatest such load, up to a power of 2)                      (`Exponential`)
//! ```
//!
//! n: nodes of the cluster. The published rule takes n^(used / greatest) for each resource, which knows loads but not how fast
//! a single process runs at low load: an idle slow node with many CPUs is then better than a fast one with a free CPU. `Stretch` is
//! the time for which all tasks there run per second of work: free CPUs cost as much as they are slow, and a CPU that
//! is shared costs what those lose who share it. Memory keeps the published form.
//!
//! When memory runs short, balance of CPUs waits: the smallest process that is big enough goes to the node where it leaves least.

use crate::decision::{Decision, Inputs, Reason};
use crate::fixed::{scale, Fixed};
use crate::probes::Task;
use crate::record::{Record, TASK};
use crate::table::{Known, Row};
use crate::view::View;
use core::ops::DerefMut;

/// What use of CPUs costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuCost {
    /// The time for which tasks run per second of work.
    Stretch,
    /// As published.
    Exponential,
}

/// The tunables.
#[derive(Clone, Debug)]
pub struct OpportunityCost {
    /// How CPUs count.
    pub cpu: CpuCost,
    /// Cost of full memory, in hundredths of a task on a free CPU of 1 GHz; 0 to 100,000.
    pub memory_weight: u32,
    /// CPU time that a new process is expected to use if nothing is known of its program; 0 to 600,000 ms.
    pub unknown_life_ms: u64,
    /// Programs that use less are started where they are asked for; 0 to 60,000 ms.
    pub short_life_ms: u64,
    /// Most moves in a round; 1 to 64.
    pub moves: u32,
    /// Free memory under which processes are moved away for its sake, in hundredths of all; 0 to 50.
    pub low_memory: u32,
}

/// Costs of one moment: what is the same for all nodes.
struct Scale {
    nodes: u32,
    /// Exponents are of base 2: its logarithm, once.
    log: Fixed,
    /// Greatest load of a node of 1 MHz, up to a power of two.
    most: Fixed,
}

impl OpportunityCost {
    /// What is used unless set otherwise.
    pub const DEFAULT: Self = Self {
        cpu: CpuCost::Stretch,
        memory_weight: 200,
        unknown_life_ms: 1_000,
        short_life_ms: 20,
        moves: 4,
        low_memory: 5,
    };

    fn scale<T>(&self, view: &View<'_, T>) -> Scale
    where
        T: DerefMut<Target = [Row]>,
    {
        let nodes = view.nodes.max(8);
        let mut most = Fixed::ONE;
        if self.cpu == CpuCost::Exponential {
            let others = view.candidates().map(|known| load(&known.record));
            let greatest = others.fold(load(&view.here), Fixed::max);
            while most < greatest && most < Fixed::whole(u32::MAX) {
                most = most.plus(most);
            }
        }
        Scale {
            nodes,
            log: Fixed::log2(nodes),
            most,
        }
    }

    fn cpu_cost(&self, scale: &Scale, node: &Record) -> Fixed {
        match self.cpu {
            CpuCost::Stretch => Fixed::ratio(node.tasks.into(), TASK.into()).times(stretch(node)),
            CpuCost::Exponential => {
                let part = Fixed::ratio(load(node).raw(), scale.most.raw());
                scale.log.times(part).exp2()
            }
        }
    }

    /// `weight · n^(used / memory) / n`: the weight itself where memory is full.
    fn memory_cost(&self, scale: &Scale, used_kib: u64, memory_kib: u64) -> Fixed {
        let part = Fixed::ratio(used_kib, memory_kib);
        let power = scale.log.times(part).exp2();
        let weighted = power.percent(self.memory_weight);
        Fixed::ratio(weighted.raw(), Fixed::whole(scale.nodes).raw())
    }

    /// By how much a task raises the cost of a node that does not have it.
    fn rise(&self, scale: &Scale, without: &Record, task: &Task) -> Fixed {
        let with = without.with(task.load, task.rss_kib);
        let cpu = self
            .cpu_cost(scale, &with)
            .minus(self.cpu_cost(scale, without));
        // Memory can be used that is not there: the records stop at all of it.
        let used = without.used_kib();
        let before = self.memory_cost(scale, used, without.memory_kib);
        let after = self.memory_cost(scale, used.saturating_add(task.rss_kib), without.memory_kib);
        cpu.plus(after.minus(before))
    }

    /// The load up to which the choice of a target stays right: as believed and half a task more, or a free CPU.
    fn bearable(target: &Record) -> u32 {
        let free = u32::from(target.cpus)
            .saturating_sub(1)
            .saturating_mul(TASK);
        target.tasks.saturating_add(TASK >> 1).max(free)
    }

    /// Where a new process starts.
    pub fn place<T>(&mut self, view: &mut View<'_, T>, task: &Task) -> Decision
    where
        T: DerefMut<Target = [Row]>,
    {
        let life = task.life_ms.unwrap_or(self.unknown_life_ms);
        if life < self.short_life_ms {
            return Decision::stay(task.id, Reason::TooShort, view.inputs());
        }
        let scale = self.scale(view);
        let me = view.here.node;
        let best = view
            .candidates()
            .map(|known| (self.rise(&scale, &known.record, task), known))
            // Of equal ones the next in the ring, so that not all nodes choose the same.
            .min_by_key(|(cost, known)| (*cost, known.record.node.0.wrapping_sub(me.0)));
        let Some((there_cost, target)) = best else {
            return Decision::stay(task.id, Reason::NoCandidate, view.inputs());
        };
        let here_cost = self.rise(&scale, &view.here, task);
        let gain_ms = gain(
            &view.here.with(task.load, 0),
            &target.record.with(task.load, 0),
            life,
        );
        let inputs = Inputs {
            here_cost,
            there_cost,
            gain_ms,
            move_ms: view.link.move_ms(task.move_kib),
            bearable: Self::bearable(&target.record),
            ..view.inputs_with(&target)
        };
        if there_cost >= here_cost {
            return Decision::stay(task.id, Reason::BestHere, inputs);
        }
        let node = target.record.node;
        // Where memory is the reason, time is not what is gained.
        let short_here = view.here.free_kib < task.rss_kib;
        if inputs.gain_ms <= inputs.move_ms && !short_here {
            return Decision::stay(task.id, Reason::CostsMore, inputs);
        }
        view.placed(task, node);
        Decision::go(task.id, node, Reason::Better, inputs)
    }

    /// Which of the processes here move; `act` gets each decision.
    pub fn balance<T>(
        &mut self,
        view: &mut View<'_, T>,
        tasks: &mut [Task],
        act: &mut impl FnMut(Decision),
    ) where
        T: DerefMut<Target = [Row]>,
    {
        if view.here.free_kib < self.low_kib(&view.here) {
            return act(self.usher(view, tasks));
        }
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
        if let Err(reason) = view.limits.may_begin(view.now, &view.here) {
            return act(stay(view, reason));
        }
        let mut left = tasks;
        for turn in 0..self.moves {
            match self.best_move(view, left) {
                Err(decision) if turn == 0 => return act(decision),
                Err(_) => return,
                Ok((at, decision)) => {
                    if let (Some(task), Some(node)) = (left.get(at).copied(), decision.target()) {
                        view.sent(&task, node);
                        act(decision);
                    }
                    let last = left.len().saturating_sub(1);
                    if at < left.len() {
                        left.swap(at, last);
                    }
                    let Some(rest) = left.get_mut(..last) else {
                        return;
                    };
                    left = rest;
                }
            }
        }
    }

    /// The move that gains most, and which of the tasks it is; or why there is none.
    fn best_move<T>(
        &self,
        view: &View<'_, T>,
        tasks: &[Task],
    ) -> Result<(usize, Decision), Decision>
    where
        T: DerefMut<Target = [Row]>,
    {
        let mut none = Decision::stay(0, view.why_none(tasks), view.inputs());
        let mut best: Option<(u64, usize, Decision)> = None;
        let scale = self.scale(view);
        let here = view.here;
        let fastest = view
            .candidates()
            .map(|known| stretch(&known.record.with(TASK, 0)))
            .min();
        let Some(fastest) = fastest else {
            return Err(Decision::stay(0, Reason::NoCandidate, view.inputs()));
        };
        for (at, task) in tasks
            .iter()
            .enumerate()
            .filter(|(_, task)| view.limits.may_leave(task).is_ok())
        {
            let move_ms = view.link.move_ms(task.move_kib);
            let remaining = task.remaining_ms();
            let hurdle = scale_up(move_ms, view.limits.hysteresis);
            // Most tasks are done with here: no node is good enough.
            if time(&here, stretch(&here), remaining)
                .saturating_sub(time(&here, fastest, remaining))
                <= hurdle
            {
                if none.reason == Reason::NoVictim {
                    none = Decision::stay(task.id, Reason::CostsMore, none.inputs);
                }
                continue;
            }
            let without = here.without(task.load, task.rss_kib);
            let here_cost = self.rise(&scale, &without, task);
            for known in view.candidates() {
                let gain_ms = gain(&here, &known.record.with(task.load, 0), remaining);
                if gain_ms <= hurdle {
                    continue;
                }
                let there_cost = self.rise(&scale, &known.record, task);
                if let Err(reason) = view.limits.is_better(here_cost, there_cost) {
                    none = Decision::stay(task.id, reason, none.inputs);
                    continue;
                }
                let worth = gain_ms.saturating_sub(move_ms);
                if best.as_ref().is_none_or(|(most, _, _)| worth > *most) {
                    let inputs = Inputs {
                        here_cost,
                        there_cost,
                        gain_ms,
                        move_ms,
                        bearable: Self::bearable(&known.record),
                        there_tasks: known.record.tasks,
                        there_age_ms: known.age_ms,
                        ..none.inputs
                    };
                    let decision = Decision::go(task.id, known.record.node, Reason::Better, inputs);
                    best = Some((worth, at, decision));
                }
            }
        }
        best.map(|(_, at, decision)| (at, decision)).ok_or(none)
    }

    fn low_kib(&self, node: &Record) -> u64 {
        scale(node.memory_kib, self.low_memory.into(), 100)
    }

    /// Memory runs short here: the smallest process that is big enough, else the biggest, to the node where it leaves least but
    /// enough.
    fn usher<T>(&self, view: &mut View<'_, T>, tasks: &[Task]) -> Decision
    where
        T: DerefMut<Target = [Row]>,
    {
        // As much again as the threshold, so that it does not run short at once.
        let missing = self
            .low_kib(&view.here)
            .saturating_mul(2)
            .saturating_sub(view.here.free_kib);
        let mut any = false;
        let mut chosen: Option<(&Task, Known)> = None;
        for task in tasks
            .iter()
            .filter(|task| view.limits.may_leave(task).is_ok())
        {
            any = true;
            let fits = |known: &Known| {
                let needed = task
                    .rss_kib
                    .saturating_add(self.low_kib(&known.record).saturating_mul(2));
                known.record.free_kib >= needed
            };
            let better = chosen.is_none_or(|(old, _)| {
                match (old.rss_kib >= missing, task.rss_kib >= missing) {
                    (true, true) => task.rss_kib < old.rss_kib,
                    (false, false) => task.rss_kib > old.rss_kib,
                    (old_is_enough, _) => !old_is_enough,
                }
            });
            if better {
                let tightest = view
                    .candidates()
                    .filter(fits)
                    .min_by_key(|known| known.record.free_kib);
                chosen = tightest.map(|known| (task, known)).or(chosen);
            }
        }
        let Some((task, known)) = chosen else {
            let reason = if any {
                Reason::NoMemory
            } else {
                view.why_none(tasks)
            };
            return Decision::stay(0, reason, view.inputs());
        };
        let task = *task;
        let inputs = Inputs {
            move_ms: view.link.move_ms(task.move_kib),
            bearable: u32::MAX,
            ..view.inputs_with(&known)
        };
        let node = known.record.node;
        view.sent(&task, node);
        Decision::go(task.id, node, Reason::Ushering, inputs)
    }
}

/// Tasks for the speed of all CPUs, as published; in tasks on a node of one CPU of 1 GHz.
fn load(node: &Record) -> Fixed {
    let speed = u64::from(node.mhz).saturating_mul(node.cpus.into());
    Fixed::ratio(node.tasks.into(), speed)
}

/// Seconds for which a task runs there per second of work on a free CPU of 1 GHz.
fn stretch(node: &Record) -> Fixed {
    let speed = Fixed::ratio(1_000, node.mhz.into());
    Fixed::ratio(node.per_cpu().into(), TASK.into())
        .max(Fixed::ONE)
        .times(speed)
}

/// How long `cpu_ms` of work, measured on CPUs of `here`, takes at that stretch.
fn time(here: &Record, stretch: Fixed, cpu_ms: u64) -> u64 {
    let rate = scale(stretch.raw(), here.mhz.into(), 1_000);
    scale(cpu_ms, rate, Fixed::ONE.raw())
}

/// What a task with so much work left gains there, in ms; both nodes' loads with the task.
fn gain(here: &Record, there: &Record, cpu_ms: u64) -> u64 {
    time(here, stretch(here), cpu_ms).saturating_sub(time(here, stretch(there), cpu_ms))
}

fn scale_up(ms: u64, percent: u32) -> u64 {
    scale(ms, u64::from(percent).saturating_add(100), 100)
}
