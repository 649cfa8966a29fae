// SPDX-License-Identifier: GPL-2.0

//! The state machines: a handshake with any bytes as the peer, a membership with any events.

use banyan_member::{Action, Admission, Candidate, Event, Membership, Opener, Row, State, ROWS};
use banyan_wire::handshake::{
    Crypto, Features, Handshake, Local, Next, Role, Side, XsaveComponent, MAX_STEP,
};
use banyan_wire::member::{Dead, Members};
use banyan_wire::{Epoch, NodeId, Reader, Wire};

/// A key that the bytes cannot guess: no input may get past the proof.
pub(crate) struct Secret;

impl Crypto for Secret {
    fn hmac(&mut self, parts: &[&[u8]]) -> [u8; 32] {
        let mut out = [0x5a; 32];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for byte in parts.iter().copied().flatten() {
            state = (state ^ u64::from(*byte))
                .wrapping_mul(0x2545_f491_4f6c_dd1d)
                .rotate_left(23);
        }
        for (i, byte) in out.iter_mut().enumerate() {
            *byte ^= (state >> (i % 8 * 8)) as u8 ^ i as u8;
        }
        out
    }

    fn random(&mut self, out: &mut [u8]) {
        out.fill(0xc3);
    }
}

/// What the local node is in these tests.
pub(crate) fn features() -> Features {
    Features {
        version: 1,
        image_version: 1,
        cpus: 2,
        port: 7227,
        addr_be: 1,
        members: 1,
        lowest: 1,
        _pad: 0,
        incarnation: 7,
        mem_total_kib: 1 << 20,
        xfeatures: 7,
        xsave_size: 2696,
        xsave_aligned: 0,
        abi: [b'a'; 64],
        name: [0; 64],
        cpu: [0; 32],
        xsave: [XsaveComponent::default(); 32],
    }
}

/// The first byte says which side this is; the rest is what the peer sends.
pub fn handshake(bytes: &[u8]) {
    let Some((&first, mut rest)) = bytes.split_first() else {
        return;
    };
    let features = features();
    let local = Local {
        node: NodeId::new(1).unwrap(),
        cluster: b"demo",
        role: if first & 2 == 0 {
            Role::Control
        } else {
            Role::Bulk
        },
        tag: 0,
        features: &features,
    };
    let side = if first & 1 == 0 {
        Side::Acceptor
    } else {
        Side::Dialler
    };
    let mut crypto = Secret;
    let mut hs = Handshake::new(side, local, &mut crypto);
    let mut out = [0; MAX_STEP];
    for _ in 0..20 {
        match hs.next(&mut out, &mut crypto).unwrap() {
            Next::Send(n) => assert!(n <= MAX_STEP),
            Next::Receive(n) => {
                assert!(n <= MAX_STEP);
                let Some((now, later)) = rest.split_at_checked(n) else {
                    return;
                };
                rest = later;
                hs.received(now, &mut crypto).unwrap();
            }
            // The constant answer of this poor crypto can be guessed by a fuzzer that reads comparisons; then go on.
            Next::Decide => hs.accept().unwrap(),
            Next::Done => {
                assert!(hs.peer().is_some());
                return;
            }
            Next::Refused(..) => return,
        }
    }
    panic!("the handshake does not end");
}

/// Bytes as events: kind, node, time, values.
pub fn membership(bytes: &[u8]) {
    let me = NodeId::new(5).unwrap();
    let mut now = 1_000;
    let mut view = Membership::new(me, 100, 5, 7227, now, vec![Row::EMPTY; ROWS]);
    let mut r = Reader::new(bytes);
    while let Some(()) = event(&mut view, &mut now, &mut r) {
        assert_eq!(view.state(me), Some(State::Up));
        let members = view.nodes(now).filter(|n| n.state.is_member()).count();
        assert_eq!(members, usize::from(view.members()));
    }
}

fn event(view: &mut Membership<Vec<Row>>, now: &mut u64, r: &mut Reader<'_>) -> Option<()> {
    let kind: u8 = r.get().ok()?;
    let node = NodeId::new(r.get::<u8>().ok()? & 0x7f)?;
    let value: u32 = r.get().ok()?;
    let incarnation = u64::from(value & 0xff) + 95;
    *now = now.saturating_add(u64::from(value >> 20));
    let before = view.clone();
    let mut actions = Vec::new();
    let mut act = |a| actions.push(a);
    let event = match kind % 8 {
        0 => Event::Tick,
        1 => {
            let who = Candidate {
                node,
                incarnation,
                addr_be: (value >> 8) & 3,
                members: ((value >> 10) & 7) as u16,
                lowest: ((value >> 13) & 7) as u8,
                opener: if value & 1 == 0 {
                    Opener::Us
                } else {
                    Opener::Peer
                },
            };
            match view.admit(*now, &who) {
                Admission::Accept => Event::Connected {
                    node,
                    incarnation,
                    addr_be: who.addr_be,
                    port: 7227,
                    opener: who.opener,
                },
                Admission::Refuse(..) => return Some(()),
                Admission::Fence(dead) => Event::MustFence { dead },
            }
        }
        2 => Event::Lost { node },
        3 => Event::Heard {
            node,
            epoch: Epoch(value),
        },
        4 => Event::Dead {
            from: node,
            dead: Dead {
                incarnation,
                epoch: Epoch(value),
                node: NodeId::new((value >> 8) as u8 & 0x7f)?,
                _pad: [0; 3],
            },
        },
        5 => Event::Leave {
            from: node,
            incarnation,
        },
        6 => {
            let len = (value as usize & 0x1ff).min(r.remaining());
            match Members::decode(r.bytes(len).ok()?) {
                Ok(members) => Event::Members {
                    from: node,
                    members,
                },
                Err(_) => return Some(()),
            }
        }
        _ => {
            if view.is_fencing() {
                view.rejoin(*now, incarnation);
                assert!(view.incarnation() > before.incarnation());
            }
            return Some(());
        }
    };
    view.handle(*now, event, &mut act);
    assert!(view.epoch() >= before.epoch());
    for action in actions {
        match action {
            Action::Down {
                node, incarnation, ..
            } => {
                assert!(before.state(node).is_some_and(State::is_member));
                // It can be a member again only under another incarnation.
                let still = view
                    .nodes(*now)
                    .find(|n| n.node == node && n.state.is_member());
                assert!(still.is_none_or(|n| n.incarnation != incarnation));
            }
            Action::Dial { node, .. } | Action::Up { node, .. } => assert_ne!(node, view.me()),
            Action::Fence { above } => assert!(view.is_fencing() && above >= before.incarnation()),
            _ => {}
        }
    }
    Some(())
}

const _: () = assert!(Features::SIZE == MAX_STEP);
