// SPDX-License-Identifier: GPL-2.0

//! Inputs to start a fuzzer from: a whole image, both ends of a handshake, one of each longer message.

use crate::machine::{features, Secret};
use banyan_wire::handshake::{Crypto, Handshake, Local, Next, Role, Side, MAX_STEP};
use banyan_wire::{file_ops, image, image_files, image_memory, image_state, member, migrate};
use banyan_wire::{Epoch, NodeId, Wire};

/// Name of the target, number, bytes.
pub fn seeds() -> Vec<(&'static str, usize, Vec<u8>)> {
    let mut all = vec![
        ("image_stream", stream()),
        ("membership_messages", members()),
    ];
    for (flags, role) in [(0, Role::Control), (2, Role::Bulk)] {
        let [dialler, acceptor] = handshake(role);
        // What the other end sent, for each end.
        all.push(("handshake", [&[flags][..], &dialler].concat()));
        all.push(("handshake", [&[flags | 1][..], &acceptor].concat()));
    }
    for action in [
        file_ops::Action::Read { len: 100 },
        file_ops::Action::Write,
        file_ops::Action::Seek {
            offset: -1,
            whence: 2,
        },
    ] {
        all.push(("file_messages", [&[3][..], &request(action)].concat()));
    }
    all.into_iter()
        .enumerate()
        .map(|(i, (name, bytes))| (name, i, bytes))
        .collect()
}

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

fn bytes<T: Wire>(value: &T) -> Vec<u8> {
    let mut out = vec![0; T::SIZE];
    value.encode(&mut out).unwrap();
    out
}

fn request(action: file_ops::Action) -> Vec<u8> {
    let data: &[u8] = if action == file_ops::Action::Write {
        b"some data"
    } else {
        b""
    };
    let request = file_ops::Request {
        number: 1,
        handle: 2,
        pid: 32769,
        flags: Some(2),
        action,
        position: Some(5),
        data,
    };
    let mut out = vec![0; file_ops::REQUEST_HEAD];
    request.encode_head(&mut out).unwrap();
    [&out[..], data].concat()
}

fn members() -> Vec<u8> {
    let entries: Vec<_> = [member::State::Up, member::State::Dead, member::State::Left]
        .into_iter()
        .zip(1..)
        .map(|(state, id)| member::Member {
            node: node(id),
            state,
            port: 7227,
            addr_be: 10,
            incarnation: 99,
        })
        .collect();
    let mut out = vec![0; member::Members::MAX_SIZE];
    let len = member::Members::encode(Epoch(3), &entries, &mut out).unwrap();
    [&[5][..], &out[..len]].concat()
}

/// Everything that each end sends, the dialler's first.
fn handshake(role: Role) -> [Vec<u8>; 2] {
    let features = features();
    let ends = [(Side::Dialler, 2), (Side::Acceptor, 1)].map(|(side, id)| {
        let local = Local {
            node: node(id),
            cluster: b"demo",
            role,
            tag: 0,
            features: &features,
        };
        Handshake::new(side, local, &mut Nonce(id))
    });
    let mut sent = [Vec::new(), Vec::new()];
    let mut read = [0, 0];
    let mut ends = ends;
    for round in 0..40 {
        let me = round % 2;
        let mut out = [0; MAX_STEP];
        loop {
            match ends[me].next(&mut out, &mut Secret).unwrap() {
                Next::Send(n) => sent[me].extend_from_slice(&out[..n]),
                Next::Receive(n) => {
                    let Some(now) = sent[1 - me].get(read[me]..read[me] + n) else {
                        break;
                    };
                    read[me] += n;
                    ends[me].received(now, &mut Secret).unwrap();
                }
                Next::Decide => ends[me].accept().unwrap(),
                Next::Done | Next::Refused(..) => break,
            }
        }
    }
    sent
}

/// Nonces that differ by end; the rest is [`Secret`].
struct Nonce(u8);

impl Crypto for Nonce {
    fn hmac(&mut self, parts: &[&[u8]]) -> [u8; 32] {
        Secret.hmac(parts)
    }

    fn random(&mut self, out: &mut [u8]) {
        // Node 1's is that of the fuzzed end.
        out.fill(if self.0 == 1 { 0xc3 } else { self.0 });
    }
}

fn stream() -> Vec<u8> {
    let mut out = bytes(&image::ImageHeader {
        magic: image::MAGIC,
        version: image::IMAGE_VERSION,
        flags: 0,
        pid: 32769,
        migration: migrate::MigrationId::new(node(1), 7),
        home: node(1),
        source: node(1),
        _pad: [0; 2],
        moves: 1,
    });
    let mut record = |rtype: u16, payload: &[u8], pages: usize| {
        out.extend(bytes(&image::RecordHeader {
            rtype,
            version: 1,
            flags: 0,
            _pad: 0,
            len: payload.len() as u32,
        }));
        out.extend_from_slice(payload);
        out.resize(out.len() + pages * 4096, 0x55);
    };
    record(image_memory::LAYOUT, &[0; image_memory::Layout::SIZE], 0);
    let identity =
        image_files::FileIdentity::decode(&[0; image_files::FileIdentity::SIZE]).unwrap();
    let mut file = [0; image_files::MAX_RECORD];
    let len = image_files::encode_with_path(&identity, b"/usr/bin/true", &mut file).unwrap();
    record(
        image_memory::MAPPED_FILE,
        &[&[1, 0, 0, 0], &file[..len]].concat(),
        0,
    );
    record(
        image_memory::AREA,
        &bytes(&image_memory::Area {
            start: 0x40_0000,
            end: 0x40_2000,
            offset: 0,
            backing: image_memory::Backing::Anonymous,
            protection: 3,
            flags: 0,
            file: 0,
        }),
        0,
    );
    let extent = image_memory::Extent {
        start: 0x40_0000,
        pages: 1,
        _pad: 0,
    };
    record(image_memory::PAGES, &bytes(&extent), 1);
    record(image_memory::GENERAL, &[0; 27 * 8], 0);
    record(
        image_state::SIGNAL_ACTIONS,
        &[0; image_state::SignalActions::SIZE],
        0,
    );
    let description = image_files::Description {
        id: 1,
        flags: 2,
        position: 10,
        source: image_files::Source::Shared(identity),
    };
    let len = description.encode(b"/home/x", &mut file).unwrap();
    record(image_files::DESCRIPTION, &file[..len], 0);
    record(
        image::END,
        &bytes(&image::End {
            records: 7,
            pages: 1,
        }),
        0,
    );
    out
}
