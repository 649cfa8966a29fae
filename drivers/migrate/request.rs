// SPDX-License-Identifier: GPL-2.0

//! Requests about a process, wherever it is: move it, explain why it cannot, find it. From the device of this node or from another node.
//!
//! A process is found here (as itself or as a guest), by its deputy here, or through its home, which its pid names.

use crate::{
    arrival,
    handover,
    link,
    reasons::Reasons,
    state::State, //
};
use banyan::Failure;
use banyan_wire::{
    ids,
    migrate::{
        ExplainReply,
        ExplainRequest,
        Locate,
        Located,
        MigrateReply,
        MigrateRequest,
        Offer,
        REQUEST_PRIVILEGED, //
    },
    op,
    uapi::{
        proc_state,
        ReasonRecord, //
    },
    NodeId,
    Reason,
    Wire, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    time::Msecs, //
};
use kernel_ext::{
    machine,
    subject::Subject,
    wait::{
        self,
        Interrupt, //
    }, //
};

/// Most times that a request is passed on.
const MAX_HOPS: u8 = 4;
/// How often the home looks again for a guest that is just between two nodes, and the pause between, milliseconds.
const LOOKS: u32 = 30;
const LOOK_AGAIN_MS: Msecs = 100;
/// Longest wait for a move at another node, milliseconds.
const MOVE_MS: Msecs = 600_000;

/// Where a process is, for a request.
enum Found {
    /// It runs on this node.
    Here(Subject),
    /// That node knows more.
    There(NodeId),
    /// It is on its way from here or to here.
    Moving,
    Nowhere,
}

fn find(state: &State, pid: i32) -> Found {
    // Half of it is here, and looks like anything.
    if state.is_moving(pid) {
        return Found::Moving;
    }
    if let Some(deputy) = state.deputies.get(pid) {
        return Found::There(deputy.place().node);
    }
    if let Some(guest) = state.guests.get(pid) {
        return Found::Here(guest.subject.clone());
    }
    if let Some(subject) = Subject::find(pid) {
        return Found::Here(subject);
    }
    match ids::home_of(pid) {
        Some(home) if Some(home) != banyan::this_node() => Found::There(home),
        _ => Found::Nowhere,
    }
}

/// Whether a request may be passed on. Where a process has just been, the home that asks is not asked in turn.
fn may_pass(state: &State, pid: i32, hops: u8) -> bool {
    hops == 0 || (hops < MAX_HOPS && state.deputies.get(pid).is_some())
}

/// Whether the caller may move it: root, or the user whose process it is.
fn permitted(subject: &Subject, uid: u32, flags: u16) -> bool {
    flags & REQUEST_PRIVILEGED != 0 || subject.belongs_to(uid)
}

/// Asks again, at the home, while a guest is between two nodes: the one that it has left no longer knows it, and the one where it is now
/// has not yet told. `unknown` says of an answer that it is this.
fn settled<T>(
    state: &State,
    pid: i32,
    mut ask: impl FnMut() -> T,
    unknown: impl Fn(&T) -> bool,
) -> T {
    let mut looks = 0;
    loop {
        let answer = ask();
        if looks >= LOOKS || !unknown(&answer) || state.deputies.get(pid).is_none() {
            return answer;
        }
        looks += 1;
        if wait::sleep(Interrupt::Killable, LOOK_AGAIN_MS).is_err() {
            return answer;
        }
    }
}

/// Moves a process. Returns when it is done.
pub fn migrate(state: &Arc<State>, wanted: &MigrateRequest) -> MigrateReply {
    let unknown = |reply: &MigrateReply| reply.reason == Reason::NoSuchProcess.code();
    settled(state, wanted.pid, || migrate_once(state, wanted), unknown)
}

fn migrate_once(state: &Arc<State>, wanted: &MigrateRequest) -> MigrateReply {
    match find(state, wanted.pid) {
        Found::Moving => handover::refused(Reason::Busy, banyan::this_node()),
        Found::Here(subject) => {
            if !permitted(&subject, wanted.uid, wanted.flags) {
                return handover::refused(Reason::NotPermitted, banyan::this_node());
            }
            handover::depart(state, &subject, wanted.node)
        }
        Found::There(node) if may_pass(state, wanted.pid, wanted.hops) => {
            let passed_on = MigrateRequest {
                hops: wanted.hops.saturating_add(1),
                ..*wanted
            };
            link::ask(node, op::MIGRATE, &passed_on, MOVE_MS).unwrap_or_else(|failure: Failure| {
                let reason = Reason::from_code(failure.reason).unwrap_or(match failure.errno {
                    e if e == EINTR => Reason::Interrupted,
                    e if e == ETIMEDOUT => Reason::TimedOut,
                    e if e == EHOSTUNREACH => Reason::NodeDown,
                    _ => Reason::Transport,
                });
                handover::refused(reason, None)
            })
        }
        _ => handover::refused(Reason::NoSuchProcess, None),
    }
}

fn record(reason: Reason, about: u32) -> ReasonRecord {
    let mut text = [0; 120];
    if reason == Reason::KernelAbi {
        // Of the node that has it against the process.
        for (to, from) in text.iter_mut().zip(machine::kernel_release()) {
            *to = from;
        }
    }
    ReasonRecord {
        code: reason.code(),
        _pad: 0,
        a: about,
        text,
    }
}

