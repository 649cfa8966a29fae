// SPDX-License-Identifier: GPL-2.0

//! `banyan_migrate.ko`: moves running processes between nodes.
//!
//! [`handover`] and [`leaving`] are a move at the source, [`arrival`] is one at the target; [`kinds`] know the parts of a process, [`capture`] and
//! [`rebuild`] are the two ends of its image; [`deputy`] stays at home, [`guest`] runs elsewhere, with [`calls`] that go home; [`files`] are
//! used by both. [`service`] is
//! what other nodes ask, [`control`] what local programs ask, [`state`] what is known, [`faults`] what goes
//! wrong on purpose.

#![deny(unsafe_code)]

pub mod accounts;
pub mod arrival;
pub mod calls;
pub mod capture;
pub mod control;
pub mod debug;
pub mod deputy;
pub mod drain;
pub mod faults;
pub mod files;
pub mod guest;
pub mod handover;
pub mod kinds;
pub mod leaving;
pub mod link;
pub mod reasons;
pub mod rebuild;
pub mod request;
pub mod service;
pub mod state;
pub mod table;

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
    #[expect(dead_code)]
    debug: Pin<KBox<debug::DebugFiles>>,
    keeper: Option<KThread>,
    files: Option<files::Up>,
    state: Arc<state::State>,
}

impl kernel::Module for MigrateModule {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let state = state::State::start(module)?;
        let mut up = Self {
            registration: None,
            debug: debug::DebugFiles::new()?,
            keeper: None,
            files: None,
            state: state.clone(),
        };
        // From here on `up` undoes what is done if the next step fails.
        up.files = Some(files::start(module)?);
        let kept = state.clone();
        up.keeper = Some(KThread::spawn(fmt!("banyan/guests"), move || {
            guest::keeper(kept)
        })?);
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
        self.state.calls.stop();
        drop(self.files.take());
        state::State::stop();
        boundary::synchronize();
    }
}
