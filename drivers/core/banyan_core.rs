// SPDX-License-Identifier: GPL-2.0

//! `banyan.ko`: membership of the cluster, transport between its nodes, and the control interfaces.
//!
//! Crate `banyan`, which the other modules use. One instance for each machine.

#![deny(unsafe_code)]

use kernel::prelude::*;

module! {
    type: BanyanModule,
    name: "banyan",
    authors: ["The Banyan developers"],
    description: "Banyan: membership and transport of a cluster that acts as one machine",
    license: "GPL",
}

struct BanyanModule;

impl kernel::Module for BanyanModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        kernel_ext::ksym::resolve()?;
        pr_info!("loaded\n");
        Ok(Self)
    }
}

impl Drop for BanyanModule {
    fn drop(&mut self) {
        pr_info!("unloaded\n");
    }
}

/// TODO
pub fn this_node() -> Option<u8> {
    None
}
