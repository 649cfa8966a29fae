// SPDX-License-Identifier: GPL-2.0

//! The handshake: both ends together, with wrong keys, with changed bytes, replayed, reflected.

use banyan_wire::handshake::{
    By, Crypto, Features, Handshake, Hello, Local, Next, Proof, Refusal, Role, Side, Verdict,
    XsaveComponent, MAX_STEP,
};
use banyan_wire::{NodeId, Wire};
use proptest::prelude::*;
use std::hash::{DefaultHasher, Hasher};

/// Stands for HMAC-SHA-256: a keyed hash that is good enough here; and a counter for nonces.
#[derive(Clone)]
struct Keyed {
    key: u64,
    random: u64,
}

impl Crypto for Keyed {
    fn hmac(&mut self, parts: &[&[u8]]) -> [u8; 32] {
        let mut out = [0; 32];
        for (i, chunk) in out.chunks_mut(8).enumerate() {
            let mut hash = DefaultHasher::new();
            hash.write_u64(self.key);
            hash.write_u64(i as u64);
            parts.iter().for_each(|part| hash.write(part));
            chunk.copy_from_slice(&hash.finish().to_le_bytes());
        }
        out
    }

    fn random(&mut self, out: &mut [u8]) {
        for byte in out {
            self.random = self
                .random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            *byte = (self.random >> 56) as u8;
        }
    }
}

fn features(incarnation: u64) -> Features {
    Features {
        version: banyan_wire::frame::PROTOCOL_VERSION,
        image_version: 1,
        cpus: 2,
        port: 7227,
        addr_be: 1,
        members: 1,
        lowest: 1,
        _pad: 0,
        incarnation,
        mem_total_kib: 1 << 20,
        xfeatures: 7,
        xsave_size: 2696,
        xsave_aligned: 0,
        abi: [b'a'; 64],
        name: [0; 64],
        cpu: [0; 32],
        xsave: [XsaveComponent {
            offset: 0,
            size: 2696,
        }; 32],
    }
}

/// One end.
struct End<'a> {
    hs: Handshake<'a>,
    crypto: Keyed,
    /// Everything that it sent, message by message.
    sent: Vec<Vec<u8>>,
    /// What it says when it must decide.
    answer: Option<Refusal>,
    outcome: Option<Result<(), (Refusal, By)>>,
    asked: usize,
}

impl<'a> End<'a> {
    fn new(side: Side, local: Local<'a>, key: u64, random: u64) -> Self {
        let mut crypto = Keyed { key, random };
        Self {
            hs: Handshake::new(side, local, &mut crypto),
            crypto,
            sent: Vec::new(),
            answer: None,
            outcome: None,
            asked: 0,
        }
    }

    /// Goes on until it must receive or is at its end; returns how much it wants.
    fn advance(&mut self) -> Option<usize> {
        for _ in 0..20 {
            let mut out = [0; MAX_STEP];
            match self.hs.next(&mut out, &mut self.crypto).unwrap() {
                Next::Send(n) => self.sent.push(out[..n].to_vec()),
                Next::Receive(n) => return Some(n),
                Next::Decide => {
                    self.asked += 1;
                    match self.answer {
                        None => self.hs.accept().unwrap(),
                        Some(refusal) => self.hs.refuse(refusal, 42).unwrap(),
                    }
                }
                Next::Done => {
                    self.outcome = Some(Ok(()));
                    return None;
                }
                Next::Refused(refusal, by) => {
                    self.outcome = Some(Err((refusal, by)));
                    return None;
                }
            }
        }
        panic!("no end");
    }

    fn give(&mut self, bytes: &[u8]) {
        self.hs.received(bytes, &mut self.crypto).unwrap();
    }
}

/// Lets both ends talk until neither can go on; `change` may alter each message (number, from the dialler?, bytes).
fn talk(a: &mut End<'_>, b: &mut End<'_>, mut change: impl FnMut(usize, bool, &mut Vec<u8>)) {
    let (mut from_a, mut from_b) = (0, 0);
    loop {
        let wants = [a.advance(), b.advance()];
        let mut moved = false;
        if let Some(n) = wants[1] {
            if let Some(message) = a.sent.get(from_a) {
                let mut message = message.clone();
                change(from_a, true, &mut message);
                assert_eq!(message.len(), n, "the ends disagree about what comes next");
                from_a += 1;
                b.give(&message);
                moved = true;
            }
        }
        if let Some(n) = wants[0] {
            if let Some(message) = b.sent.get(from_b) {
                let mut message = message.clone();
                change(from_b, false, &mut message);
                assert_eq!(message.len(), n, "the ends disagree about what comes next");
                from_b += 1;
                a.give(&message);
                moved = true;
            }
        }
        if !moved {
            return;
        }
    }
}

fn local<'a>(
    node: u8,
    cluster: &'a [u8],
    role: Role,
    tag: u64,
    features: &'a Features,
) -> Local<'a> {
    Local {
        node: NodeId::new(node).unwrap(),
        cluster,
        role,
        tag,
        features,
    }
}

