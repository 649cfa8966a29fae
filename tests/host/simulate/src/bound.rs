// SPDX-License-Identifier: GPL-2.0

//! What no scheduler can beat, even if it knows all that will come, may stop processes, and moves them for nothing. The
//! mean slowdown of any schedule is at least the greater of two numbers; both are computed for the workload at hand.
//!
//! *Prices.* Let each class k of CPUs (those of one speed s_k) have a price p_k >= 0 per second, up to a time T, and
//! afterwards none. A process with work W and weight w that ends before T runs for t_k seconds on CPUs of class k, with
//! sum s_k·t_k = W, one at a time; so its weighted time plus what it pays is at least sum (w + p_k)·t_k >= W · min_k (w + p_k) / s_k. One that
//! ends after T has waited for T - start at least, and its work at the greatest speed. All together cannot use more
//! than there is, so they pay at most sum p_k · (CPU seconds of class k up to T). Hence
//!
//! ```text
//!   sum w·time >= sum over processes of min(W · min_k (w + p_k) / s_k, w · max(T - start, W / s_max)) - sum p_k · seconds_k(T)
//! ```
//!
//! for any prices and any T: the best that a search finds is taken. (This is the dual of a linear program; without prices it
//! says that nothing is faster than the fastest CPU.)
//!
//! *One machine.* A single CPU as fast as all together, that gives all to the shortest process, makes the sum of
//! weighted times to the mean moment of each process's work least; a process cannot end before its mean moment plus half of
//! its work at the greatest speed. This is the better bound under overload.

use crate::workload::{Workload, SECOND};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Most classes; CPUs of further speeds are taken for faster ones, which keeps the bound true.
const CLASSES: usize = 12;

/// CPUs of one speed.
struct Class {
    speed: f64,
    cpus: f64,
    /// CPUs times seconds lost by dead machines: from, to, CPUs.
    lost: Vec<(f64, f64, f64)>,
}

impl Class {
    /// CPU seconds up to that time.
    fn seconds(&self, end: f64) -> f64 {
        let lost = self
            .lost
            .iter()
            .map(|&(from, to, cpus)| (to.min(end) - from).max(0.0) * cpus);
        self.cpus * end - lost.sum::<f64>()
    }
}

/// A process: start and work in seconds, at the reference speed.
struct Process {
    start: f64,
    work: f64,
}

/// Lower bound on the mean slowdown, relative to the fastest CPU alone.
pub fn mean_slowdown(workload: &Workload) -> f64 {
    if workload.jobs.is_empty() {
        return 1.0;
    }
    let classes = classes(workload);
    let fastest = classes[0].speed;
    let processes: Vec<_> = workload
        .jobs
        .iter()
        .map(|job| Process {
            start: job.start as f64 / SECOND as f64,
            work: job.work_ms.max(1) as f64 / 1_000.0,
        })
        .collect();
    let end = processes.iter().map(|p| p.start).fold(0.0, f64::max);
    let mut best = one_machine(&processes, &classes).max(processes.len() as f64);
    for part in [0.5, 0.8, 1.0, 1.05, 1.2, 1.5] {
        best = best.max(priced(&processes, &classes, fastest, end * part));
    }
    best / processes.len() as f64
}

/// Fastest first.
fn classes(workload: &Workload) -> Vec<Class> {
    let mut by_speed: BTreeMap<Reverse<u32>, Vec<usize>> = BTreeMap::new();
    for (number, machine) in workload.machines.iter().enumerate() {
        by_speed
            .entry(Reverse(machine.mhz))
            .or_default()
            .push(number);
    }
    let each = by_speed.len().div_ceil(CLASSES).max(1);
    let groups: Vec<_> = by_speed.into_iter().collect();
    let mut classes = Vec::new();
    for group in groups.chunks(each) {
        let members: Vec<_> = group
            .iter()
            .flat_map(|(_, machines)| machines)
            .copied()
            .collect();
        let fastest = workload.machines[members[0]];
        let cpus = |number: usize| f64::from(workload.machines[number].cpus);
        let lost = workload
            .losses
            .iter()
            .filter(|loss| members.contains(&loss.machine));
        classes.push(Class {
            speed: fastest.speed(),
            cpus: members.iter().map(|&number| cpus(number)).sum(),
            lost: lost
                .map(|loss| {
                    (
                        loss.at as f64 / SECOND as f64,
                        loss.back as f64 / SECOND as f64,
                        cpus(loss.machine),
                    )
                })
                .collect(),
        });
    }
    classes
}

