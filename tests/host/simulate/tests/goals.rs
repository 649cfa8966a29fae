// SPDX-License-Identifier: GPL-2.0

//! A small run of the simulator: the goals, the same figures for the same seed, and what must hold for every policy.

use banyan_policy::Policy;
use banyan_simulate::report::Report;
use banyan_simulate::workload::{generate, Kinds, Mix, Workload};
use banyan_simulate::{cluster, spread};

const MIX: Mix = Mix {
    nodes: 24,
    seconds: 120,
    load: 60,
    kinds: Kinds::Unequal,
    losses: 1,
};

fn workloads() -> Vec<(u64, Workload)> {
    (1..=2).map(|seed| (seed, generate(&MIX, seed))).collect()
}

#[test]
fn goals() {
    let names = ["round_robin", "rbt", "opportunity_cost"].map(String::from);
    let mut report = Report::make(&workloads(), &names, &mut |_| {});
    report.spreads = [2, 16, 128, 600]
        .map(|nodes| spread::measure(nodes, 1))
        .to_vec();
    for (goal, reached) in report.goals() {
        assert!(reached, "{goal}\n{}", report.text());
    }
    for (name, outcome) in &report.policies {
        // No schedule beats the bound, each process is counted, and gossip is one message a second and the urgent few.
        assert!(outcome.mean() >= report.bound, "{name}");
        assert_eq!(outcome.slowdowns.len(), report.jobs, "{name}");
        assert!(
            outcome.slowdowns.iter().all(|&slowdown| slowdown > 0.99),
            "{name}"
        );
        assert!(outcome.gossip_per_node_second() < 3.0, "{name}");
        assert_eq!(outcome.unfinished, 0, "{name}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let workload = generate(&Mix { seconds: 20, ..MIX }, 9);
    let run = || cluster::run(&workload, &Policy::default(), 9);
    let (one, two) = (run(), run());
    assert_eq!(one.slowdowns, two.slowdowns);
    assert_eq!(
        (one.bytes, one.gossip_messages),
        (two.bytes, two.gossip_messages)
    );
}
