// SPDX-License-Identifier: GPL-2.0

//! The membership in a simulated network: kills, restarts, leaves, pauses and partitions at random.

use banyan_props::sim::Sim;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Fault {
    Kill(usize),
    Start(usize),
    Leave(usize),
    Pause(usize, u64),
    Partition(u16),
    Heal,
    Wait(u64),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        2 => (0usize..8).prop_map(Fault::Kill),
        3 => (0usize..8).prop_map(Fault::Start),
        1 => (0usize..8).prop_map(Fault::Leave),
        1 => (0usize..8, 100u64..8000).prop_map(|(i, ms)| Fault::Pause(i, ms)),
        2 => any::<u16>().prop_map(Fault::Partition),
        2 => Just(Fault::Heal),
        5 => (1u64..9000).prop_map(Fault::Wait),
    ]
}

fn full(count: usize, seed: u64, delay: u64) -> Sim {
    let mut sim = Sim::new(count, seed, delay, false);
    for i in 0..count {
        sim.start(i);
    }
    sim.run(20_000);
    sim.agreed(&sim.on()).unwrap();
    sim
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(300), failure_persistence: None, ..ProptestConfig::default() })]

    /// All start at once, or one after the other: one cluster, at one epoch, within seconds; nobody is declared dead.
    #[test]
    fn they_find_each_other(count in 2usize..12, seed: u64, delay in 1u64..400, gap in 0u64..3000) {
        let mut sim = Sim::new(count, seed, delay, false);
        for i in 0..count {
            sim.start(i);
            sim.run(gap);
        }
        sim.run(20_000);
        prop_assert_eq!(sim.agreed(&sim.on()), Ok(()));
        sim.run(60_000);
        prop_assert_eq!(sim.declared_alive, 0);
        prop_assert_eq!(sim.agreed(&sim.on()), Ok(()));
    }

    /// After power cuts all others agree within 5 s.
    #[test]
    fn a_death_is_known_within_5_s(count in 2usize..10, seed: u64, delay in 1u64..300, dead: u16) {
        let mut sim = full(count, seed, delay);
        for i in 0..count {
            if (dead >> i) & 1 == 1 {
                sim.kill(i);
            }
        }
        sim.run(5_000);
        prop_assert_eq!(sim.agreed(&sim.on()), Ok(()));
        prop_assert_eq!(sim.declared_alive, 0);
    }

    /// A machine that is power-cut and starts again at once is a member again within seconds.
    #[test]
    fn a_quick_restart(count in 2usize..8, seed: u64, who in 0usize..8, off in 0u64..6000) {
        let mut sim = full(count, seed, 50);
        let who = who % count;
        sim.kill(who);
        sim.run(off);
        sim.start(who);
        sim.run(20_000);
        prop_assert_eq!(sim.agreed(&sim.on()), Ok(()));
    }

    /// Who leaves is gone at once and may come back.
    #[test]
    fn leave_and_return(count in 2usize..8, seed: u64, who in 0usize..8) {
        let mut sim = full(count, seed, 20);
        let who = who % count;
        sim.leave(who);
        sim.run(600);
        prop_assert_eq!(sim.agreed(&sim.on()), Ok(()));
        prop_assert_eq!(sim.declared_alive, 0);
        sim.start(who);
        sim.run(20_000);
        prop_assert_eq!(sim.agreed(&sim.on()), Ok(()));
    }

    /// Each side of a partition agrees on who is left, within 5 s; when it heals all are one cluster again.
    #[test]
    fn a_partition_splits_and_heals(count in 2usize..9, seed: u64, delay in 1u64..300, mask: u16, lasts in 5_000u64..60_000) {
        let mut sim = full(count, seed, delay);
        sim.partition(mask);
        sim.run(5_000);
        let (a, b): (Vec<usize>, Vec<usize>) = (0..count).partition(|i| (mask >> i) & 1 == 1);
        prop_assert_eq!(sim.agreed(&a), Ok(()));
        prop_assert_eq!(sim.agreed(&b), Ok(()));
        sim.run(lasts);
        sim.partition(0);
        sim.run(60_000);
        prop_assert_eq!(sim.agreed(&sim.on()), Ok(()));
    }

    /// One pair cannot talk, all others can: no dead incarnation comes back (checked inside), and when the link is whole
    /// again all are one cluster.
    #[test]
    fn one_link_is_cut(count in 3usize..8, seed: u64, a in 0usize..8, b in 0usize..8, lasts in 100u64..60_000) {
        // Two different ones: the second is so many behind the first.
        let a = a % count;
        let b = (a + 1 + b % (count - 1)) % count;
        let mut sim = full(count, seed, 50);
        sim.cut(Some((a, b)));
        sim.run(lasts);
        sim.cut(None);
        sim.run(60_000);
        prop_assert_eq!(sim.agreed(&sim.on()), Ok(()));
    }

    /// A pause shorter than the limit harms nobody; a longer one ends with the node a member again.
    #[test]
    fn a_paused_node(count in 2usize..7, seed: u64, who in 0usize..7, ms in 100u64..15_000) {
        let mut sim = full(count, seed, 50);
        sim.pause(who % count, ms);
        sim.run(ms + 20_000);
        if ms < 2_000 {
            prop_assert_eq!(sim.declared_alive, 0);
        }
        prop_assert_eq!(sim.agreed(&sim.on()), Ok(()));
    }

    /// Whatever happens: no incarnation comes back from the dead (checked inside), and when the faults end, all that are
    /// on become one cluster.
    #[test]
    fn anything(count in 2usize..8, seed: u64, delay in 1u64..400, back: bool, faults in prop::collection::vec(fault(), 0..40)) {
        let mut sim = Sim::new(count, seed, delay, back);
        sim.start(0);
        for fault in faults {
            match fault {
                Fault::Kill(i) => sim.kill(i % count),
                Fault::Start(i) => sim.start(i % count),
                Fault::Leave(i) => sim.leave(i % count),
                Fault::Pause(i, ms) => sim.pause(i % count, ms),
                Fault::Partition(mask) => sim.partition(mask),
                Fault::Heal => sim.partition(0),
                Fault::Wait(ms) => sim.run(ms),
            }
        }
        sim.partition(0);
        sim.run(120_000);
        prop_assert_eq!(sim.agreed(&sim.on()), Ok(()));
    }
}

/// Runs per property: `BANYAN_CASES` if it is set.
fn cases(default: u32) -> u32 {
    std::env::var("BANYAN_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}
