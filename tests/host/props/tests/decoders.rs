// SPDX-License-Identifier: GPL-2.0

//! Every decoder with random bytes, and with random values that were encoded.

use banyan_targets::TARGETS;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(20_000), failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes: no panic; what is accepted is written back as it was.
    #[test]
    fn any_bytes(which in 0..TARGETS.len(), bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        (TARGETS[which].run)(&bytes);
    }

    /// Mostly zeros and small numbers: gets past more checks.
    #[test]
    fn small_numbers(which in 0..TARGETS.len(), select: u8, bytes in prop::collection::vec(prop_oneof![6 => Just(0u8), 3 => 0u8..4, 1 => any::<u8>()], 0..2100)) {
        let mut input = vec![select];
        input.extend(bytes);
        (TARGETS[which].run)(&input);
    }
}

/// Runs per property: `BANYAN_CASES` if it is set.
fn cases(default: u32) -> u32 {
    std::env::var("BANYAN_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}

/// The inputs that the fuzzer starts from are good ones.
#[test]
fn seeds_run() {
    for (name, _, bytes) in banyan_targets::seeds() {
        let target = TARGETS.iter().find(|t| t.name == name).unwrap();
        (target.run)(&bytes);
    }
}
