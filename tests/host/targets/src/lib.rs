// SPDX-License-Identifier: GPL-2.0

//! Functions that take any bytes and must not panic: one per group of decoders.
//!
//! Besides, what a decoder accepts must be written back by its encoder as it was: so no two different
//! messages mean the same, and no field is lost.

mod image;
mod machine;
mod seeds;

pub use seeds::seeds;

use banyan_wire::{file_ops, frame, guest, handshake, ids, member, migrate, uapi, Wire};
use std::fmt::Debug;

/// A group: its name (also that of the fuzz target) and its function.
pub struct Target {
    /// Lower case, with underscores.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
}

/// All groups.
pub const TARGETS: &[Target] = &[
    Target {
        name: "frame",
        run: frames,
    },
    Target {
        name: "membership_messages",
        run: membership_messages,
    },
    Target {
        name: "move_messages",
        run: move_messages,
    },
    Target {
        name: "file_messages",
        run: file_messages,
    },
    Target {
        name: "device",
        run: device,
    },
    Target {
        name: "image_records",
        run: image::records,
    },
    Target {
        name: "image_stream",
        run: image::stream,
    },
    Target {
        name: "handshake",
        run: machine::handshake,
    },
    Target {
        name: "membership",
        run: machine::membership,
    },
];

/// A fixed-size value: if the bytes are one, they are what it encodes to.
pub(crate) fn fixed<T: Wire + PartialEq + Debug>(bytes: &[u8]) {
    if bytes.len() != T::SIZE {
        assert!(T::decode(bytes).is_err());
    }
    // Input that is longer still exercises the decoder.
    let bytes = bytes.get(..T::SIZE).unwrap_or(bytes);
    if let Ok(value) = T::decode(bytes) {
        let mut out = vec![0; T::SIZE];
        assert_eq!(value.encode(&mut out), Ok(T::SIZE));
        assert_eq!(out, bytes);
        if let Some(short) = out.len().checked_sub(1) {
            assert!(value.encode(&mut out[..short]).is_err());
        }
    }
}

/// Lets the first byte choose one of the functions, which gets the rest.
pub(crate) fn choose(bytes: &[u8], among: &[fn(&[u8])]) {
    if let Some((&first, rest)) = bytes.split_first() {
        among[usize::from(first) % among.len()](rest);
    }
}

fn frames(bytes: &[u8]) {
    choose(
        bytes,
        &[
            |b| {
                fixed::<frame::FrameHeader>(b);
                if let Ok(h) = frame::FrameHeader::decode(b.get(..frame::HEADER_LEN).unwrap_or(b)) {
                    assert!(h.payload_len() <= frame::MAX_PAYLOAD as usize);
                    assert!(!(h.is_request() && h.is_reply()));
                    assert!(h.is_reply() || !h.is_error());
                    assert_eq!(h.id() != 0, h.is_request() || h.is_reply());
                }
            },
            |b| {
                fixed::<frame::ErrorReply>(b);
                if let Ok(e) = frame::ErrorReply::decode(b) {
                    assert!((-4095..0).contains(&e.kernel_errno()));
                }
            },
        ],
    );
}

fn membership_messages(bytes: &[u8]) {
    choose(
        bytes,
        &[
            fixed::<member::Heartbeat>,
            fixed::<member::Member>,
            fixed::<member::Leave>,
            fixed::<member::Dead>,
            fixed::<Option<ids::NodeId>>,
            |b| {
                if let Ok(m) = member::Members::decode(b) {
                    let count = m.members.len();
                    if let Ok(entries) = m.members.collect::<Result<Vec<_>, _>>() {
                        assert_eq!(entries.len(), count);
                        let mut out = vec![0; member::Members::MAX_SIZE];
                        let len = member::Members::encode(m.epoch, &entries, &mut out).unwrap();
                        assert_eq!(&out[..len], b);
                    }
                }
            },
            fixed::<handshake::Hello>,
            fixed::<handshake::Features>,
            fixed::<handshake::Verdict>,
        ],
    );
}