/// Adds reasons to an answer, as many as fit.
fn append(out: &mut KVVec<u8>, reasons: &Reasons) -> Result {
    for (reason, about) in reasons.iter() {
        let mut bytes = [0; ReasonRecord::SIZE];
        record(reason, about)
            .encode(&mut bytes)
            .map_err(|_| EMSGSIZE)?;
        out.extend_from_slice(&bytes, GFP_KERNEL)?;
    }
    Ok(())
}

/// Everything that this node has against a process that another would send: encoded [`ReasonRecord`]s.
///
/// # Errors
///
/// `ENOMEM`.
pub fn objections(state: &State, offer: &Offer) -> Result<KVVec<u8>> {
    let mut reasons = Reasons::new();
    arrival::object(state, offer, &mut reasons);
    let mut out = KVVec::new();
    append(&mut out, &reasons)?;
    Ok(out)
}

/// What the node has against it that it is to go to: encoded [`ReasonRecord`]s.
fn asked(state: &State, subject: &Subject, target: NodeId) -> Result<KVVec<u8>> {
    let answer = match handover::ask(state, subject, target) {
        Ok(answer) if ExplainReply::decode(&answer).is_ok() => return Ok(answer),
        Ok(_) => Reason::Transport,
        Err(failure) => Reason::from_code(failure.reason).unwrap_or(match failure.errno {
            e if e == EHOSTUNREACH => Reason::NodeDown,
            e if e == EOPNOTSUPP => Reason::NotServing,
            _ => Reason::Transport,
        }),
    };
    let mut reasons = Reasons::new();
    reasons.push(answer, u32::from(target.get()));
    let mut out = KVVec::new();
    append(&mut out, &reasons)?;
    Ok(out)
}

/// Every reason why a process cannot move: encoded [`ReasonRecord`]s.
///
/// # Errors
///
/// `ESRCH`, `EPERM`, and those of asking another node.
pub fn explain(state: &Arc<State>, wanted: &ExplainRequest) -> Result<KVVec<u8>, Failure> {
    let unknown = |answer: &Result<KVVec<u8>, Failure>| matches!(answer, Err(failure) if failure.errno == ESRCH);
    settled(state, wanted.pid, || explain_once(state, wanted), unknown)
}

fn explain_once(state: &Arc<State>, wanted: &ExplainRequest) -> Result<KVVec<u8>, Failure> {
    match find(state, wanted.pid) {
        Found::Moving => {
            let mut bytes = KVVec::from_elem(0, ReasonRecord::SIZE, GFP_KERNEL)?;
            record(Reason::Busy, 0)
                .encode(&mut bytes)
                .map_err(|_| EMSGSIZE)?;
            Ok(bytes)
        }
        Found::Here(subject) => {
            if !permitted(&subject, wanted.uid, wanted.flags) {
                return Err(EPERM.into());
            }
            let mut reasons = Reasons::new();
            handover::check(&subject, wanted.node, &mut reasons);
            let mut out = KVVec::new();
            append(&mut out, &reasons)?;
            match wanted.node {
                Some(target)
                    if Some(target) != banyan::this_node() && banyan::is_member(target) =>
                {
                    out.extend_from_slice(&asked(state, &subject, target)?, GFP_KERNEL)?;
                }
                _ => (),
            }
            out.truncate(ExplainReply::MAX.saturating_mul(ReasonRecord::SIZE));
            Ok(out)
        }
        Found::There(node) if may_pass(state, wanted.pid, wanted.hops) => {
            let passed_on = ExplainRequest {
                hops: wanted.hops.saturating_add(1),
                ..*wanted
            };
            let mut bytes = [0; ExplainRequest::SIZE];
            passed_on.encode(&mut bytes).map_err(|_| EMSGSIZE)?;
            // It may ask another node in its turn.
            banyan::call(node, op::EXPLAIN, &bytes, 2 * link::ANSWER_MS)
        }
        _ => Err(ESRCH.into()),
    }
}

/// Where a process is, as far as this node knows.
pub fn locate_here(state: &State, pid: i32) -> Located {
    let here = banyan::this_node();
    let mut located = Located {
        pid,
        state: proc_state::HOME,
        moves: 0,
        home: here,
        node: None,
        _pad: 0,
    };
    if let Some(deputy) = state.deputies.get(pid) {
        let place = deputy.place();
        located.state = proc_state::AWAY;
        located.moves = place.moves;
        located.node = Some(place.node);
    } else if let Some(guest) = state.guests.get(pid) {
        located.state = proc_state::GUEST;
        located.moves = guest.moves;
        located.home = Some(guest.home);
        located.node = here;
    } else if !state.is_moving(pid) && Subject::find(pid).is_some() {
        located.node = here;
    }
    if state.departures.get(pid).is_some() {
        located.state = proc_state::LEAVING;
    }
    located
}

/// Where a process is.
///
/// # Errors
///
/// `ESRCH`, and those of asking its home.
pub fn locate(state: &State, pid: i32) -> Result<Located> {
    let located = locate_here(state, pid);
    if located.node.is_some() {
        return Ok(located);
    }
    match ids::home_of(pid) {
        Some(home) if Some(home) != banyan::this_node() => {
            let located: Located =
                link::ask(home, op::LOCATE, &Locate { pid, _pad: 0 }, link::ANSWER_MS)?;
            located.node.ok_or(ESRCH)?;
            Ok(located)
        }
        _ => Err(ESRCH),
    }
}
