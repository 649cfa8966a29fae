// SPDX-License-Identifier: GPL-2.0

//! The fuzzer: one binary for all groups of decoders, chosen by the environment variable `BANYAN_FUZZ`. With
//! `BANYAN_FUZZ_SEEDS=DIRECTORY` it only writes inputs to start from there.

#![no_main]

use banyan_targets::{seeds, Target, TARGETS};
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

static TARGET: OnceLock<&Target> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(|| {
        if let Ok(directory) = std::env::var("BANYAN_FUZZ_SEEDS") {
            for (target, number, bytes) in seeds() {
                let to = format!("{directory}/{target}");
                std::fs::create_dir_all(&to).unwrap();
                std::fs::write(format!("{to}/seed{number}"), bytes).unwrap();
            }
            std::process::exit(0);
        }
        let name = std::env::var("BANYAN_FUZZ").unwrap_or_default();
        TARGETS.iter().find(|t| t.name == name).unwrap_or_else(|| {
            let names: Vec<_> = TARGETS.iter().map(|t| t.name).collect();
            panic!("BANYAN_FUZZ={name:?}: it must be one of {names:?}")
        })
    });
    (target.run)(data);
});
