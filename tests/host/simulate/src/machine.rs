// SPDX-License-Identifier: GPL-2.0

//! A machine that runs processes: as the kernel does, all that are runnable share the CPUs equally. One for each machine of
//! the cluster.

use crate::workload::{Machine, SECOND};

/// How much slower a machine gets for each part of its memory that is used beyond all of it: with a tenth too much, half as fast.
const THRASHING: f64 = 10.0;

/// A process that runs here.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    pub job: usize,
    /// Work left, in ms of a reference CPU.
    pub left_ms: f64,
    pub rss_kib: u64,
    /// CPU time so far, in ms, on whatever machines.
    pub cpu_ms: f64,
    /// When it came.
    pub since: u64,
    /// Whether it came from another machine.
    pub moved: bool,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Host {
    pub machine: Machine,
    pub running: Vec<Running>,
    pub alive: bool,
    /// When it last died.
    pub died: Option<u64>,
    /// Distinguishes the event of the next end from those that were foreseen before.
    pub version: u64,
    updated: u64,
    used_kib: u64,
    /// Runnable tasks times microseconds, since it was last asked.
    area: u64,
    asked: u64,
}

impl Host {
    pub fn new(machine: Machine) -> Self {
        Self {
            machine,
            running: Vec::new(),
            alive: true,
            died: None,
            version: 0,
            updated: 0,
            used_kib: 0,
            area: 0,
            asked: 0,
        }
    }

    /// Part of a CPU that each process gets.
    fn share(&self) -> f64 {
        let over = self.used_kib.saturating_sub(self.machine.memory_kib) as f64
            / self.machine.memory_kib as f64;
        let each = f64::from(self.machine.cpus) / self.running.len().max(1) as f64;
        each.min(1.0) / (1.0 + THRASHING * over)
    }

    /// Lets time pass.
    pub fn advance(&mut self, now: u64) {
        let passed = now - self.updated;
        self.updated = now;
        if passed == 0 || self.running.is_empty() {
            return;
        }
        self.area += passed * self.running.len() as u64;
        let cpu_ms = passed as f64 / 1_000.0 * self.share();
        let work_ms = cpu_ms * self.machine.speed();
        for process in &mut self.running {
            process.left_ms -= work_ms;
            process.cpu_ms += cpu_ms;
        }
    }

    pub fn add(&mut self, process: Running) {
        self.used_kib += process.rss_kib;
        self.running.push(process);
    }

    pub fn take(&mut self, job: usize) -> Option<Running> {
        let at = self.running.iter().position(|process| process.job == job)?;
        let process = self.running.swap_remove(at);
        self.used_kib -= process.rss_kib;
        Some(process)
    }

    /// One that has done its work.
    pub fn ended(&mut self) -> Option<Running> {
        let job = self
            .running
            .iter()
            .find(|process| process.left_ms < 1e-3)?
            .job;
        self.take(job)
    }

    /// When the next process ends, if nothing changes.
    pub fn next_end(&self) -> Option<u64> {
        let least = self
            .running
            .iter()
            .map(|process| process.left_ms)
            .fold(f64::INFINITY, f64::min);
        let ms = least.max(0.0) / (self.share() * self.machine.speed());
        least
            .is_finite()
            .then(|| self.updated + (ms * 1_000.0).ceil() as u64 + 1)
    }

    /// Mean number of runnable tasks since this was last asked, in thousandths.
    pub fn mean_tasks(&mut self, now: u64) -> u32 {
        let passed = now - self.asked;
        let mean = (self.area * 1_000)
            .checked_div(passed)
            .unwrap_or(self.running.len() as u64 * 1_000);
        self.area = 0;
        self.asked = now;
        mean as u32
    }

    pub fn free_kib(&self) -> u64 {
        self.machine.memory_kib.saturating_sub(self.used_kib)
    }

    /// The power is cut.
    pub fn die(&mut self, now: u64) -> Vec<Running> {
        self.alive = false;
        self.died = Some(now);
        self.version += 1;
        self.used_kib = 0;
        std::mem::take(&mut self.running)
    }

    /// Whether the others still, or already, take it for a member: a death is noticed after 3 s.
    pub fn is_member(&self, now: u64) -> bool {
        self.alive || self.died.is_some_and(|died| now < died + 3 * SECOND)
    }
}
