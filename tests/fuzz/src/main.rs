// SPDX-License-Identifier: GPL-2.0

//! The fuzzer: one binary for all groups of decoders, chosen by the environment variable `BANYAN_FUZZ`. With
//! `BANYAN_FUZZ_SEEDS=DIRECTORY` it only prints the names of the groups and writes inputs to start from there.

#![no_main]

use banyan_targets::{seeds, Target, TARGETS};
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

static TARGET: OnceLock<&Target> = OnceLock::new();

fn start() {
    if let Ok(directory) = std::env::var("BANYAN_FUZZ_SEEDS") {
        for target in TARGETS {
            println!("{}", target.name);
        }
        for (target, number, bytes) in seeds() {
            let to = format!("{directory}/{target}");
            std::fs::create_dir_all(&to).unwrap();
            std::fs::write(format!("{to}/seed{number}"), bytes).unwrap();
        }
        std::process::exit(0);
    }
    let name = std::env::var("BANYAN_FUZZ").unwrap_or_default();
    let Some(target) = TARGETS.iter().find(|t| t.name == name) else {
        eprintln!("BANYAN_FUZZ={name:?}: there is no such target");
        std::process::exit(2);
    };
    TARGET.get_or_init(|| target);
}

fuzz_target!(
    init: start(),
    |data: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(data);
        }
    }
);
