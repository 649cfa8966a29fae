// SPDX-License-Identifier: GPL-2.0

//! `banyan_selftest.ko`: tests of what only a kernel can test, reported as KTAP on the console. Not shipped.

#![deny(unsafe_code)]

use kernel::prelude::*;

module! {
    type: SelftestModule,
    name: "banyan_selftest",
    authors: ["The Banyan developers"],
    description: "Banyan: self-tests",
    license: "GPL",
}

struct SelftestModule;

impl kernel::Module for SelftestModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        pr_info!("loaded, this node is {:?}\n", banyan::this_node());
        Ok(Self)
    }
}

impl Drop for SelftestModule {
    fn drop(&mut self) {
        pr_info!("unloaded\n");
    }
}