fn pair(f: &[Features; 2], role: Role, tag: u64, keys: [u64; 2], seed: u64) -> [End<'_>; 2] {
    [
        End::new(
            Side::Dialler,
            local(3, b"demo", role, tag, &f[0]),
            keys[0],
            seed,
        ),
        End::new(
            Side::Acceptor,
            local(4, b"demo", Role::Control, 0, &f[1]),
            keys[1],
            seed ^ 0xffff,
        ),
    ]
}

const ACCEPTED: Option<Result<(), (Refusal, By)>> = Some(Ok(()));

#[test]
fn both_roles_succeed() {
    let f = [features(7), features(8)];
    for (role, tag) in [(Role::Control, 0), (Role::Bulk, 99)] {
        let [mut a, mut b] = pair(&f, role, tag, [1, 1], 5);
        talk(&mut a, &mut b, |_, _, _| {});
        assert_eq!((a.outcome, b.outcome), (ACCEPTED, ACCEPTED));
        assert_eq!((a.hs.peer(), b.hs.peer()), (NodeId::new(4), NodeId::new(3)));
        assert_eq!(b.hs.purpose(), Some((role, tag)));
        let control = role == Role::Control;
        assert_eq!(a.hs.peer_features().copied(), control.then_some(f[1]));
        assert_eq!(b.hs.peer_features().copied(), control.then_some(f[0]));
    }
}

#[test]
fn other_clusters_and_ids() {
    let f = [features(7), features(8)];
    for (node, cluster, refusal) in [
        (4, &b"other"[..], Refusal::OtherCluster),
        (4, b"demonstration", Refusal::OtherCluster),
        (3, b"demo", Refusal::SelfConnection),
    ] {
        let mut a = End::new(
            Side::Dialler,
            local(3, b"demo", Role::Control, 0, &f[0]),
            1,
            1,
        );
        let mut b = End::new(
            Side::Acceptor,
            local(node, cluster, Role::Control, 0, &f[1]),
            1,
            2,
        );
        talk(&mut a, &mut b, |_, _, _| {});
        assert_eq!(a.outcome, Some(Err((refusal, By::Us))));
        assert_eq!(b.outcome, Some(Err((refusal, By::Us))));
        // A stranger saw nothing but a hello.
        assert_eq!((a.sent.len(), b.sent.len()), (1, 1));
    }
}

#[test]
fn refusals_reach_the_other_end() {
    let f = [features(7), features(8)];
    for who in 0..2 {
        let mut ends = pair(&f, Role::Control, 0, [1, 1], 5);
        ends[who].answer = Some(Refusal::DeclaredDead);
        let [mut a, mut b] = ends;
        talk(&mut a, &mut b, |_, _, _| {});
        let mut by = [By::Peer, By::Peer];
        by[who] = By::Us;
        assert_eq!(a.outcome, Some(Err((Refusal::DeclaredDead, by[0]))));
        assert_eq!(b.outcome, Some(Err((Refusal::DeclaredDead, by[1]))));
        assert_eq!((a.hs.dead_incarnation(), b.hs.dead_incarnation()), (42, 42));
    }
}

#[test]
fn senseless_features_are_refused() {
    let good = features(7);
    let bad = Features {
        xsave_size: 100,
        ..good
    };
    for f in [
        [good, bad],
        [bad, good],
        [
            good,
            Features {
                incarnation: 0,
                ..good
            },
        ],
    ] {
        let [mut a, mut b] = pair(&f, Role::Control, 0, [1, 1], 5);
        talk(&mut a, &mut b, |_, _, _| {});
        for end in [a, b] {
            assert!(matches!(end.outcome, Some(Err((Refusal::BadFeatures, _)))));
        }
    }
}

#[test]
fn other_protocol_is_told_in_words() {
    let f = [features(7), features(8)];
    let [mut a, mut b] = pair(&f, Role::Control, 0, [1, 1], 5);
    talk(&mut a, &mut b, |_, _, bytes| {
        if bytes.len() == Hello::SIZE {
            bytes[8] ^= 2;
        }
    });
    for end in [a, b] {
        assert_eq!(end.outcome, Some(Err((Refusal::OtherProtocol, By::Us))));
    }
}

