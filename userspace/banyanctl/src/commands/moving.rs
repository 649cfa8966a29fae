// SPDX-License-Identifier: GPL-2.0
//! `migrate` and `explain`: moving a process by hand, and why it cannot be moved.

use std::io::Write;

use anyhow::Result;
use banyan_sys::wire::{
    codec::text_of,
    cpu,
    uapi::{ReasonRecord, MIGRATE_WAIT},
    Reason, //
};
use serde::Serialize;

use super::print_json;
use crate::{
    cli::Output,
    device::Control,
    failure::{libc_errno, Failure, Status},
    node,
    table::{size, span}, //
};

/// One reason, in JSON: `name` and `code` are stable, `text` and `detail` are for people.
#[derive(Serialize)]
struct ReasonJson<'a> {
    code: u16,
    name: &'static str,
    text: &'static str,
    /// What it is about: a descriptor, an address, a pid; null when nothing.
    subject: Option<String>,
    number: u32,
    detail: &'a str,
}

/// What the number of a reason names.
fn subject(code: u16, number: u32) -> Option<String> {
    let reason = Reason::from_code(code)?;
    match reason {
        Reason::SharedMemory
        | Reason::SharedMapping
        | Reason::DeviceMapping
        | Reason::HugeTlb
        | Reason::LockedMemory
        | Reason::Userfaultfd
        | Reason::MappedLocalFile
        | Reason::MappedDeletedFile
        | Reason::SpecialMapping
        | Reason::SecretMemory
        | Reason::ProtectionKeys
        | Reason::KernelSamePage
            if number != 0 =>
        {
            Some(format!("at {:#x}", u64::from(number) << 12))
        }
        Reason::Children | Reason::Ptraced | Reason::Tracing | Reason::WaitingVfork
            if number != 0 =>
        {
            Some(format!("process {number}"))
        }
        Reason::PidTaken if number != 0 => Some(format!("process {number}")),
        Reason::NoMemory if number != 0 => Some(format!("{number} MiB are needed")),
        Reason::CpuFeature if number != 0 => {
            Some(cpu::name(number).map_or_else(|| format!("feature {number}"), str::to_owned))
        }
        Reason::XsaveLayout => Some(format!("component {number}")),
        Reason::Threads if number != 0 => Some(format!("{number} threads")),
        // Every reason about files is about a descriptor; of the codes for files one speaks of all of them.
        _ if (20..50).contains(&code)
            && reason != Reason::TooManyFiles
            && reason != Reason::Aio
            && reason != Reason::IoUring =>
        {
            Some(format!("descriptor {number}"))
        }
        _ => None,
    }
}

impl<'a> From<&'a ReasonRecord> for ReasonJson<'a> {
    fn from(record: &'a ReasonRecord) -> Self {
        Self {
            code: record.code,
            name: Reason::name_of_code(record.code),
            text: Reason::text_of_code(record.code),
            subject: subject(record.code, record.a),
            number: record.a,
            detail: text_of(&record.text),
        }
    }
}

/// What `explain` tells, in JSON.
#[derive(Serialize)]
struct ExplainJson<'a> {
    pid: i32,
    node: Option<u8>,
    can_move: bool,
    reasons: Vec<ReasonJson<'a>>,
}

fn process_error(error: &std::io::Error, pid: i32) -> Failure {
    Failure::from_device(error, &format!("process {pid}"))
}

fn node_list(control: &impl Control) -> Result<Vec<banyan_sys::wire::uapi::NodeRecord>, Failure> {
    control
        .nodes()
        .map_err(|error| Failure::from_device(&error, "the list of nodes"))
}

/// `banyanctl explain PID [NODE]`: [`Status::Refused`] when it cannot move.
pub fn explain(
    control: &impl Control,
    pid: i32,
    target: Option<&str>,
    output: Output,
    out: &mut dyn Write,
) -> Result<Status> {
    let nodes = if target.is_some() {
        node_list(control)?
    } else {
        Vec::new()
    };
    let target = target
        .map(|wanted| node::find(&nodes, wanted))
        .transpose()?;
    let number = target.map_or(0, |node| u32::from(node.id));
    let records = control
        .explain(pid, number)
        .map_err(|error| process_error(&error, pid))?;
    let status = if records.is_empty() {
        Status::Done
    } else {
        Status::Refused
    };
    if output.json {
        let json = ExplainJson {
            pid,
            node: target.map(|node| node.id),
            can_move: records.is_empty(),
            reasons: records.iter().map(ReasonJson::from).collect(),
        };
        print_json(&json, out)?;
        return Ok(status);
    }
    let place = target.map_or(String::new(), |_| {
        format!(" to {}", node::title(&nodes, number))
    });
    if records.is_empty() {
        writeln!(out, "Process {pid} can move{place}.")?;
        return Ok(status);
    }
    writeln!(out, "Process {pid} cannot move{place}:")?;
    for reason in records.iter().map(ReasonJson::from) {
        write!(out, "  {}", reason.text)?;
        for part in reason
            .subject
            .as_deref()
            .into_iter()
            .chain(Some(reason.detail))
            .filter(|part| !part.is_empty())
        {
            write!(out, ": {part}")?;
        }
        writeln!(out, "  [{}, {}]", reason.name, reason.code)?;
    }
    Ok(status)
}