fn move_messages(bytes: &[u8]) {
    choose(
        bytes,
        &[
            fixed::<migrate::MigrateRequest>,
            fixed::<migrate::MigrateReply>,
            fixed::<migrate::ExplainRequest>,
            fixed::<migrate::Offer>,
            fixed::<migrate::OfferReply>,
            fixed::<migrate::MigrationStep>,
            fixed::<migrate::MigrationState>,
            fixed::<migrate::Moved>,
            fixed::<migrate::Clocks>,
            fixed::<migrate::ComeHome>,
            fixed::<migrate::Locate>,
            fixed::<migrate::Located>,
            fixed::<guest::Signal>,
            fixed::<guest::GuestExit>,
            fixed::<guest::GuestState>,
            fixed::<guest::Usage>,
            fixed::<guest::Freeze>,
            fixed::<guest::Orphan>,
            |b| {
                if let Ok(reply) = migrate::ExplainReply::decode(b) {
                    let reasons: Vec<_> = reply.reasons.map(Result::unwrap).collect();
                    let mut out = vec![0; b.len()];
                    assert_eq!(
                        migrate::ExplainReply::encode(&reasons, &mut out),
                        Ok(b.len())
                    );
                    assert_eq!(out, b);
                }
            },
        ],
    );
}

fn file_messages(bytes: &[u8]) {
    choose(
        bytes,
        &[
            fixed::<file_ops::Number>,
            fixed::<file_ops::Handle>,
            fixed::<file_ops::Woken>,
            |b| {
                if let Ok(request) = file_ops::Request::decode(b) {
                    assert!(request.data.len() <= file_ops::MAX_DATA);
                    let mut out = vec![0; file_ops::REQUEST_HEAD];
                    assert_eq!(request.encode_head(&mut out), Ok(file_ops::REQUEST_HEAD));
                    out.extend_from_slice(request.data);
                    // Arguments that the action does not use are not kept: compare the meaning.
                    assert_eq!(file_ops::Request::decode(&out), Ok(request));
                }
            },
            |b| {
                if let Ok(outcome) = file_ops::Outcome::decode(b) {
                    assert!(outcome.result >= -4095);
                    let mut out = vec![0; file_ops::OUTCOME_HEAD];
                    assert_eq!(outcome.encode_head(&mut out), Ok(file_ops::OUTCOME_HEAD));
                    out.extend_from_slice(outcome.data);
                    assert_eq!(out, b);
                }
            },
        ],
    );
}

fn device(bytes: &[u8]) {
    choose(
        bytes,
        &[
            fixed::<uapi::Nodes>,
            fixed::<uapi::NodeRecord>,
            fixed::<uapi::Migrate>,
            fixed::<uapi::Explain>,
            fixed::<uapi::ReasonRecord>,
            fixed::<uapi::Where>,
            fixed::<uapi::ServeWait>,
            fixed::<uapi::ServeEnter>,
            fixed::<uapi::ServeFailed>,
            fixed::<uapi::ServeState>,
            fixed::<uapi::List>,
            fixed::<uapi::ProcRecord>,
            fixed::<uapi::Drain>,
            fixed::<uapi::Mounts>,
            fixed::<uapi::MountRecord>,
            |b| {
                let text = banyan_wire::codec::text_of(b);
                assert!(!text.contains('\0') && text.len() <= b.len());
                let field: [u8; 16] = banyan_wire::codec::text_field(b);
                assert_eq!(field[15], 0);
            },
            |b| {
                if let Ok(word) = u32::decode(b) {
                    let _ = (uapi::nr(word), uapi::magic(word), uapi::size(word));
                    let _ = banyan_wire::Reason::text_of_code(word as u16);
                    let pid = word as i32;
                    if let Some(home) = ids::home_of(pid) {
                        let (first, end) = ids::pid_range(home);
                        assert!((first..end).contains(&pid));
                    }
                }
            },
        ],
    );
}
