// SPDX-License-Identifier: GPL-2.0
//! `ps` and `where`: which processes are not at home, and where one is.

use std::{fs, io::Write};

use anyhow::Result;
use banyan_sys::wire::{
    codec::text_of,
    uapi::{proc_state, ProcRecord}, //
};
use serde::Serialize;

use super::print_json;
use crate::{
    cli::Output,
    device::Control,
    failure::{Failure, Status},
    node,
    table::{duration, size, Align, Table}, //
};

/// One process, in JSON.
#[derive(Serialize)]
struct ProcessJson<'a> {
    pid: i32,
    home: u32,
    node: u32,
    state: &'static str,
    uid: u32,
    moves: u32,
    cpu_ns: u64,
    rss_kib: u64,
    since_ms: u64,
    name: &'a str,
    command: String,
}

/// The command line of a process of this node; empty when it is gone or hides it.
fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let words = text
        .split('\0')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    // Terminals must not be steered by what a process calls itself.
    words
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

impl<'a> From<&'a ProcRecord> for ProcessJson<'a> {
    fn from(record: &'a ProcRecord) -> Self {
        Self {
            pid: record.pid,
            home: record.home,
            node: record.node,
            state: proc_state::name(record.state),
            uid: record.uid,
            moves: record.moves,
            cpu_ns: record.cpu_ns,
            rss_kib: record.rss_kib,
            since_ms: record.since_ms,
            name: text_of(&record.comm),
            command: command_line(record.pid),
        }
    }
}

/// `banyanctl ps`.
pub fn ps(control: &impl Control, output: Output, out: &mut dyn Write) -> Result<Status> {
    let processes = control
        .processes()
        .map_err(|error| Failure::from_device(&error, "the list of processes"))?;
    if output.json {
        print_json(
            &processes.iter().map(ProcessJson::from).collect::<Vec<_>>(),
            out,
        )?;
        return Ok(Status::Done);
    }
    let mut table = Table::new(&[
        ("PID", Align::Right),
        ("UID", Align::Right),
        ("HOME", Align::Right),
        ("RUNS ON", Align::Right),
        ("STATE", Align::Left),
        ("SINCE", Align::Right),
        ("MOVES", Align::Right),
        ("CPU", Align::Right),
        ("MEMORY", Align::Right),
        ("COMMAND", Align::Left),
    ]);
    for record in &processes {
        let json = ProcessJson::from(record);
        let command = if json.command.is_empty() {
            format!("[{}]", json.name)
        } else {
            json.command
        };
        table.row(vec![
            json.pid.to_string(),
            json.uid.to_string(),
            json.home.to_string(),
            json.node.to_string(),
            json.state.into(),
            duration(json.since_ms / 1000),
            json.moves.to_string(),
            format!("{:.1}s", json.cpu_ns as f64 / 1e9),
            size(json.rss_kib),
            command,
        ]);
    }
    write!(out, "{table}")?;
    Ok(Status::Done)
}

/// Where a process is, in JSON.
#[derive(Serialize)]
struct WhereJson {
    pid: i32,
    home: u32,
    node: u32,
    state: &'static str,
    moves: u32,
}

/// `banyanctl where PID`.
pub fn locate(
    control: &impl Control,
    pid: i32,
    output: Output,
    out: &mut dyn Write,
) -> Result<Status> {
    let place = control
        .locate(pid)
        .map_err(|error| Failure::from_device(&error, &format!("process {pid}")))?;
    if output.json {
        let json = WhereJson {
            pid,
            home: place.home,
            node: place.node,
            state: proc_state::name(place.state),
            moves: place.moves,
        };
        print_json(&json, out)?;
        return Ok(Status::Done);
    }
    let nodes = control.nodes().unwrap_or_default();
    let runs = node::title(&nodes, place.node);
    // A process that is home again is one like any other: nobody counts on.
    let moves = match place.moves {
        0 => String::new(),
        1 => "; moved once".into(),
        moves => format!("; moved {moves} times"),
    };
    if place.home == place.node {
        writeln!(out, "Process {pid} runs at home, on {runs}{moves}.")?;
    } else {
        writeln!(
            out,
            "Process {pid} runs on {runs}; its home is {}{moves}.",
            node::title(&nodes, place.home)
        )?;
    }
    Ok(Status::Done)
}

#[cfg(test)]
mod tests {
    use banyan_sys::wire::{codec::text_field, uapi::Where};
    use serde_json::Value;

    use super::{super::fake::Fake, *};

    fn fake() -> Fake {
        let guest = ProcRecord {
            // No process of this machine has a pid of more than 22 bits.
            pid: 1 << 30,
            home: 1,
            node: 2,
            state: proc_state::GUEST,
            uid: 1000,
            moves: 3,
            cpu_ns: 2_500_000_000,
            rss_kib: 2048,
            since_ms: 61_000,
            comm: text_field(b"xz"),
        };
        Fake {
            processes: vec![guest],
            place: Some(Where {
                home: 1,
                node: 2,
                state: proc_state::GUEST,
                moves: 3,
                ..Where::ZERO
            }),
            ..Fake::default()
        }
    }

    #[test]
    fn list_of_processes() {
        let mut out = Vec::new();
        ps(&fake(), Output { json: false }, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let words: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(
            words,
            [
                "1073741824",
                "1000",
                "1",
                "2",
                "guest",
                "1m01s",
                "3",
                "2.5s",
                "2.0",
                "MiB",
                "[xz]"
            ]
        );

        let mut out = Vec::new();
        ps(&fake(), Output { json: true }, &mut out).unwrap();
        let json: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json[0]["state"], "guest");
        assert_eq!(json[0]["name"], "xz");
    }

    #[test]
    fn place_of_a_process() {
        let mut out = Vec::new();
        locate(&fake(), 40000, Output { json: false }, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "Process 40000 runs on node 2 (beech.example); its home is node 1 (ash); moved 3 times.\n");
        let error =
            locate(&Fake::default(), 7, Output { json: false }, &mut Vec::new()).unwrap_err();
        assert_eq!(
            error.downcast_ref::<Failure>().unwrap().status,
            Status::NotFound
        );
    }
}