/// What `migrate` tells, in JSON.
#[derive(Serialize)]
struct MigrateJson {
    pid: i32,
    from: Option<u32>,
    to: u8,
    /// `moved`, `asked` (without --wait) or `refused`.
    result: &'static str,
    reason: Option<&'static str>,
    reason_code: u32,
    reason_text: Option<&'static str>,
    freeze_us: u64,
    total_us: u64,
    bytes: u64,
}

/// `banyanctl migrate PID NODE`: [`Status::Refused`] when it did not move.
pub fn migrate(
    control: &impl Control,
    pid: i32,
    target: &str,
    wait: bool,
    output: Output,
    out: &mut dyn Write,
) -> Result<Status> {
    let nodes = node_list(control)?;
    let target = node::find(&nodes, target)?;
    let number = u32::from(target.id);
    // Only to say where it came from: the kernel finds it by itself.
    let from = control.locate(pid).ok().map(|place| place.node);
    let answer = control.migrate(pid, number, if wait { MIGRATE_WAIT } else { 0 });
    let value = answer.value;
    let code = u16::try_from(value.reason).unwrap_or(u16::MAX);
    let refused = match &answer.result {
        Ok(()) => code != 0,
        Err(error) => {
            let spoken = matches!(
                error.raw_os_error(),
                Some(libc_errno::EOPNOTSUPP | libc_errno::ECANCELED)
            );
            // The reason says more than the error number does, except for those that have words and advice of their own.
            if !spoken && (code == 0 || process_error(error, pid).status != Status::Refused) {
                return Err(process_error(error, pid).into());
            }
            true
        }
    };
    let status = if refused {
        Status::Refused
    } else {
        Status::Done
    };
    if output.json {
        let json = MigrateJson {
            pid,
            from,
            to: target.id,
            result: match (refused, wait) {
                (true, _) => "refused",
                (false, true) => "moved",
                (false, false) => "asked",
            },
            reason: refused.then(|| Reason::name_of_code(code)),
            reason_code: value.reason,
            reason_text: refused.then(|| Reason::text_of_code(code)),
            freeze_us: value.freeze_us,
            total_us: value.total_us,
            bytes: value.bytes,
        };
        print_json(&json, out)?;
        return Ok(status);
    }
    let place = node::title(&nodes, number);
    if refused {
        return Err(Failure::new(
            Status::Refused,
            format!(
                "process {pid} did not move to {place}: {} [{}, {code}]; it runs on where it was",
                Reason::text_of_code(code),
                Reason::name_of_code(code)
            ),
        )
        .advise(format!("All reasons: banyanctl explain {pid} {number}"))
        .into());
    }
    if wait {
        let origin = from.map_or(String::new(), |from| {
            format!(" from {}", node::title(&nodes, from))
        });
        writeln!(
            out,
            "Process {pid} moved{origin} to {place}: stood still {}, {} sent, {} in all.",
            span(value.freeze_us),
            size(value.bytes.div_ceil(1024)),
            span(value.total_us)
        )?;
    } else {
        writeln!(
            out,
            "Asked process {pid} to move to {place}. Where it is: banyanctl where {pid}"
        )?;
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use banyan_sys::wire::{
        codec::text_field,
        uapi::{Migrate, Where}, //
    };
    use serde_json::Value;

    use super::{super::fake::Fake, *};

    const TEXT: Output = Output { json: false };
    const JSON: Output = Output { json: true };

    fn reason(reason: Reason, a: u32, text: &str) -> ReasonRecord {
        ReasonRecord {
            code: reason.code(),
            _pad: 0,
            a,
            text: text_field(text.as_bytes()),
        }
    }

    fn failure(error: &anyhow::Error) -> &Failure {
        error.downcast_ref().unwrap()
    }

    #[test]
    fn explains_in_words_and_codes() {
        let fake = Fake {
            reasons: vec![
                reason(Reason::Socket, 5, "tcp 10.0.0.1:22"),
                reason(Reason::SharedMemory, 0x7f123, ""),
                reason(Reason::CpuFeature, 9 * 32 + 16, ""),
                reason(Reason::NoMemory, 286, ""),
                reason(Reason::KernelAbi, 0, "7.3.5"),
            ],
            ..Fake::default()
        };
        let mut out = Vec::new();
        assert_eq!(
            explain(&fake, 77, Some("cedar"), TEXT, &mut out).unwrap(),
            Status::Refused
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "Process 77 cannot move to node 3 (cedar):\n\
             \x20 it has a socket open: descriptor 5: tcp 10.0.0.1:22  [socket, 20]\n\
             \x20 another process maps its shared memory, or has it open: at 0x7f123000  [shared-memory, 6]\n\
             \x20 the node's CPU lacks a feature that its state needs: avx512f  [cpu-feature, 105]\n\
             \x20 there is not enough memory: 286 MiB are needed  [no-memory, 108]\n\
             \x20 the node runs another kernel: 7.3.5  [kernel-abi, 106]\n"
        );
        let mut out = Vec::new();
        explain(&fake, 77, None, JSON, &mut out).unwrap();
        let json: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["can_move"], false);
        assert_eq!(json["reasons"][0]["name"], "socket");
        assert_eq!(json["reasons"][0]["code"], 20);

        let mut out = Vec::new();
        assert_eq!(
            explain(&Fake::default(), 77, None, TEXT, &mut out).unwrap(),
            Status::Done
        );
        assert_eq!(String::from_utf8(out).unwrap(), "Process 77 can move.\n");
    }

    #[test]
    fn moves_and_tells() {
        let fake = Fake {
            migrate: Migrate {
                freeze_us: 12_400,
                total_us: 40_000,
                bytes: 3 << 20,
                ..Migrate::ZERO
            },
            place: Some(Where {
                home: 1,
                node: 1,
                ..Where::ZERO
            }),
            ..Fake::default()
        };
        let mut out = Vec::new();
        assert_eq!(
            migrate(&fake, 77, "cedar", true, TEXT, &mut out).unwrap(),
            Status::Done
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "Process 77 moved from node 1 (ash) to node 3 (cedar): stood still 12.4 ms, 3.0 MiB sent, 40.0 ms in all.\n"
        );
        assert_eq!(*fake.moves.borrow(), [(77, 3, MIGRATE_WAIT)]);
        let mut out = Vec::new();
        migrate(&fake, 77, "1", false, JSON, &mut out).unwrap();
        let json: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["result"], "asked");
        assert_eq!(json["to"], 1);
    }

    #[test]
    fn refusals_have_a_reason() {
        let refused = |errno, code: u32| Fake {
            migrate: Migrate {
                reason: code,
                ..Migrate::ZERO
            },
            migrate_errno: errno,
            ..Fake::default()
        };
        let run = |fake: &Fake| migrate(fake, 77, "3", true, TEXT, &mut Vec::new()).unwrap_err();
        let error = run(&refused(
            libc_errno::EOPNOTSUPP,
            Reason::Threads.code().into(),
        ));
        assert_eq!(failure(&error).status, Status::Refused);
        assert!(failure(&error)
            .what
            .contains("more than one thread [threads, 1]"));
        assert_eq!(
            failure(&error).advice.as_deref(),
            Some("All reasons: banyanctl explain 77 3")
        );
        // Not permitted, not there, node down: these have words of their own, whatever the reason.
        for (errno, status) in [
            (libc_errno::EPERM, Status::NotPermitted),
            (libc_errno::ESRCH, Status::NotFound),
            (libc_errno::EHOSTUNREACH, Status::NotFound),
        ] {
            assert_eq!(
                failure(&run(&refused(errno, Reason::NodeDown.code().into()))).status,
                status
            );
        }
        let mut out = Vec::new();
        let fake = refused(libc_errno::ECANCELED, Reason::TimedOut.code().into());
        assert_eq!(
            migrate(&fake, 77, "3", true, JSON, &mut out).unwrap(),
            Status::Refused
        );
        let json: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["result"], "refused");
        assert_eq!(json["reason"], "timed-out");
    }
}
