// SPDX-License-Identifier: GPL-2.0

//! What happens to a cluster: its machines, the processes that are started, the machines that die. One [`Workload`] for all
//! policies that are compared, generated here or read from a trace.

use banyan_policy::Random;

/// Work is counted in ms of a CPU of this speed.
pub const REFERENCE_MHZ: u32 = 3_000;

/// Microseconds in a second: the simulator's clock counts them.
pub const SECOND: u64 = 1_000_000;

/// A machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    pub cpus: u16,
    pub mhz: u32,
    pub memory_kib: u64,
}

impl Machine {
    /// Speed of one CPU, in reference CPUs.
    pub fn speed(&self) -> f64 {
        f64::from(self.mhz) / f64::from(REFERENCE_MHZ)
    }
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// When it is started, in microseconds.
    pub start: u64,
    /// On which machine, by number from 0.
    pub home: usize,
    /// Its work, in ms of a reference CPU.
    pub work_ms: u64,
    pub rss_kib: u64,
    /// Stands for the name of its program.
    pub program: u64,
}

/// A machine that dies, and comes back empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    pub at: u64,
    pub machine: usize,
    pub back: u64,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    pub machines: Vec<Machine>,
    /// By time of start.
    pub jobs: Vec<Job>,
    pub losses: Vec<Loss>,
}

/// What the generator makes.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    pub nodes: usize,
    /// Seconds in which processes are started.
    pub seconds: u64,
    /// Work that is started, in hundredths of what all CPUs can do.
    pub load: u32,
    pub kinds: Kinds,
    /// Machines that die in the time.
    pub losses: usize,
}

/// How much the machines of a generated cluster differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// Not at all.
    Equal,
    /// So little that the smallest can just do its share of the work when that is dealt out evenly at the default load.
    Near,
    /// As machines do that were bought over some years: the biggest has four times the CPUs of the smallest.
    Unequal,
}

impl Kinds {
    pub const NAMES: [&'static str; 3] = ["equal", "near", "unequal"];

    pub fn named(name: &str) -> Option<Self> {
        match name {
            "equal" => Some(Self::Equal),
            "near" => Some(Self::Near),
            "unequal" => Some(Self::Unequal),
            _ => None,
        }
    }

    /// CPUs, MHz, GiB.
    const fn machines(self) -> [(u16, u32, u64); 5] {
        match self {
            Self::Equal => [(4, 3_000, 16); 5],
            Self::Near => [
                (4, 2_600, 8),
                (4, 3_000, 16),
                (6, 2_800, 16),
                (6, 3_400, 16),
                (8, 3_200, 32),
            ],
            Self::Unequal => [
                (2, 2_400, 4),
                (4, 2_800, 8),
                (4, 3_200, 16),
                (6, 3_000, 16),
                (8, 3_600, 32),
            ],
        }
    }
}

/// A number above 0 and up to 1.
fn unit(random: &mut Random) -> f64 {
    (f64::from(random.draw()) + 1.0) / (f64::from(u32::MAX) + 1.0)
}

fn exponential(random: &mut Random, mean: f64) -> f64 {
    -unit(random).ln() * mean
}

/// From `low` to `high`, with the density of 1/x.
fn log_uniform(random: &mut Random, low: f64, high: f64) -> f64 {
    low * (high / low).powf(unit(random))
}

/// A program: its processes' mean work in ms, and memory in MiB.
struct Program {
    work_ms: f64,
    rss_mib: f64,
}

/// Programs differ far more between each other than a program's processes do. Most processes are short, most work is done by
/// the few long ones.
fn programs(random: &mut Random) -> Vec<Program> {
    let mut all = Vec::new();
    for (count, low, high, small, big) in [
        (20, 40.0, 600.0, 4.0, 64.0),
        (16, 600.0, 8_000.0, 16.0, 400.0),
        (8, 8_000.0, 60_000.0, 32.0, 800.0),
        (2, 60_000.0, 200_000.0, 200.0, 1_500.0),
    ] {
        for _ in 0..count {
            all.push(Program {
                work_ms: log_uniform(random, low, high),
                rss_mib: log_uniform(random, small, big),
            });
        }
    }
    all
}

/// Makes a workload; the same seed makes the same.
pub fn generate(mix: &Mix, seed: u64) -> Workload {
    let random = &mut Random::new(seed);
    let machines: Vec<_> = (0..mix.nodes)
        .map(|i| {
            // The first five are one of each, so that small clusters are not accidents.
            let kind = if i < 5 { i } else { random.below(5) as usize };
            let (cpus, mhz, gib) = mix.kinds.machines()[kind];
            Machine {
                cpus,
                mhz,
                memory_kib: gib << 20,
            }
        })
        .collect();
    let capacity: f64 = machines.iter().map(|m| f64::from(m.cpus) * m.speed()).sum();
    let end = mix.seconds * SECOND;
    let programs = programs(random);
    // Work per second that is to be started; a fifth of the machines are where most people sit.
    let wanted = capacity * f64::from(mix.load) / 100.0 * mix.seconds as f64 * 1_000.0;
    let busy = mix.nodes.div_ceil(5);
    let mut jobs = Vec::new();
    let mut work = 0.0;
    while work < wanted {
        let home = if random.below(100) < 60 {
            random.below(busy as u32)
        } else {
            random.below(mix.nodes as u32)
        } as usize;
        // One process, or a burst of processes of one program, as of a build.
        let burst = if random.below(10) == 0 {
            2 + random.below(23)
        } else {
            1
        };
        let program = random.below(programs.len() as u32) as usize;
        let mut start = (unit(random) * end as f64) as u64;
        let burst = if programs[program].work_ms > 8_000.0 {
            1
        } else {
            burst
        };
        for _ in 0..burst {
            let spread = 0.4 + exponential(random, 0.6);
            let work_ms = (programs[program].work_ms * spread).max(5.0);
            let rss = programs[program].rss_mib * (0.5 + unit(random));
            jobs.push(Job {
                start,
                home,
                work_ms: work_ms as u64,
                rss_kib: (rss * 1024.0) as u64,
                program: program as u64 + 1,
            });
            work += work_ms;
            start += (exponential(random, 50.0) * 1_000.0) as u64;
        }
    }
    jobs.sort_by_key(|job| (job.start, job.home));
    let mut losses: Vec<Loss> = Vec::new();
    for i in 0..mix.losses.min(mix.nodes / 2) {
        let at = end / 10 + (unit(random) * 0.7 * end as f64) as u64;
        let machine = (random.below(mix.nodes as u32) as usize + i) % mix.nodes;
        if losses.iter().all(|loss| loss.machine != machine) {
            losses.push(Loss {
                at,
                machine,
                back: at + 60 * SECOND,
            });
        }
    }
    losses.sort_by_key(|loss| loss.at);
    Workload {
        machines,
        jobs,
        losses,
    }
}
