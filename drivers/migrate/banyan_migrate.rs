// SPDX-License-Identifier: GPL-2.0

//! `banyan_migrate.ko`: moves running processes between nodes.

#![deny(unsafe_code)]

use kernel::prelude::*;

module! {
    type: MigrateModule,
    name: "banyan_migrate",
    authors: ["The Banyan developers"],
    description: "Banyan: moves running processes between machines",
    license: "GPL",
}

struct MigrateModule;

impl kernel::Module for MigrateModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        pr_info!("loaded, this node is {:?}\n", banyan::this_node());
        Ok(Self)
    }
}

impl Drop for MigrateModule {
    fn drop(&mut self) {
        pr_info!("unloaded\n");
    }
}
