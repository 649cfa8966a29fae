// SPDX-License-Identifier: GPL-2.0

//! A cluster that runs a workload under one policy: each node has the real table, gossip, filters, reservations and policy, and knows
//! of the others only what these tell it. The same workload and seed give the same run.

use crate::machine::{Host, Running};
use crate::outcome::Outcome;
use crate::workload::{Workload, SECOND};
use banyan_policy::{
    Answer, Decision, Entry, Gossip, GossipLimits, Life, Limits, Link, Lives, LoadMean, Node,
    Policy, Random, Record, Request, Reservation, Reservations, Row, Table, Task, View, MAX_WINDOW,
    TASK,
};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Rows of a node's table, as in the kernel; in greater clusters it knows a part.
const ROWS: usize = 128;
/// What goes over the net when a program starts elsewhere: arguments, environment, open files.
const EXEC_KIB: u64 = 64;
/// What that takes, in ms, apart from sending.
const EXEC_MS: u32 = 2;
/// How often a source asks another target when it is refused.
const TRIES: u32 = 5;
/// A run ends after so many times the time in which processes start, whatever still runs.
const PATIENCE: u64 = 4;

/// What a node knows and decides with.
struct Mind {
    table: Table<Vec<Row>>,
    gossip: Gossip,
    limits: Limits,
    policy: Policy,
    places: Reservations<Vec<Reservation>>,
    lives: Lives<Vec<Life>>,
    mean: LoadMean,
    version: u64,
    urgent: bool,
}

enum Event {
    Arrive(usize),
    End {
        host: usize,
        version: u64,
    },
    Start {
        job: usize,
        host: usize,
        ticket: Option<u32>,
    },
    Round(usize),
    Die(usize),
    Boot(usize),
}

/// Where a process is.
#[derive(Clone, Copy, Default)]
struct State {
    transit: Option<Running>,
    moves: u32,
    done: bool,
}

pub struct Cluster<'a> {
    workload: &'a Workload,
    hosts: Vec<Host>,
    minds: Vec<Mind>,
    jobs: Vec<State>,
    events: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<Event>>,
    free: Vec<usize>,
    order: u64,
    now: u64,
    left: usize,
    fastest: f64,
    /// Whether targets are asked: not by the policies that are rebuilt as they were.
    asks: bool,
    outcome: Outcome,
}

/// Runs it.
pub fn run(workload: &Workload, policy: &Policy, seed: u64) -> Outcome {
    let mut cluster = Cluster::new(workload, policy, seed);
    cluster.run();
    cluster.outcome
}

impl<'a> Cluster<'a> {
    fn new(workload: &'a Workload, policy: &Policy, seed: u64) -> Self {
        let minds = (0..workload.machines.len())
            .map(|number| Mind::new(policy, seed ^ ((number as u64) << 20)));
        let fastest = workload
            .machines
            .iter()
            .map(|m| m.speed())
            .fold(0.0, f64::max);
        Self {
            workload,
            hosts: workload
                .machines
                .iter()
                .map(|&machine| Host::new(machine))
                .collect(),
            minds: minds.collect(),
            jobs: vec![State::default(); workload.jobs.len()],
            events: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            order: 0,
            now: 0,
            left: workload.jobs.len(),
            fastest,
            asks: !matches!(policy, Policy::Legacy(_) | Policy::RoundRobin(_)),
            outcome: Outcome::default(),
        }
    }

    fn at(&mut self, time: u64, event: Event) {
        let slot = self.free.pop().unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(event);
        self.order += 1;
        self.events.push(Reverse((time, self.order, slot)));
    }

    fn ms(&self) -> u64 {
        self.now / 1_000
    }

    fn run(&mut self) {
        // Tables are filled before the first process starts.
        let begin = 30 * SECOND;
        for (number, job) in self.workload.jobs.iter().enumerate() {
            self.at(begin + job.start, Event::Arrive(number));
        }
        for loss in &self.workload.losses {
            self.at(begin + loss.at, Event::Die(loss.machine));
            self.at(begin + loss.back, Event::Boot(loss.machine));
        }
        for number in 0..self.hosts.len() {
            let due = self.minds[number].gossip.due() * 1_000;
            self.at(due, Event::Round(number));
        }
        let last = self.workload.jobs.last().map_or(0, |job| job.start);
        let end = begin + (last + 60 * SECOND).saturating_mul(PATIENCE);
        while self.left > 0 {
            let Some(Reverse((time, _, slot))) = self.events.pop() else {
                break;
            };
            if time > end {
                break;
            }
            self.now = time;
            self.free.push(slot);
            if let Some(event) = self.slots[slot].take() {
                self.step(event);
            }
        }
        for (number, job) in self.workload.jobs.iter().enumerate() {
            if !self.jobs[number].done {
                self.outcome.unfinished += 1;
                let lasted = self.now.saturating_sub(begin + job.start);
                self.outcome
                    .slowdowns
                    .push(self.slowdown(job.work_ms, lasted).max(1.0));
            }
        }
        self.outcome.lasted(self.now, self.hosts.len());
    }

