// SPDX-License-Identifier: GPL-2.0

//! What is printed: the figures of all policies for one set of workloads, the ages, and whether the goals are reached.

use crate::outcome::Outcome;
use crate::spread::Spread;
use crate::workload::Workload;
use crate::{bound, cluster};
use banyan_policy::Policy;
use serde_json::{json, Map, Value};
use std::fmt::Write;

/// What the default policy is measured by.
pub const DEFAULT: &str = "opportunity_cost";
/// What others are compared with.
pub const BASE: &str = "round_robin";
/// Greatest mean slowdown of the default, as part of round robin's.
pub const VS_BASE: f64 = 0.6;
/// The same as part of the bound.
pub const VS_BOUND: f64 = 1.3;

/// All figures.
pub struct Report {
    pub nodes: usize,
    pub cpus: u64,
    pub jobs: usize,
    pub seeds: Vec<u64>,
    pub policies: Vec<(String, Outcome)>,
    /// Mean slowdown that no scheduler can go below.
    pub bound: f64,
    pub spreads: Vec<Spread>,
}

impl Report {
    /// Runs each policy on each workload; `tell` hears of each step.
    pub fn make(
        workloads: &[(u64, Workload)],
        names: &[String],
        tell: &mut impl FnMut(&str),
    ) -> Self {
        let mut policies = Vec::new();
        for name in names {
            let Some(policy) = Policy::named(name) else {
                continue;
            };
            let mut all = Outcome::default();
            for (seed, workload) in workloads {
                tell(&format!("{name}, seed {seed}"));
                all.join(&cluster::run(workload, &policy, *seed));
            }
            policies.push((name.clone(), all));
        }
        tell("bound");
        let jobs: usize = workloads
            .iter()
            .map(|(_, workload)| workload.jobs.len())
            .sum();
        let bounds = workloads
            .iter()
            .map(|(_, workload)| bound::mean_slowdown(workload) * workload.jobs.len() as f64);
        let machines = || {
            workloads
                .iter()
                .flat_map(|(_, workload)| &workload.machines)
        };
        Self {
            nodes: workloads
                .first()
                .map_or(0, |(_, workload)| workload.machines.len()),
            cpus: machines()
                .map(|machine| u64::from(machine.cpus))
                .sum::<u64>()
                / workloads.len().max(1) as u64,
            jobs,
            seeds: workloads.iter().map(|(seed, _)| *seed).collect(),
            policies,
            bound: bounds.sum::<f64>() / jobs.max(1) as f64,
            spreads: Vec::new(),
        }
    }

