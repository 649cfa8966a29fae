// SPDX-License-Identifier: GPL-2.0
//! `status` and `nodes`: the cluster as this node sees it.

use std::{collections::BTreeMap, io::Write};

use anyhow::Result;
use banyan_sys::wire::uapi::{
    node_state, proc_state, NodeRecord, NODE_FLAG_DRAINING, NODE_FLAG_MIGRATE, NODE_FLAG_SELF,
};
use serde::Serialize;

use super::print_json;
use crate::{
    cli::Output,
    device::Control,
    failure::{Failure, Status},
    node,
    sysfs::Sysfs,
    table::{duration, size, Align, Table}, //
};

/// One node, in JSON. Names and units are part of the interface.
#[derive(Serialize)]
struct NodeJson<'a> {
    id: u8,
    name: &'a str,
    address: String,
    port: u16,
    state: &'static str,
    this: bool,
    takes_guests: bool,
    draining: bool,
    epoch: u32,
    cpus: u16,
    memory_kib: u64,
    memory_available_kib: u64,
    load1: f64,
    uptime_s: u32,
    guests_in: u32,
    guests_out: u32,
}

impl<'a> From<&'a NodeRecord> for NodeJson<'a> {
    fn from(record: &'a NodeRecord) -> Self {
        let has = |flag: u16| record.flags & flag != 0;
        Self {
            id: record.id,
            name: node::name(record),
            address: node::address(record).to_string(),
            port: record.port,
            state: node_state::name(record.state),
            this: has(NODE_FLAG_SELF),
            takes_guests: record.state == node_state::UP
                && has(NODE_FLAG_MIGRATE)
                && !has(NODE_FLAG_DRAINING),
            draining: has(NODE_FLAG_DRAINING),
            epoch: record.epoch,
            cpus: record.cpus,
            memory_kib: record.mem_total_kib,
            memory_available_kib: record.mem_free_kib,
            load1: f64::from(record.load1) / 100.0,
            uptime_s: record.uptime_s,
            guests_in: record.guests_in,
            guests_out: record.guests_out,
        }
    }
}

fn device_error(error: &std::io::Error) -> Failure {
    Failure::from_device(error, "the list of nodes")
}

/// `banyanctl nodes`.
pub fn nodes(control: &impl Control, output: Output, out: &mut dyn Write) -> Result<Status> {
    let nodes = control.nodes().map_err(|error| device_error(&error))?;
    if output.json {
        print_json(&nodes.iter().map(NodeJson::from).collect::<Vec<_>>(), out)?;
        return Ok(Status::Done);
    }
    let mut table = Table::new(&[
        ("", Align::Left),
        ("NODE", Align::Right),
        ("NAME", Align::Left),
        ("ADDRESS", Align::Left),
        ("EPOCH", Align::Right),
        ("STATE", Align::Left),
        ("CPUS", Align::Right),
        ("MEMORY", Align::Right),
        ("AVAILABLE", Align::Right),
        ("LOAD", Align::Right),
        ("UPTIME", Align::Right),
        ("GUESTS IN", Align::Right),
        ("OUT", Align::Right),
    ]);
    for record in &nodes {
        let json = NodeJson::from(record);
        let state = if json.draining {
            format!("{}, draining", json.state)
        } else {
            json.state.to_owned()
        };
        table.row(vec![
            (if json.this { "*" } else { "" }).into(),
            json.id.to_string(),
            json.name.into(),
            json.address,
            json.epoch.to_string(),
            state,
            json.cpus.to_string(),
            size(json.memory_kib),
            size(json.memory_available_kib),
            format!("{:.2}", json.load1),
            duration(json.uptime_s.into()),
            json.guests_in.to_string(),
            json.guests_out.to_string(),
        ]);
    }
    write!(out, "{table}")?;
    Ok(Status::Done)
}

/// What `status` tells, in JSON.
#[derive(Serialize)]
struct StatusJson<'a> {
    online: bool,
    cluster: Option<String>,
    this: Option<NodeJson<'a>>,
    epoch: Option<u32>,
    nodes_up: usize,
    nodes: usize,
    guests_here: usize,
    away: usize,
    sysfs: BTreeMap<String, String>,
}

