// SPDX-License-Identifier: GPL-2.0

//! Scheduling and limits: policy, priorities, CPUs, resource limits.
//!
//! The CPUs that a process asked for are those of its home. Where none of them is, or where the node cannot even count them, it runs on
//! all; the deputy keeps what was asked for and has it again when the process returns, unless the process asked anew meanwhile.

use super::Kind;
use crate::{
    capture::Capture,
    reasons::Reasons, //
    rebuild::Rebuild,
};
use banyan_wire::{
    image_state::{
        self as records,
        Limit, //
    },
    Reason,
    Wire, //
};
use kernel::prelude::*;
use kernel_ext::{
    attributes::{
        self,
        Scheduling,
        LIMITS, //
    },
    own::Own,
    subject::Subject,
    syscalls::Syscalls, //
};

/// This kind.
pub static KIND: Kind = Kind {
    name: "scheduling",
    carried: "policy, nice value, real-time priority, time slice, timer slack, I/O priority, CPU affinity (widened where the node has \
              none of the CPUs, and restored on return), all resource limits, OOM score",
    refused: "deadline and extensible scheduling (real-time)",
    check,
    capture,
    restore,
    finish,
    leave,
    ..Kind::NOTHING
};

/// What is kept until the end of the image.
#[derive(Default)]
pub struct Rebuilt {
    scheduling: Option<records::Scheduling>,
    limits: Option<records::Limits>,
    affinity: Option<KVec<u32>>,
}

const SCHED_DEADLINE: u32 = 6;
const SCHED_EXT: u32 = 7;
const RLIMIT_CPU: u32 = 0;

fn check(subject: &Subject, reasons: &mut Reasons) {
    let policy = subject.facts().policy;
    if policy == SCHED_DEADLINE || policy == SCHED_EXT {
        reasons.push(Reason::RealTime, policy);
    }
}

fn capture(own: &Own, capture: &mut Capture) -> Result {
    let it = own.scheduling();
    capture.value(
        records::SCHEDULING,
        records::VERSION,
        &records::Scheduling {
            policy: it.policy,
            reset_on_fork: it.reset_on_fork.into(),
            nice: it.nice,
            rt_priority: it.rt_priority,
            slice: it.slice,
            timer_slack: it.timer_slack,
            default_timer_slack: it.default_timer_slack,
            io_priority: it.io_priority,
            _pad: 0,
        },
    )?;

    let mut limits = [Limit::default(); records::LIMIT_COUNT];
    for (to, (soft, hard)) in limits.iter_mut().zip(own.limits()) {
        *to = Limit { soft, hard };
    }
    let (oom_score_adj, oom_score_adj_min) = own.oom_score();
    capture.value(
        records::LIMITS,
        records::VERSION,
        &records::Limits {
            limits,
            oom_score_adj,
            oom_score_adj_min,
        },
    )?;

    if let Some(words) = own.requested_cpus()? {
        let mut bytes = KVec::from_elem(0u8, words.len().saturating_mul(4), GFP_KERNEL)?;
        let len = records::encode_words(&words, &mut bytes).map_err(|_| EINVAL)?;
        capture.record(
            records::AFFINITY,
            records::VERSION,
            bytes.get(..len).ok_or(EINVAL)?,
        )?;
    }
    Ok(())
}

fn restore(
    _own: &Own,
    rebuild: &mut Rebuild,
    rtype: u16,
    version: u16,
    payload: &[u8],
) -> Result<bool> {
    let state = &mut rebuild.scheduling;
    match (rtype, version) {
        (records::SCHEDULING, records::VERSION) => {
            let record = records::Scheduling::decode(payload).map_err(|_| EBADMSG)?;
            if record.policy == SCHED_DEADLINE || record.policy == SCHED_EXT {
                return Err(EBADMSG);
            }
            state.scheduling = Some(record);
        }
        (records::LIMITS, records::VERSION) => {
            state.limits = Some(records::Limits::decode(payload).map_err(|_| EBADMSG)?);
        }
        (records::AFFINITY, records::VERSION) => {
            let mut words = KVec::new();
            for word in records::decode_words(payload).map_err(|_| EBADMSG)? {
                words.push(word.map_err(|_| EBADMSG)?, GFP_KERNEL)?;
            }
            state.affinity = Some(words);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn finish(own: &Own, rebuild: &mut Rebuild) -> Result {
    let state = &mut rebuild.scheduling;
    let record = state.scheduling.take().ok_or(EBADMSG)?;
    let limits = state.limits.take().ok_or(EBADMSG)?;
    let affinity = state.affinity.take();
    let calls = Syscalls::new(own, rebuild.scratch(own)?);

    if record.io_priority != own.scheduling().io_priority {
        calls.set_io_priority(record.io_priority)?;
    }
    own.set_scheduling(&Scheduling {
        policy: record.policy,
        reset_on_fork: record.reset_on_fork != 0,
        nice: record.nice,
        rt_priority: record.rt_priority,
        slice: record.slice,
        timer_slack: record.timer_slack,
        default_timer_slack: record.default_timer_slack,
        io_priority: record.io_priority,
    })?;
    if let Some(words) = affinity {
        if attributes::any_cpu_here(&words) && attributes::all_countable(&words) {
            calls.set_affinity(&words)?;
        }
    }

    let mut pairs = [(0, 0); LIMITS];
    for (to, from) in pairs.iter_mut().zip(limits.limits) {
        *to = (from.soft, from.hard);
    }
    own.set_limits(&pairs);
    // The CPU limit has a timer behind it, which only the call starts.
    if let Some(cpu) = limits.limits.first().filter(|cpu| cpu.soft != u64::MAX) {
        calls.set_limit(RLIMIT_CPU, cpu.soft, cpu.hard)?;
    }
    own.set_oom_score(limits.oom_score_adj, limits.oom_score_adj_min);
    Ok(())
}

fn leave(own: &Own, _capture: &mut Capture) {
    // The guest counts, and is stopped by the limit: not the deputy, which is made to appear to have used what the guest has.
    let mut limits = own.limits();
    if let Some(cpu) = limits.get_mut(RLIMIT_CPU as usize) {
        *cpu = (u64::MAX, u64::MAX);
    }
    own.set_limits(&limits);
}
