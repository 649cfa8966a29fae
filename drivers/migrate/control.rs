// SPDX-License-Identifier: GPL-2.0

//! The device calls of this module (`banyan_wire::uapi`), in the context of their callers.

use crate::{
    arrival::{
        self,
        Arrival, //
    },
    drain,
    files,
    handover,
    link,
    request,
    state::State, //
};
use banyan::device_arg;
use banyan_wire::{
    guest::Doing,
    migrate::{
        times_moved,
        Clocks,
        ExplainReply,
        ExplainRequest,
        MigrateReply,
        MigrateRequest,
        REQUEST_PRIVILEGED, //
    },
    op,
    uapi::{
        self,
        proc_state,
        Drain,
        Explain,
        List,
        Migrate,
        ProcRecord,
        ServeEnter,
        ServeFailed,
        ServeState,
        ServeWait,
        Where,
        DRAIN_KEEP_OUT,
        MIGRATE_WAIT, //
    },
    NodeId,
    Reason, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};
use kernel_ext::{
    caller::{
        self,
        Capability, //
    },
    clock,
    machine,
    own::Own,
    subject::Subject,
    wait::Interrupt, //
};

/// Questions for the clocks of a home; the one that was answered fastest counts.
const CLOCK_TRIES: u32 = 3;

fn admin() -> Result {
    caller::capable(Capability::SysAdmin)
        .then_some(())
        .ok_or(EPERM)
}

/// A device call.
///
/// # Errors
///
/// Those of the calls; `ENOTTY` for an unknown one.
pub fn ioctl(state: &Arc<State>, command: u32, argument: usize) -> Result<isize> {
    const MIGRATE: u8 = uapi::nr(uapi::MIGRATE);
    const EXPLAIN: u8 = uapi::nr(uapi::EXPLAIN);
    const WHERE: u8 = uapi::nr(uapi::WHERE);
    const SERVE_WAIT: u8 = uapi::nr(uapi::SERVE_WAIT);
    const SERVE_ENTER: u8 = uapi::nr(uapi::SERVE_ENTER);
    const SERVE_FAILED: u8 = uapi::nr(uapi::SERVE_FAILED);
    const SERVE_STATE: u8 = uapi::nr(uapi::SERVE_STATE);
    const LIST: u8 = uapi::nr(uapi::LIST);
    const DRAIN: u8 = uapi::nr(uapi::DRAIN);
    const MOUNTS: u8 = uapi::nr(uapi::MOUNTS);
    match uapi::nr(command) {
        MIGRATE => migrate(state, argument),
        EXPLAIN => explain(state, argument),
        WHERE => locate(state, argument),
        SERVE_WAIT => serve_wait(state, argument),
        SERVE_ENTER => serve_enter(state, argument),
        SERVE_FAILED => serve_failed(state, argument),
        SERVE_STATE => serve_state(state, argument),
        LIST => list(state, argument),
        DRAIN => empty(state, argument),
        MOUNTS => {
            admin()?;
            files::tell_mounts(argument)
        }
        _ => Err(ENOTTY),
    }
}

fn request_flags() -> u16 {
    if caller::capable(Capability::SysPtrace) {
        REQUEST_PRIVILEGED
    } else {
        0
    }
}

/// The errno that goes with a reason.
fn errno_of(reason: Reason) -> Error {
    match reason {
        Reason::NoSuchProcess => ESRCH,
        Reason::NodeDown | Reason::NoSuchNode | Reason::HomeDown => EHOSTUNREACH,
        Reason::Busy => EBUSY,
        Reason::NotPermitted => EPERM,
        Reason::NotJoined => ENOTCONN,
        Reason::Interrupted => EINTR,
        reason if reason.code() >= 150 => ECANCELED,
        _ => EOPNOTSUPP,
    }
}

fn migrate(state: &Arc<State>, argument: usize) -> Result<isize> {
    let mut call: Migrate = device_arg::read(argument)?;
    if call.flags & !MIGRATE_WAIT != 0 {
        return Err(EINVAL);
    }
    let wanted = MigrateRequest {
        pid: call.pid,
        uid: caller::euid(),
        node: NodeId::from_u32(call.node).ok_or(EHOSTUNREACH)?,
        hops: 0,
        flags: request_flags(),
    };
    let reply = if call.flags & MIGRATE_WAIT != 0 {
        request::migrate(state, &wanted)
    } else {
        let errand = state.clone();
        state.errands.spawn(fmt!("banyan/move"), move || {
            let reply = request::migrate(&errand, &wanted);
            if reply.reason != 0 {
                pr_info!(
                    "{} not moved: {}\n",
                    wanted.pid,
                    Reason::text_of_code(reply.reason)
                );
            }
        })?;
        MigrateReply {
            errno: 0,
            reason: 0,
            ..handover::refused(Reason::Busy, None)
        }
    };
    call.reason = u32::from(reply.reason);
    call.freeze_us = reply.freeze_us;
    call.total_us = reply.total_us;
    call.bytes = reply.bytes;
    device_arg::write(argument, &call)?;
    match Reason::from_code(reply.reason) {
        None if reply.reason == 0 => Ok(0),
        None => Err(ECANCELED),
        Some(reason) => Err(errno_of(reason)),
    }
}