/// The value for these prices.
fn value(processes: &[Process], classes: &[Class], fastest: f64, end: f64, prices: &[f64]) -> f64 {
    let mut sum = 0.0;
    for process in processes {
        let weight = fastest / process.work;
        let mut least = f64::INFINITY;
        for (class, price) in classes.iter().zip(prices) {
            least = least.min((weight + price) / class.speed);
        }
        let late = (end - process.start).max(process.work / fastest) * weight;
        sum += (process.work * least).min(late);
    }
    let paid: f64 = classes
        .iter()
        .zip(prices)
        .map(|(class, price)| class.seconds(end) * price)
        .sum();
    sum - paid
}

/// The best value that a search over prices finds: it is concave, so steps along some directions that get smaller will do.
fn priced(processes: &[Process], classes: &[Class], fastest: f64, end: f64) -> f64 {
    let mut prices = vec![0.0; classes.len()];
    let mut best = value(processes, classes, fastest, end, &prices);
    let mut step = 1.0;
    while step > 1e-5 {
        let mut better = false;
        // All classes from `from` to `to` together.
        for from in 0..classes.len() {
            for to in from..classes.len() {
                for sign in [step, -step] {
                    let mut tried = prices.clone();
                    for price in &mut tried[from..=to] {
                        *price = (*price + sign).max(0.0);
                    }
                    let value = value(processes, classes, fastest, end, &tried);
                    if value > best {
                        best = value;
                        prices = tried;
                        better = true;
                    }
                }
            }
        }
        if !better {
            step /= 4.0;
        }
    }
    best
}

/// The second number.
fn one_machine(processes: &[Process], classes: &[Class]) -> f64 {
    let fastest = classes[0].speed;
    let rate: f64 = classes.iter().map(|class| class.cpus * class.speed).sum();
    // By work, in nanoseconds; then the work that is left.
    let mut waiting: BinaryHeap<(Reverse<u64>, usize)> = BinaryHeap::new();
    let mut left: Vec<f64> = processes.iter().map(|p| p.work).collect();
    // Of each process, work times the moment at which it is done.
    let mut moments = vec![0.0; processes.len()];
    let mut now = 0.0;
    let mut next = 0;
    while next < processes.len() || !waiting.is_empty() {
        let until = processes.get(next).map_or(f64::INFINITY, |p| p.start);
        match waiting.peek().copied() {
            Some((_, at)) if now < until => {
                let spent = (left[at] / rate).min(until - now);
                let work = spent * rate;
                moments[at] += work * (now + spent / 2.0);
                left[at] -= work;
                now += spent;
                if left[at] < 1e-9 {
                    waiting.pop();
                }
            }
            _ => {
                now = until;
                waiting.push((Reverse((processes[next].work * 1e9) as u64), next));
                next += 1;
            }
        }
    }
    let times = processes.iter().zip(moments).map(|(process, moment)| {
        let mean = moment / process.work - process.start;
        (mean * fastest / process.work + 0.5).max(0.5)
    });
    times.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Job, Machine};

    fn job(start_ms: u64, work_ms: u64) -> Job {
        Job {
            start: start_ms * 1_000,
            home: 0,
            work_ms,
            rss_kib: 1,
            program: 1,
        }
    }

    fn machine(cpus: u16, mhz: u32) -> Machine {
        Machine {
            cpus,
            mhz,
            memory_kib: 1 << 20,
        }
    }

    #[test]
    fn nothing_is_faster_than_alone() {
        let workload = Workload {
            machines: vec![machine(4, 3_000)],
            jobs: vec![job(0, 1_000), job(0, 500)],
            losses: vec![],
        };
        assert!((mean_slowdown(&workload) - 1.0).abs() < 1e-6);
    }

    /// Against what is best, known by hand: 100 like processes at once on 10 CPUs take 1, 2 ... 10 times as long as alone.
    #[test]
    fn overload_is_bounded_well_and_never_above_the_optimum() {
        let workload = Workload {
            machines: vec![machine(10, 3_000)],
            jobs: vec![job(0, 1_000); 100],
            losses: vec![],
        };
        let bound = mean_slowdown(&workload);
        assert!(bound <= 5.5 + 1e-9 && bound > 5.4, "{bound}");
    }

    /// A fast CPU and one of half its speed; each second a process of 1 s, and half a second later one of 0.45 s. The best is to
    /// run the short one on the fast CPU, and the long one for 0.55 s on the fast and 0.9 s on the slow CPU.
    #[test]
    fn slow_processors_count() {
        let mut jobs = Vec::new();
        for second in 0..200 {
            jobs.extend([job(second * 1_000, 1_000), job(second * 1_000 + 500, 450)]);
        }
        let workload = Workload {
            machines: vec![machine(1, 3_000), machine(1, 1_500)],
            jobs,
            losses: vec![],
        };
        let bound = mean_slowdown(&workload);
        assert!(bound <= 1.225 + 1e-9 && bound > 1.215, "{bound}");
    }
}
