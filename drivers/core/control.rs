// SPDX-License-Identifier: GPL-2.0

//! What people and tools touch: the files in `/sys/kernel/banyan` and the device `/dev/banyan`, one of each, owned by the module.

use banyan_wire::{
    member::Heartbeat,
    uapi,
    uapi::{
        NodeRecord,
        Nodes,
        NODE_FLAG_SELF, //
    }, //
};
use kernel::{
    fmt::Write,
    fs::File,
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    clock::monotonic_ms,
    sysfs::{
        Attribute,
        Output, //
    }, //
};

use crate::{
    device_arg,
    session::Session,
    settings::{
        self,
        trim, //
    },
    Core,
};

fn ascii(out: &mut Output<'_>, text: &[u8]) -> Result {
    let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
    writeln!(out, "{text}").map_err(|_| EINVAL)
}

/// The files of `/sys/kernel/banyan`. What is written to the first six counts from the next `online` on.
pub(crate) static ATTRIBUTES: &[Attribute<Core>] = &[
    // Name of the cluster, 1 to 31 characters.
    Attribute {
        name: c"cluster",
        mode: 0o644,
        show: Some(|core, out| ascii(out, &core.settings.lock().cluster)),
        store: Some(|core, bytes| {
            core.settings.lock().cluster = settings::parse_cluster(bytes)?;
            Ok(())
        }),
    },
    // Node id: that of the session, else the one set; 0 if none.
    Attribute {
        name: c"node",
        mode: 0o644,
        show: Some(|core, out| {
            let set = core.settings.lock().node;
            let node = core.session().map(|s| s.identity.node).or(set);
            writeln!(out, "{}", node.map_or(0, |n| n.get())).map_err(|_| EINVAL)
        }),
        store: Some(|core, bytes| {
            core.settings.lock().node = settings::parse_node(bytes)?;
            Ok(())
        }),
    },
    // IPv4 address: that of the session, else the one set; 0.0.0.0 if none.
    Attribute {
        name: c"address",
        mode: 0o644,
        show: Some(|core, out| {
            let set = core.settings.lock().address;
            let ip = core.session().map(|s| s.identity.address.ip).or(set);
            let [a, b, c, d] = ip.unwrap_or(0).to_be_bytes();
            writeln!(out, "{a}.{b}.{c}.{d}").map_err(|_| EINVAL)
        }),
        store: Some(|core, bytes| {
            core.settings.lock().address = settings::parse_address(bytes)?;
            Ok(())
        }),
    },
    // TCP port.
    Attribute {
        name: c"port",
        mode: 0o644,
        show: Some(|core, out| writeln!(out, "{}", core.settings.lock().port).map_err(|_| EINVAL)),
        store: Some(|core, bytes| {
            core.settings.lock().port = settings::parse_port(bytes)?;
            Ok(())
        }),
    },
    // Addresses to join by.
    Attribute {
        name: c"join",
        mode: 0o644,
        show: Some(|core, out| ascii(out, &core.settings.lock().join)),
        store: Some(|core, bytes| core.settings.lock().set_join(bytes)),
    },
    // The cluster key: 32 bytes or 64 hexadecimal digits. Never shown.
    Attribute {
        name: c"key",
        mode: 0o200,
        show: None,
        store: Some(|core, bytes| {
            core.settings.lock().key = Some(settings::parse_key(bytes)?);
            Ok(())
        }),
    },
    // 1 while this node is in its cluster. Writing 1 joins; 0 leaves: EBUSY while processes are away or guests are here.
    Attribute {
        name: c"online",
        mode: 0o644,
        show: Some(|core, out| {
            writeln!(out, "{}", u8::from(core.session().is_some())).map_err(|_| EINVAL)
        }),
        store: Some(|core, bytes| match trim(bytes) {
            b"1" => core.join(),
            b"0" => core.leave(),
            _ => Err(EINVAL),
        }),
    },
    // Version of the membership; 0 while offline.
    Attribute {
        name: c"epoch",
        mode: 0o444,
        show: Some(|core, out| writeln!(out, "{}", core.epoch().0).map_err(|_| EINVAL)),
        store: None,
    },
];

/// An open `/dev/banyan`.
pub(crate) struct Control {
    core: Arc<Core>,
}

#[vtable]
impl MiscDevice for Control {
    type Ptr = KBox<Self>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<Self::Ptr> {
        let core = crate::core()?;
        Ok(KBox::new(Self { core }, GFP_KERNEL)?)
    }

    fn ioctl(device: &Self, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        if uapi::magic(cmd) != uapi::MAGIC {
            return Err(ENOTTY);
        }
        match uapi::nr(cmd) {
            nr if nr >= uapi::FIRST_SERVICE_NR => device.core.registry.ioctl(cmd, arg),
            nr if nr == uapi::nr(uapi::NODES) => nodes(&device.core, arg),
            _ => Err(ENOTTY),
        }
    }
}

/// `NODES`.
fn nodes(core: &Core, arg: usize) -> Result<isize> {
    let mut nodes: Nodes = device_arg::read(arg)?;
    let session = core.session().ok_or(ENOTCONN)?;
    let records = records(&session)?;
    let room = nodes.count as usize;
    let count = device_arg::write_array(nodes.buf, room, records.iter().copied())?;
    nodes.count = count as u32;
    device_arg::write(arg, &nodes)?;
    if count > room {
        return Err(ENOSPC);
    }
    Ok(0)
}

/// One record for each node that is known.
fn records(session: &Session) -> Result<KVec<NodeRecord>> {
    let own = session.features()?;
    let own_heartbeat = session.heartbeat(own.incarnation);
    let epoch = session.core.epoch().0;
    let mut records = KVec::new();
    let state = session.state.lock();
    for node in state.membership.nodes(monotonic_ms()) {
        let mut record = NodeRecord {
            id: node.node.get(),
            state: node.state.code(),
            addr_be: node.addr_be,
            port: node.port,
            name: state.name(node.node),
            ..NodeRecord::ZERO
        };
        if node.node == state.membership.me() {
            record.name = own.name;
            fill(&mut record, &own_heartbeat);
            record.epoch = epoch;
            record.flags |= NODE_FLAG_SELF;
        } else if let Some(peer) = state.peer(node.node) {
            let features = peer.features();
            record.cpus = features.cpus;
            record.epoch = peer.last_epoch();
            record.mem_total_kib = features.mem_total_kib;
            if let Some(heartbeat) = peer.heartbeat() {
                fill(&mut record, &heartbeat);
            }
        }
        records.push(record, GFP_KERNEL)?;
    }
    Ok(records)
}

fn fill(record: &mut NodeRecord, heartbeat: &Heartbeat) {
    record.flags = heartbeat.flags;
    record.cpus = heartbeat.cpus;
    record.mem_total_kib = heartbeat.mem_total_kib;
    record.mem_free_kib = heartbeat.mem_free_kib;
    record.load1 = heartbeat.load1;
    record.uptime_s = heartbeat.uptime_s;
    record.guests_in = heartbeat.guests_in;
    record.guests_out = heartbeat.guests_out;
}