    pub fn of(&self, name: &str) -> Option<&Outcome> {
        self.policies
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, outcome)| outcome)
    }

    /// Mean slowdown as part of round robin's, if that was run.
    pub fn vs_base(&self, outcome: &Outcome) -> Option<f64> {
        Some(outcome.mean() / self.of(BASE)?.mean())
    }

    pub fn vs_bound(&self, outcome: &Outcome) -> f64 {
        outcome.mean() / self.bound
    }

    /// Each goal in words with what was reached, and whether it was; of those for which figures are there.
    pub fn goals(&self) -> Vec<(String, bool)> {
        let mut goals = Vec::new();
        if let Some(outcome) = self.of(DEFAULT) {
            if let Some(ratio) = self.vs_base(outcome) {
                goals.push((
                    format!("mean slowdown of {DEFAULT} / {BASE}: {ratio:.3}, wanted {VS_BASE}"),
                    ratio <= VS_BASE,
                ));
            }
            let ratio = self.vs_bound(outcome);
            goals.push((
                format!("mean slowdown of {DEFAULT} / bound: {ratio:.3}, wanted {VS_BOUND}"),
                ratio <= VS_BOUND,
            ));
        }
        let early: u64 = self
            .policies
            .iter()
            .map(|(_, outcome)| outcome.too_early)
            .sum();
        goals.push((
            format!("moves before the minimum residency is over: {early}, wanted 0"),
            early == 0,
        ));
        for spread in &self.spreads {
            let (nodes, mean, allowed) = (spread.nodes, spread.mean, spread.allowed());
            goals.push((
                format!("mean age with {nodes} nodes: {mean:.1} rounds, wanted 1.5·log2 n + 1.5 = {allowed:.1}"),
                mean <= allowed,
            ));
        }
        goals
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{} nodes, {} CPUs, {} processes, seeds {:?}; bound on the mean slowdown: {:.3}",
            self.nodes, self.cpus, self.jobs, self.seeds, self.bound
        );
        if let Some(base) = self.of(BASE) {
            let _ = writeln!(
                out,
                "no scheduler gets below {:.3} of {BASE}'s mean\n",
                self.bound / base.mean()
            );
        }
        let _ = writeln!(
            out,
            "{:17} {:>8} {:>8} {:>6} {:>7} {:>8} {:>8} {:>7} {:>5} {:>8} {:>8} {:>8} {:>6} {:>6}",
            "policy",
            "mean",
            "p99",
            "/rr",
            "p99/rr",
            "/bound",
            "placed",
            "moved",
            "most",
            "refused",
            "GiB",
            "msg/n/s",
            "age s",
            "p99 s"
        );
        for (name, o) in &self.policies {
            let base = self.of(BASE);
            let part = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.3}"));
            let _ = writeln!(
                out,
                "{:17} {:>8.3} {:>8.2} {:>6} {:>7} {:>8.3} {:>8} {:>7} {:>5} {:>8} {:>8.2} {:>8.2} {:>6.2} {:>6.1}",
                name,
                o.mean(),
                o.percentile(99),
                part(self.vs_base(o)),
                part(base.map(|base| o.percentile(99) / base.percentile(99))),
                self.vs_bound(o),
                o.placed,
                o.moved,
                o.most_moves,
                o.refused,
                o.bytes as f64 / f64::from(1 << 30),
                o.messages_per_node_second(),
                o.ages.mean(),
                o.ages.percentile(99)
            );
            if o.unfinished + o.restarted + o.failed > 0 {
                let _ = writeln!(
                    out,
                    "{:17} {} not ended, {} started again after a loss, {} requests to dead nodes",
                    "", o.unfinished, o.restarted, o.failed
                );
            }
        }
        if !self.spreads.is_empty() {
            let _ = writeln!(
                out,
                "\nages in rounds\n{:>7} {:>7} {:>6} {:>6} {:>9} {:>10}",
                "nodes", "known", "mean", "p99", "greatest", "msg/round"
            );
        }
        for s in &self.spreads {
            let _ = writeln!(
                out,
                "{:>7} {:>7.1} {:>6.2} {:>6.1} {:>9.1} {:>10.2}",
                s.nodes, s.known, s.mean, s.p99, s.greatest, s.messages
            );
        }
        out.push('\n');
        for (goal, reached) in self.goals() {
            let _ = writeln!(
                out,
                "{} {goal}",
                if reached { "reached" } else { "MISSED " }
            );
        }
        out
    }

    /// Flat names with numbers, as those of `build/bench.json`.
    pub fn json(&self) -> Value {
        let mut out = Map::new();
        let mut put = |name: String, value: Value| out.insert(name, value);
        put("sim.nodes".into(), json!(self.nodes));
        put("sim.processes".into(), json!(self.jobs));
        put("sim.bound".into(), json!(self.bound));
        for (name, o) in &self.policies {
            let mut figure = |what: &str, value: Value| put(format!("sim.{name}.{what}"), value);
            figure("slowdown_mean", json!(o.mean()));
            figure("slowdown_p99", json!(o.percentile(99)));
            if let Some(base) = self.of(BASE) {
                figure("slowdown_vs_round_robin", json!(o.mean() / base.mean()));
                figure(
                    "slowdown_p99_vs_round_robin",
                    json!(o.percentile(99) / base.percentile(99)),
                );
            }
            figure("slowdown_vs_bound", json!(self.vs_bound(o)));
            figure("placed", json!(o.placed));
            figure("moved", json!(o.moved));
            figure("most_moves", json!(o.most_moves));
            figure("moves_too_early", json!(o.too_early));
            figure("refused", json!(o.refused));
            figure("failed", json!(o.failed));
            figure("restarted", json!(o.restarted));
            figure("unfinished", json!(o.unfinished));
            figure("bytes", json!(o.bytes));
            figure("messages", json!(o.gossip_messages + o.request_messages));
            figure("gossip_per_node_second", json!(o.gossip_per_node_second()));
            figure("info_age_s", json!(o.ages.mean()));
            figure("info_age_p99_s", json!(o.ages.percentile(99)));
        }
        for s in &self.spreads {
            put(format!("sim.info_age_rounds.{}", s.nodes), json!(s.mean));
            put(format!("sim.info_age_rounds_p99.{}", s.nodes), json!(s.p99));
            put(
                format!("sim.messages_per_round.{}", s.nodes),
                json!(s.messages),
            );
        }
        put(
            "sim.goals_missed".into(),
            json!(self.goals().iter().filter(|(_, reached)| !reached).count()),
        );
        Value::Object(out)
    }
}