fn explain(state: &Arc<State>, argument: usize) -> Result<isize> {
    let mut call: Explain = device_arg::read(argument)?;
    let wanted = ExplainRequest {
        pid: call.pid,
        uid: caller::euid(),
        node: match call.node {
            0 => None,
            node => Some(NodeId::from_u32(node).ok_or(EHOSTUNREACH)?),
        },
        hops: 0,
        flags: request_flags(),
    };
    let reasons = request::explain(state, &wanted)?;
    let records = ExplainReply::decode(&reasons).map_err(|_| EBADMSG)?.reasons;
    let room = call.count;
    call.count = u32::try_from(device_arg::write_array(
        call.buf,
        room as usize,
        records.filter_map(|r| r.ok()),
    )?)?;
    device_arg::write(argument, &call)?;
    if call.count > room {
        return Err(ENOSPC);
    }
    Ok(0)
}

fn locate(state: &Arc<State>, argument: usize) -> Result<isize> {
    let mut call: Where = device_arg::read(argument)?;
    let located = request::locate(state, call.pid)?;
    call.home = located.home.map_or(0, |node| u32::from(node.get()));
    call.node = located.node.map_or(0, |node| u32::from(node.get()));
    call.state = located.state;
    call.moves = times_moved(located.moves);
    device_arg::write(argument, &call)?;
    Ok(0)
}

/// What the child's clocks must add, and the name of its home.
fn clocks_of(home: NodeId) -> Result<(i64, i64, [u8; 64])> {
    let mut best: Option<(u64, i64, i64, [u8; 64])> = None;
    for _ in 0..CLOCK_TRIES {
        let asked = clock::monotonic_ns();
        let theirs: Clocks = link::ask(home, op::CLOCKS, &0u8, link::ANSWER_MS)?;
        let (monotonic, boottime) = (clock::monotonic_ns(), clock::boottime_ns());
        let round = monotonic.saturating_sub(asked);
        if best.is_none_or(|(fastest, ..)| round < fastest) {
            // Never ahead of the home: the clock of the process must not jump back when it returns there.
            let offset = |theirs: u64, ours: u64| theirs.wrapping_sub(ours) as i64;
            best = Some((
                round,
                offset(theirs.monotonic_ns, monotonic),
                offset(theirs.boottime_ns, boottime),
                theirs.name,
            ));
        }
    }
    best.map(|(_, monotonic, boottime, name)| (monotonic, boottime, name))
        .ok_or(EIO)
}

fn serve_wait(state: &Arc<State>, argument: usize) -> Result<isize> {
    admin()?;
    let mut call: ServeWait = device_arg::read(argument)?;
    let _server = Server::new(state);
    loop {
        let arrival = next_unserved(state)?;
        let clocks = if banyan::this_node() == Some(arrival.journey.home) {
            Ok((0, 0, machine::host_name()))
        } else {
            clocks_of(arrival.journey.home)
        };
        let (monotonic, boottime, name) = match clocks {
            Ok(clocks) => clocks,
            Err(e) => {
                pr_info!("clocks of node {}: {:?}\n", arrival.journey.home.get(), e);
                arrival.abort(Reason::TimeOffset, true);
                continue;
            }
        };
        call.arrival = arrival.journey.migration.get();
        call.pid = arrival.journey.pid;
        call.home = u32::from(arrival.journey.home.get());
        call.monotonic_offset = monotonic;
        call.boottime_offset = boottime;
        for (to, from) in call.nodename.iter_mut().zip(name) {
            *to = from;
        }
        if let Err(e) = device_arg::write(argument, &call) {
            arrival.abort(Reason::ChildFailed, true);
            return Err(e);
        }
        // It will be back; until then those that come wait for it.
        state.served_ms.store(clock::monotonic_ms(), Relaxed);
        return Ok(0);
    }
}

/// Counts as one that serves while it lives.
struct Server<'a>(&'a State);

impl<'a> Server<'a> {
    fn new(state: &'a State) -> Self {
        state.servers.fetch_add(1, Relaxed);
        Self(state)
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.0.servers.fetch_sub(1, Relaxed);
    }
}

