// SPDX-License-Identifier: GPL-2.0

//! `banyan_migrate.ko`: moves running processes between nodes.
//!
//! [`handover`] is the order of a move at the source and [`arrival`] at the target; [`kinds`] know the parts of a process, [`capture`] and
//! [`rebuild`] are the two ends of its image; [`deputy`] stays at home, [`guest`] runs elsewhere, [`files`] are used by both. [`service`] is
//! what other nodes ask, [`control`] what local programs ask, [`state`] what is known.

#![deny(unsafe_code)]

mod arrival;
mod capture;
mod control;
mod deputy;
mod files;
mod guest;
mod handover;
mod kinds;
mod link;
mod reasons;
mod rebuild;
mod request;
mod service;
mod state;
mod table;

use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    boundary,
    kthread::KThread, //
};

module! {
    type: MigrateModule,
    name: "banyan_migrate",
    authors: ["The Banyan developers"],
    description: "Banyan: moves running processes between machines",
    license: "GPL",
}

/// What is up while the module is loaded, in the order in which it goes.
struct MigrateModule {
    registration: Option<banyan::Registration>,
    keeper: Option<KThread>,
    files: Option<files::Up>,
    state: Arc<state::State>,
}

impl kernel::Module for MigrateModule {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let state = state::State::start(module)?;
        let mut up = Self {
            registration: None,
            keeper: None,
            files: None,
            state: state.clone(),
        };
        // From here on `up` undoes what is done if the next step fails.
        up.files = Some(files::start(module)?);
        let kept = state.clone();
        up.keeper = Some(KThread::spawn(fmt!("banyan/guests"), move || guest::keeper(kept))?);
        let service = Arc::new(service::MigrateService(state), GFP_KERNEL)?;
        up.registration = Some(banyan::register(service)?);
        Ok(up)
    }
}

impl Drop for MigrateModule {
    fn drop(&mut self) {
        // No calls from outside any more; then none from inside.
        drop(self.registration.take());
        self.state.errands.stop();
        drop(self.keeper.take());
        drop(self.files.take());
        state::State::stop();
        boundary::synchronize();
    }
}
