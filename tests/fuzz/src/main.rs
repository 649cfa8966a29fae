// SPDX-License-Identifier: GPL-2.0

//! The fuzzer: one binary for all groups of decoders, chosen by the environment variable `BANYAN_FUZZ`.

#![no_main]

use banyan_targets::{Target, TARGETS};
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

static TARGET: OnceLock<&Target> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("BANYAN_FUZZ").unwrap_or_default();
        TARGETS.iter().find(|t| t.name == name).unwrap_or_else(|| {
            let names: Vec<_> = TARGETS.iter().map(|t| t.name).collect();
            panic!("BANYAN_FUZZ={name:?}: it must be one of {names:?}")
        })
    });
    (target.run)(data);
});