fn next_unserved(state: &State) -> Result<Arc<Arrival>> {
    let take = || {
        let mut unserved = state.unserved.lock();
        if unserved.is_empty() {
            None
        } else {
            unserved.remove(0).ok()
        }
    };
    loop {
        let mut found = None;
        let waited = state.serve.wait(Interrupt::Any, 3_600_000, || {
            found = take();
            found.is_some() || state.stopping.load(Relaxed)
        });
        if let Some(arrival) = found {
            return Ok(arrival);
        }
        if state.stopping.load(Relaxed) {
            return Err(ESHUTDOWN);
        }
        if waited == Err(EINTR) {
            // It was told to go, perhaps by SIGKILL: nobody is on the way back.
            state.served_ms.store(0, Relaxed);
            return Err(EINTR);
        }
    }
}

fn serve_enter(state: &Arc<State>, argument: usize) -> Result<isize> {
    admin()?;
    let call: ServeEnter = device_arg::read(argument)?;
    let arrival = state.arrivals.get(call.arrival).ok_or(ENOENT)?;
    let own = Own::of_caller()?;
    if own.pid() != arrival.journey.pid {
        return Err(EINVAL);
    }
    if arrival::become_process(&own, state, &arrival) {
        return Ok(0);
    }
    // It has nothing left to return to.
    Subject::current().kill(9);
    Err(ECANCELED)
}

fn serve_failed(state: &Arc<State>, argument: usize) -> Result<isize> {
    admin()?;
    let call: ServeFailed = device_arg::read(argument)?;
    let arrival = state.arrivals.get(call.arrival).ok_or(ENOENT)?;
    let reason = if call.errno == 17 {
        Reason::PidTaken
    } else {
        Reason::ChildFailed
    };
    arrival.abort(reason, true);
    Ok(0)
}

fn serve_state(state: &Arc<State>, argument: usize) -> Result<isize> {
    admin()?;
    let call: ServeState = device_arg::read(argument)?;
    let doing = Doing::from_code(call.what).ok_or(EINVAL)?;
    let guest = state.guests.get(call.pid).ok_or(ESRCH)?;
    // Ends are reported by the kernel, which knows them first.
    if doing != Doing::Exited {
        guest.child_state(doing, u32::try_from(call.status).unwrap_or(0));
    }
    Ok(0)
}

fn list(state: &Arc<State>, argument: usize) -> Result<isize> {
    let mut call: List = device_arg::read(argument)?;
    let here = banyan::this_node().map_or(0, |node| u32::from(node.get()));
    let now = clock::monotonic_ms();
    let mut records = KVVec::new();
    for deputy in state.deputies.snapshot().iter() {
        let place = deputy.place();
        let (cpu_ns, rss_kib) = deputy.figures();
        let record = ProcRecord {
            pid: deputy.pid,
            home: here,
            node: u32::from(place.node.get()),
            state: proc_state::AWAY,
            uid: deputy.subject.real_uid(),
            moves: times_moved(place.moves),
            cpu_ns,
            rss_kib,
            since_ms: now.saturating_sub(deputy.since_ms),
            comm: deputy.subject.name(),
        };
        records.push(record, GFP_KERNEL)?;
    }
    for guest in state.guests.snapshot().iter() {
        let usage = guest.subject.usage();
        let record = ProcRecord {
            pid: guest.pid,
            home: u32::from(guest.home.get()),
            node: here,
            state: proc_state::GUEST,
            uid: guest.subject.real_uid(),
            moves: times_moved(guest.moves),
            cpu_ns: usage.utime_ns.saturating_add(usage.stime_ns),
            rss_kib: usage.rss_kib,
            since_ms: now.saturating_sub(guest.since_ms),
            comm: guest.subject.name(),
        };
        records.push(record, GFP_KERNEL)?;
    }
    let room = call.count;
    call.count = u32::try_from(device_arg::write_array(
        call.buf,
        room as usize,
        records.iter().copied(),
    )?)?;
    device_arg::write(argument, &call)?;
    if call.count > room {
        return Err(ENOSPC);
    }
    Ok(0)
}

fn empty(state: &Arc<State>, argument: usize) -> Result<isize> {
    admin()?;
    let mut call: Drain = device_arg::read(argument)?;
    if call.flags & !DRAIN_KEEP_OUT != 0 {
        return Err(EINVAL);
    }
    if call.flags & DRAIN_KEEP_OUT != 0 {
        state.keep_out.store(true, Relaxed);
    }
    let drained = drain::run(state)?;
    call.moved = drained.moved;
    if let Some((pid, reason)) = drained.held {
        call.pid = pid;
        call.reason = u32::from(reason);
    }
    device_arg::write(argument, &call)?;
    if call.pid != 0 {
        return Err(EBUSY);
    }
    Ok(0)
}
