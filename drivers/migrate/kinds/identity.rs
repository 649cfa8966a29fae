// SPDX-License-Identifier: GPL-2.0

//! Identity: name, personality, umask, dumpability and other small settings of the process.

use super::Kind;
use crate::{
    capture::Capture,
    rebuild::Rebuild, //
};
use banyan_wire::{
    ids,
    image_state::{
        self as records,
        identity, //
    },
    NodeId,
    Wire, //
};
use kernel::prelude::*;
use kernel_ext::{
    own::Own,
    syscalls::Syscalls,
    wait::{
        self,
        Interrupt, //
    }, //
};

/// This kind.
pub static KIND: Kind = Kind {
    name: "identity",
    carried: "process group and session, name (comm), personality, umask, dumpability, child subreaper, transparent huge pages switched off, machine check \
              policy, choice of timer ids; a signal on the parent's death stays with the deputy",
    refused: "nothing",
    capture,
    restore,
    finish,
    committed,
    ..Kind::NOTHING
};

/// What is kept until the end of the image.
#[derive(Default)]
pub struct Rebuilt {
    identity: Option<records::Identity>,
}

impl Rebuilt {
    /// Whether the process chooses the ids of its POSIX timers itself.
    pub fn chooses_timer_ids(&self) -> bool {
        self.identity
            .is_some_and(|record| record.flags & identity::TIMER_IDS != 0)
    }
}

/// How often, and after how long, a number that is just being given up is tried again.
const RETRIES: usize = 5;
const RETRY_MS: u32 = 20;

const PR_MCE_KILL: u32 = 33;
const PR_MCE_KILL_SET: u64 = 1;
const PR_SET_THP_DISABLE: u32 = 41;
const PR_THP_DISABLE_EXCEPT_ADVISED: u64 = 2;

fn capture(own: &Own, capture: &mut Capture) -> Result {
    let it = own.identity();
    let (group, session) = own.process_groups();
    let flag = |set: bool, flag: u32| if set { flag } else { 0 };
    // At home the deputy goes on having the parent.
    let away = capture.journey.source != capture.journey.home;
    capture.value(
        records::IDENTITY,
        records::VERSION,
        &records::Identity {
            comm: it.comm,
            personality: it.personality,
            umask: it.umask,
            dumpable: it.dumpable,
            flags: flag(it.subreaper, identity::SUBREAPER)
                | flag(it.huge_pages == 1, identity::NO_HUGE_PAGES)
                | flag(it.huge_pages == 2, identity::ADVISED_HUGE_PAGES)
                | flag(it.timer_ids, identity::TIMER_IDS),
            parent_death_signal: if away { it.parent_death_signal } else { 0 },
            mce_kill: it.mce_kill,
            group,
            session,
        },
    )
}

fn restore(
    _own: &Own,
    rebuild: &mut Rebuild,
    rtype: u16,
    version: u16,
    payload: &[u8],
) -> Result<bool> {
    if (rtype, version) != (records::IDENTITY, records::VERSION) {
        return Ok(false);
    }
    let record = records::Identity::decode(payload).map_err(|_| EBADMSG)?;
    if record.flags & !identity::ALL != 0 || record.dumpable > 2 || record.mce_kill > 2 {
        return Err(EBADMSG);
    }
    rebuild.identity.identity = Some(record);
    Ok(true)
}

fn finish(own: &Own, rebuild: &mut Rebuild) -> Result {
    let record = rebuild.identity.identity.ok_or(EBADMSG)?;
    let calls = Syscalls::new(own, rebuild.scratch(own)?);
    join(own, &calls, rebuild.journey.home, rebuild.at_home, &record);
    own.set_name(&record.comm);
    calls.set_personality(record.personality)?;
    calls.set_umask(record.umask)?;
    own.set_subreaper(record.flags & identity::SUBREAPER != 0);
    let (disable, advised) =
        match record.flags & (identity::NO_HUGE_PAGES | identity::ADVISED_HUGE_PAGES) {
            0 => (0, 0),
            identity::NO_HUGE_PAGES => (1, 0),
            _ => (1, PR_THP_DISABLE_EXCEPT_ADVISED),
        };
    calls.prctl(PR_SET_THP_DISABLE, disable, advised)?;
    calls.prctl(PR_MCE_KILL, PR_MCE_KILL_SET, record.mce_kill.into())?;
    Ok(())
}

/// Makes the process a member of its group and its session.
///
/// At home the deputy is one already, unless the guest has founded new ones. Elsewhere the numbers are reserved by its membership; those
/// given out before the home had its range of pids may mean others here, and are left alone.
fn join(own: &Own, calls: &Syscalls<'_>, home: NodeId, at_home: bool, record: &records::Identity) {
    let of_home = |number: i32| {
        if ids::home_of(number) == Some(home) {
            number
        } else {
            0
        }
    };
    let (group, session) = (of_home(record.group), of_home(record.session));
    let (now_group, now_session) = own.process_groups();
    let result = if !at_home {
        let mut result = own.join_process_groups(group, session);
        for _ in 0..RETRIES {
            if result != Err(EAGAIN) {
                break;
            }
            let _ = wait::sleep(Interrupt::Killable, RETRY_MS);
            result = own.join_process_groups(group, session);
        }
        result
    } else if session == own.pid() && now_session != session {
        calls.set_session()
    } else if group != 0 && group != now_group {
        calls.set_process_group(group)
    } else {
        Ok(())
    };
    if let Err(e) = result {
        // It runs all the same; only jobs of its group cannot be told together there.
        pr_info!("{} is not in its process group: {:?}\n", own.pid(), e);
    }
}

fn committed(own: &Own, rebuild: &mut Rebuild) {
    if let Some(record) = rebuild.identity.identity.take() {
        // After the credentials, which reset both.
        own.set_dumpable(record.dumpable);
        if record.parent_death_signal != 0 {
            own.set_parent_death_signal(record.parent_death_signal);
        }
    }
}