/// `banyanctl status`: [`Status::NotRunning`] when this node is in no cluster.
pub fn status(
    control: &impl Control,
    sysfs: &Sysfs,
    output: Output,
    out: &mut dyn Write,
) -> Result<Status> {
    let nodes = match control.nodes() {
        Ok(nodes) => nodes,
        Err(error) => match device_error(&error) {
            failure if failure.status == Status::NotRunning => Vec::new(),
            failure => return Err(failure.into()),
        },
    };
    // Without banyan_migrate there are none.
    let processes = control.processes().unwrap_or_default();
    let count = |states: &[u32]| {
        processes
            .iter()
            .filter(|process| states.contains(&process.state))
            .count()
    };
    let this = node::this(&nodes);
    let json = StatusJson {
        online: sysfs.is_online() || this.is_some_and(|this| this.state == node_state::UP),
        cluster: sysfs.get("cluster").filter(|name| !name.is_empty()),
        this: this.map(NodeJson::from),
        epoch: this.map(|this| this.epoch),
        nodes_up: nodes
            .iter()
            .filter(|node| node.state == node_state::UP)
            .count(),
        nodes: nodes.len(),
        guests_here: count(&[proc_state::GUEST, proc_state::ARRIVING]),
        away: count(&[proc_state::AWAY, proc_state::LEAVING]),
        sysfs: sysfs.all(),
    };
    let status = if json.online {
        Status::Done
    } else {
        Status::NotRunning
    };
    if output.json {
        print_json(&json, out)?;
        return Ok(status);
    }
    let cluster = json.cluster.as_deref().unwrap_or("(without a name)");
    match (&json.this, json.online) {
        (Some(this), true) => {
            let guests = match (this.takes_guests, this.draining) {
                (true, _) => "takes guests",
                (false, true) => "is draining: takes no guests",
                (false, false) => "takes no guests: banyan_migrate is not loaded",
            };
            writeln!(out, "cluster    {cluster}, epoch {}", this.epoch)?;
            writeln!(
                out,
                "this node  {} ({}) at {}:{}, {}, {guests}",
                this.id, this.name, this.address, this.port, this.state
            )?;
            writeln!(
                out,
                "nodes      {} up of {} known",
                json.nodes_up, json.nodes
            )?;
            writeln!(
                out,
                "processes  {} guests here, {} away from here",
                json.guests_here, json.away
            )?;
        }
        (None, true) => writeln!(out, "cluster    {cluster}; this node is about to join")?,
        (_, false) => {
            writeln!(out, "cluster    none: this node is offline")?;
            writeln!(
                out,
                "           Join: banyanctl join [ADDRESS]   or: systemctl restart banyan"
            )?;
        }
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::{super::fake::Fake, *};

    const TEXT: Output = Output { json: false };
    const JSON: Output = Output { json: true };

    #[test]
    fn table_of_nodes() {
        let mut out = Vec::new();
        assert_eq!(
            nodes(&Fake::default(), TEXT, &mut out).unwrap(),
            Status::Done
        );
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[0].trim_start().starts_with("NODE  NAME"));
        let words: Vec<&str> = lines[2].split_whitespace().collect();
        assert_eq!(
            words[..6],
            ["*", "2", "beech.example", "10.77.0.2", "5", "up"]
        );
        assert!(
            lines[2].contains("768 MiB") && lines[2].contains("1.25") && lines[2].contains("1h02m")
        );
    }

    #[test]
    fn nodes_as_json() {
        let mut out = Vec::new();
        nodes(&Fake::default(), JSON, &mut out).unwrap();
        let json: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json[1]["id"], 2);
        assert_eq!(json[1]["this"], true);
        assert_eq!(json[0]["address"], "10.77.0.1");
        assert_eq!(json[0]["load1"], 1.25);
        assert_eq!(json[0]["takes_guests"], false);
    }

    #[test]
    fn status_of_a_member() {
        let nowhere = Sysfs::at(Path::new("/nonexistent"));
        let mut out = Vec::new();
        assert_eq!(
            status(&Fake::default(), &nowhere, TEXT, &mut out).unwrap(),
            Status::Done
        );
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("epoch 5")
                && text.contains("3 up of 3")
                && text.contains("2 (beech.example) at 10.77.0.2:7227")
        );

        let offline = Fake {
            nodes: Vec::new(),
            ..Fake::default()
        };
        let mut out = Vec::new();
        assert_eq!(
            status(&offline, &nowhere, JSON, &mut out).unwrap(),
            Status::NotRunning
        );
        let json: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["online"], false);
        assert!(json["this"].is_null());
    }
}