#[test]
fn out_of_order_calls_are_errors() {
    let f = features(7);
    let mut end = End::new(Side::Dialler, local(3, b"demo", Role::Control, 0, &f), 1, 1);
    assert!(end.hs.accept().is_err());
    assert!(end.hs.refuse(Refusal::Leaving, 0).is_err());
    assert!(end.hs.received(&[0; 88], &mut end.crypto).is_err());
    assert_eq!(end.advance(), Some(Hello::SIZE));
    assert!(end.hs.received(&[0; 87], &mut end.crypto).is_err());
    assert!(end.hs.received(&[0; 89], &mut end.crypto).is_err());
    assert!(Handshake::next(&mut end.hs, &mut [0; 1], &mut end.crypto.clone()).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(2_000), failure_persistence: None, ..ProptestConfig::default() })]

    /// Different keys: both ends learn it, nobody is asked to decide, the stranger got no proof.
    #[test]
    fn wrong_key(seed: u64, k1: u64, k2: u64, bulk: bool) {
        prop_assume!(k1 != k2);
        let f = [features(7), features(8)];
        let role = if bulk { Role::Bulk } else { Role::Control };
        let [mut a, mut b] = pair(&f, role, 0, [k1, k2], seed);
        talk(&mut a, &mut b, |_, _, _| {});
        prop_assert_eq!(a.outcome, Some(Err((Refusal::WrongKey, By::Us))));
        prop_assert_eq!(b.outcome, Some(Err((Refusal::WrongKey, By::Us))));
        prop_assert_eq!(a.asked + b.asked, 0);
        prop_assert_eq!(&b.sent[1], &vec![0; Proof::SIZE]);
    }

    /// One changed byte in a hello or a proof, in either direction: no connection.
    #[test]
    fn changed_byte(seed: u64, from_dialler: bool, number in 0usize..2, at in 0usize..88, xor in 1u8..) {
        let f = [features(7), features(8)];
        let [mut a, mut b] = pair(&f, Role::Control, 0, [1, 1], seed);
        talk(&mut a, &mut b, |n, dialler, bytes| {
            if n == number && dialler == from_dialler {
                let at = at % bytes.len();
                bytes[at] ^= xor;
            }
        });
        prop_assert_ne!(a.outcome, ACCEPTED);
        prop_assert_ne!(b.outcome, ACCEPTED);
        prop_assert!(b.asked == 0);
    }

    /// All that a good dialler ever sent, sent again to the acceptor's next connection: refused.
    #[test]
    fn replay(seed: u64, seed2: u64) {
        prop_assume!(seed != seed2);
        let f = [features(7), features(8)];
        let [mut a, mut b] = pair(&f, Role::Control, 0, [1, 1], seed);
        talk(&mut a, &mut b, |_, _, _| {});
        let [_, mut b] = pair(&f, Role::Control, 0, [1, 1], seed2);
        for message in &a.sent {
            if b.advance() != Some(message.len()) {
                break;
            }
            b.give(message);
        }
        b.advance();
        prop_assert_eq!(b.outcome, Some(Err((Refusal::WrongKey, By::Us))));
    }

    /// A peer that sends back what it gets, to either side: refused.
    #[test]
    fn reflection(seed: u64, dialler: bool) {
        let f = features(7);
        let side = if dialler { Side::Dialler } else { Side::Acceptor };
        let mut end = End::new(side, local(3, b"demo", Role::Control, 0, &f), 1, seed);
        // An acceptor speaks second: what is reflected there comes from a connection that it dials.
        let mut other = End::new(Side::Dialler, local(3, b"demo", Role::Control, 0, &f), 1, seed ^ 1);
        other.advance();
        for _ in 0..6 {
            let Some(n) = end.advance() else { break };
            let message = if dialler { end.sent.last() } else { other.sent.last() };
            match message.filter(|m| m.len() == n).cloned() {
                Some(message) => end.give(&message),
                None => break,
            }
        }
        prop_assert_eq!(end.outcome, Some(Err((Refusal::SelfConnection, By::Us))));
    }

    /// A stranger with any bytes gets a hello and at most zeros.
    #[test]
    fn garbage(seed: u64, magic: bool, bytes in prop::collection::vec(any::<u8>(), 300)) {
        let f = features(7);
        let mut end = End::new(Side::Acceptor, local(3, b"demo", Role::Control, 0, &f), 1, seed);
        let mut bytes = bytes;
        if magic {
            // A good hello, then garbage.
            let mut peer = End::new(Side::Dialler, local(4, b"demo", Role::Control, 0, &f), 2, seed ^ 1);
            peer.advance();
            bytes[..Hello::SIZE].copy_from_slice(&peer.sent[0]);
        }
        let mut rest = &bytes[..];
        while let Some(n) = end.advance() {
            let Some((now, later)) = rest.split_at_checked(n) else { break };
            end.give(now);
            rest = later;
        }
        prop_assert!(matches!(end.outcome, Some(Err((_, By::Us)))));
        prop_assert_eq!(end.asked, 0);
        let sent: usize = end.sent.iter().skip(1).flatten().map(|&b| usize::from(b)).sum();
        prop_assert_eq!(sent, 0);
        prop_assert!(end.sent.len() <= 2);
    }

    /// Verdicts that this version does not know are refusals all the same.
    #[test]
    fn unknown_verdict(code in 1u16..) {
        let f = [features(7), features(8)];
        let [mut a, mut b] = pair(&f, Role::Control, 0, [1, 1], 5);
        talk(&mut a, &mut b, |_, dialler, bytes| {
            if bytes.len() == Verdict::SIZE && dialler {
                bytes[..2].copy_from_slice(&code.to_le_bytes());
            }
        });
        let refusal = Refusal::from_code(code).unwrap_or(Refusal::Other);
        prop_assert_eq!(b.outcome, Some(Err((refusal, By::Peer))));
    }
}

/// Runs per property: `BANYAN_CASES` if it is set.
fn cases(default: u32) -> u32 {
    std::env::var("BANYAN_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}