    fn slowdown(&self, work_ms: u64, lasted: u64) -> f64 {
        lasted as f64 / 1_000.0 * self.fastest / work_ms.max(1) as f64
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Arrive(job) => self.arrive(job),
            Event::End { host, version } if self.hosts[host].version == version => self.end(host),
            Event::End { .. } => {}
            Event::Start { job, host, ticket } => self.start(job, host, ticket),
            Event::Round(host) => self.round(host),
            Event::Die(host) => self.die(host),
            Event::Boot(host) => {
                self.hosts[host].advance(self.now);
                self.hosts[host].alive = true;
            }
        }
    }

    /// What a node measures of itself, without what is on its way.
    fn measure(&mut self, number: usize) -> Record {
        let host = &self.hosts[number];
        let mind = &mut self.minds[number];
        mind.version += 1;
        let free_kib = host.free_kib();
        Record {
            node: Node(number as u16),
            closed: false,
            urgent: free_kib < host.machine.memory_kib / 20,
            cpus: host.machine.cpus,
            users: 0,
            mhz: host.machine.mhz,
            tasks: host.running.len() as u32 * TASK,
            mean: mind.mean.mean(),
            upper: mind.mean.upper(),
            version: mind.version,
            memory_kib: host.machine.memory_kib,
            free_kib,
        }
    }

    /// The same with it.
    fn record(&mut self, number: usize) -> Record {
        let measured = self.measure(number);
        self.minds[number].places.add_to(self.ms(), &measured)
    }

    /// Asks a node's policy.
    fn ask<R>(
        &mut self,
        number: usize,
        link: Link,
        question: impl FnOnce(&mut Policy, &mut View<'_, Vec<Row>>) -> R,
    ) -> R {
        let here = self.record(number);
        let (now, time) = (self.ms(), self.now);
        let hosts = &self.hosts;
        let mind = &mut self.minds[number];
        let mut view = View {
            now,
            nodes: hosts.len() as u32,
            here,
            table: &mut mind.table,
            limits: &mut mind.limits,
            link,
            permitted: &|node| {
                hosts
                    .get(usize::from(node.0))
                    .is_some_and(|host| host.is_member(time))
            },
        };
        question(&mut mind.policy, &mut view)
    }

    fn arrive(&mut self, job: usize) {
        let spec = self.workload.jobs[job];
        let count = self.hosts.len();
        let alive = (0..count)
            .map(|i| (spec.home + i) % count)
            .find(|&i| self.hosts[i].alive);
        let Some(home) = alive else {
            return self.at(self.now + 10 * SECOND, Event::Arrive(job));
        };
        self.jobs[job].transit = Some(Running {
            job,
            left_ms: spec.work_ms as f64,
            rss_kib: spec.rss_kib,
            cpu_ms: 0.0,
            since: self.now,
            moved: false,
        });
        let task = Task {
            id: job as u64,
            load: TASK,
            rss_kib: spec.rss_kib,
            move_kib: EXEC_KIB,
            age_ms: 0,
            residency_ms: 0,
            life_ms: self.minds[home].lives.mean_ms(spec.program),
            moved: false,
            movable: true,
        };
        let link = Link {
            fixed_ms: EXEC_MS,
            ..Link::DEFAULT
        };
        for _ in 0..TRIES {
            let decision = self.ask(home, link, |policy, view| policy.place(view, &task));
            let Some(to) = decision.target() else { break };
            match self.request(home, to, &task, &decision) {
                Err(true) => {
                    return self.at(
                        self.now + SECOND,
                        Event::Start {
                            job,
                            host: home,
                            ticket: None,
                        },
                    )
                }
                Err(false) => {}
                Ok(ticket) => {
                    self.outcome.placed += 1;
                    self.outcome.bytes += EXEC_KIB * 1024;
                    if let Some(process) = &mut self.jobs[job].transit {
                        process.moved = true;
                    }
                    let host = usize::from(to.0);
                    let takes = link.move_ms(EXEC_KIB) * 1_000;
                    return self.at(self.now + takes, Event::Start { job, host, ticket });
                }
            }
        }
        self.start(job, home, None);
    }

    /// Asks a target for a place. Whether it is dead, if there is none.
    fn request(
        &mut self,
        from: usize,
        to: Node,
        task: &Task,
        decision: &Decision,
    ) -> Result<Option<u32>, bool> {
        let target = usize::from(to.0);
        if !self.hosts[target].alive {
            self.outcome.failed += 1;
            return Err(true);
        }
        if !self.asks {
            self.outcome.request_messages += 1;
            return Ok(None);
        }
        self.outcome.request_messages += 2;
        let request = Request {
            from: Node(from as u16),
            load: task.load,
            rss_kib: task.rss_kib,
            bearable: decision.inputs.bearable,
        };
        let measured = self.measure(target);
        let now = self.ms();
        let places = &mut self.minds[target].places;
        match places.ask(now, &measured, &request) {
            Answer::Granted(ticket) => Ok(Some(ticket)),
            Answer::Refused(_) => {
                self.outcome.refused += 1;
                let newest = self.record(target);
                let table = &mut self.minds[from].table;
                table.discharge(to, task.load, task.rss_kib);
                table.merge(now, &newest, 0);
                Err(false)
            }
        }
    }

    fn start(&mut self, job: usize, host: usize, ticket: Option<u32>) {
        let Some(mut process) = self.jobs[job].transit.take() else {
            return;
        };
        if !self.hosts[host].alive {
            return self.again(job);
        }
        if let Some(ticket) = ticket {
            let now = self.ms();
            self.minds[host].places.release(now, ticket);
        }
        process.since = self.now;
        self.hosts[host].advance(self.now);
        self.hosts[host].add(process);
        self.foresee(host);
    }

    fn foresee(&mut self, host: usize) {
        self.hosts[host].version += 1;
        let version = self.hosts[host].version;
        if let Some(time) = self.hosts[host].next_end() {
            self.at(time, Event::End { host, version });
        }
    }

    fn end(&mut self, host: usize) {
        self.hosts[host].advance(self.now);
        while let Some(process) = self.hosts[host].ended() {
            let spec = self.workload.jobs[process.job];
            self.jobs[process.job].done = true;
            self.left -= 1;
            self.minds[spec.home]
                .lives
                .ended(spec.program, process.cpu_ms as u64);
            let lasted = self.now - 30 * SECOND - spec.start;
            let slowdown = self.slowdown(spec.work_ms, lasted);
            self.outcome.slowdowns.push(slowdown);
        }
        self.foresee(host);
    }

    /// Its node has died: its user starts it again when that is known.
    fn again(&mut self, job: usize) {
        self.outcome.restarted += 1;
        self.jobs[job].moves = 0;
        self.at(self.now + 3 * SECOND, Event::Arrive(job));
    }

    fn die(&mut self, host: usize) {
        self.hosts[host].advance(self.now);
        for process in self.hosts[host].die(self.now) {
            self.again(process.job);
        }
        // Its processes elsewhere end with it.
        for other in 0..self.hosts.len() {
            let orphans = self.hosts[other]
                .running
                .iter()
                .filter(|p| self.workload.jobs[p.job].home == host);
            let orphans: Vec<_> = orphans.map(|process| process.job).collect();
            if orphans.is_empty() {
                continue;
            }
            self.hosts[other].advance(self.now);
            for job in orphans {
                self.hosts[other].take(job);
                self.again(job);
            }
            self.foresee(other);
        }
        let mind = &mut self.minds[host];
        mind.table = Table::new(vec![Row::default(); ROWS], 60_000);
        mind.places = Reservations::new(vec![Reservation::default(); 64], 10_000);
        mind.mean = LoadMean::default();
        for mind in &mut self.minds {
            mind.places.forget(Node(host as u16));
        }
    }

    /// What a node does each second.
    fn round(&mut self, number: usize) {
        let next = self.now + SECOND;
        self.at(next, Event::Round(number));
        if !self.hosts[number].alive {
            return;
        }
        self.hosts[number].advance(self.now);
        let tasks = self.hosts[number].mean_tasks(self.now);
        self.minds[number].mean.feed(tasks);
        self.gossip(number);
        self.balance(number);
    }

    fn gossip(&mut self, number: usize) {
        let now = self.ms();
        let own = self.record(number);
        let peers = self.hosts.len() as u32 - 1;
        let mind = &mut self.minds[number];
        if number == now as usize / 1_000 % self.hosts.len() {
            for known in mind.table.iter(now) {
                self.outcome.ages.add(known.age_ms);
            }
        }
        let became = own.urgent && !mind.urgent;
        mind.urgent = own.urgent;
        if let Some(draw) = mind.gossip.round(now, peers) {
            let mut message = [Entry::default(); MAX_WINDOW];
            let count = mind.gossip.fill(now, &own, &mind.table, &mut message);
            self.outcome.gossip_messages += 1;
            self.deliver(peer(number, draw), &message[..count]);
        }
        if became {
            let mut todo = Vec::new();
            self.minds[number]
                .gossip
                .spread(peers, &mut |draw| todo.push(peer(number, draw)));
            while let Some(to) = todo.pop() {
                self.outcome.gossip_messages += 1;
                if self.deliver(
                    to,
                    &[Entry {
                        record: own,
                        age_ms: 0,
                    }],
                ) {
                    self.minds[to]
                        .gossip
                        .spread(peers, &mut |draw| todo.push(peer(to, draw)));
                }
            }
        }
    }

    /// A message comes, after a millisecond. Whether there is something urgent in it to be passed on.
    fn deliver(&mut self, to: usize, message: &[Entry]) -> bool {
        if !self.hosts[to].alive {
            return false;
        }
        let now = self.ms();
        let Mind { gossip, table, .. } = &mut self.minds[to];
        let mut urgent = false;
        for entry in message {
            let entry = Entry {
                age_ms: entry.age_ms + 1,
                ..*entry
            };
            urgent |= gossip.receive(now, Node(to as u16), &entry, table);
        }
        urgent
    }

    fn balance(&mut self, number: usize) {
        if self.hosts[number].running.is_empty() {
            return;
        }
        let now = self.now;
        let mind = &self.minds[number];
        let running = self.hosts[number].running.iter();
        let mut tasks: Vec<_> = running
            .map(|process| Task {
                id: process.job as u64,
                load: TASK,
                rss_kib: process.rss_kib,
                move_kib: process.rss_kib,
                age_ms: process.cpu_ms as u64,
                residency_ms: (now - process.since) / 1_000,
                life_ms: mind.lives.mean_ms(self.workload.jobs[process.job].program),
                moved: process.moved,
                movable: true,
            })
            .collect();
        let mut decisions = Vec::new();
        self.ask(number, Link::DEFAULT, |policy, view| {
            policy.balance(view, &mut tasks, &mut |decision| decisions.push(decision));
        });
        for decision in decisions {
            let Some(to) = decision.target() else {
                continue;
            };
            let Some(task) = tasks.iter().find(|task| task.id == decision.task).copied() else {
                continue;
            };
            if let Ok(ticket) = self.request(number, to, &task, &decision) {
                self.go(number, &task, usize::from(to.0), ticket);
            }
        }
    }

    /// A process leaves for another node.
    fn go(&mut self, from: usize, task: &Task, host: usize, ticket: Option<u32>) {
        let job = task.id as usize;
        let Some(mut process) = self.hosts[from].take(job) else {
            return;
        };
        let early = process.moved && task.residency_ms < self.minds[from].limits.residency_ms;
        self.outcome.too_early += u64::from(early);
        self.outcome.moved += 1;
        self.outcome.bytes += process.rss_kib * 1024;
        process.moved = true;
        let state = &mut self.jobs[job];
        state.moves += 1;
        self.outcome.most_moves = self.outcome.most_moves.max(state.moves);
        state.transit = Some(process);
        self.foresee(from);
        let takes = Link::DEFAULT.move_ms(process.rss_kib) * 1_000;
        self.at(self.now + takes, Event::Start { job, host, ticket });
    }
}

/// The node that a draw among the others means.
fn peer(me: usize, draw: u32) -> usize {
    let draw = draw as usize;
    draw + usize::from(draw >= me)
}

impl Mind {
    fn new(policy: &Policy, seed: u64) -> Self {
        Self {
            table: Table::new(vec![Row::default(); ROWS], 60_000),
            gossip: Gossip::new(GossipLimits::DEFAULT, 0, Random::new(seed)),
            limits: Limits::DEFAULT,
            policy: policy.clone(),
            places: Reservations::new(vec![Reservation::default(); 64], 10_000),
            lives: Lives::new(vec![Life::default(); 256]),
            mean: LoadMean::default(),
            version: 0,
            urgent: false,
        }
    }
}
