// SPDX-License-Identifier: GPL-2.0

//! How two nodes prove the cluster key to each other and tell what they are, before anything else.
//!
//! One [`Handshake`] per new connection and side, owned by the thread that made or took the
//! connection. It does no input or output itself: it says what to send, what to receive, and when the
//! owner must decide; the key stays behind the [`Crypto`] that the owner lends.
//!
//! ```text
//! dialler                      acceptor
//!    Hello  ------------------>            fixed size; all that is parsed of a stranger
//!           <------------------  Hello
//!    Proof  ------------------>            HMAC(key, "banyan1 client" + both hellos)
//!           <------------------  Proof     HMAC(key, "banyan1 server" + both hellos)
//!    Features ---------------->            control connections only
//!           <------------------  Features
//!    Verdict ----------------->
//!           <------------------  Verdict
//! ```
//!
//! The dialler proves first: a stranger gets a hello and nothing that was made with the key. Both
//! nonces are in both proofs, so neither can be replayed; the labels differ and a hello with the own
//! node or nonce is refused, so neither can be reflected. After a bad proof the acceptor answers with
//! zeros, which no key gives: so the dialler, too, learns that the keys differ.

use crate::codec::{Result, Wire, WireError};
use crate::frame::PROTOCOL_VERSION;
use crate::ids::NodeId;

/// First bytes of a hello.
pub const HELLO_MAGIC: [u8; 8] = *b"BANYAN\r\n";

/// Longest cluster name, in bytes: one NUL stays behind it.
pub const MAX_CLUSTER_NAME: usize = 31;

/// Room that [`Handshake::next`] needs in `out`, and the most that it asks to receive.
pub const MAX_STEP: usize = Features::SIZE;

const CLIENT: &[u8] = b"banyan1 client";
const SERVER: &[u8] = b"banyan1 server";

crate::wire_enum! {
    /// What a connection is for.
    pub enum Role: u8 {
        Control = 1, "frames; one per pair of nodes";
        Bulk = 2, "the pages of one move; opened on demand";
    }

    /// Why a connection is refused. Codes are stable; they travel in a [`Verdict`].
    pub enum Refusal: u16 {
        WrongKey = 1, "it has another cluster key";
        OtherCluster = 2, "it belongs to another cluster";
        OtherProtocol = 3, "it speaks another version of the protocol";
        OtherAbi = 4, "it runs another kernel";
        DuplicateNode = 5, "its node id is taken: set another by banyan.node=N on the kernel command line or node = N in /etc/banyan/banyan.conf";
        SelfConnection = 6, "it has this node's own id: set another by banyan.node=N on the kernel command line or node = N in /etc/banyan/banyan.conf";
        NotBanyan = 7, "it does not speak the protocol at all";
        TooMany = 8, "too many connections";
        NotMember = 9, "a bulk connection of a node that is no member";
        Leaving = 10, "the node is leaving";
        DeclaredDead = 11, "it was declared dead and must join anew";
        AlreadyConnected = 12, "it is connected already";
        Disagreement = 13, "the two ends want different kinds of connection";
        CpuLayout = 14, "its register layout (XSAVE) cannot be used together with this one";
        BadFeatures = 15, "it describes itself with values that make no sense";
        Other = 16, "a reason that this version does not know";
        Fencing = 17, "it must first let go of what it held: try again";
    }
}

crate::wire_struct! {
    /// Opens a connection, from both sides. Its layout never changes, whatever the protocol version:
    /// so two versions can refuse each other in words.
    pub struct Hello {
        /// [`HELLO_MAGIC`].
        pub magic: [u8; 8],
        /// [`PROTOCOL_VERSION`] of the sender.
        pub version: u16,
        /// A [`Role`] code; the acceptor repeats the dialler's.
        pub role: u8,
        /// The sender's node id.
        pub node: u8,
        /// Zero.
        pub _pad: u32,
        /// Name of the cluster, NUL-padded.
        pub cluster: [u8; 32],
        /// Random, fresh for each connection.
        pub nonce: [u8; 32],
        /// Of a bulk connection: what it is for, as agreed before on the control connection; else 0.
        pub tag: u64,
    }

    /// The proof of the key.
    pub struct Proof {
        /// HMAC-SHA-256.
        pub hmac: [u8; 32],
    }

    /// Place of one component in the standard (not compacted) XSAVE area, as CPUID leaf 0xd gives it.
    #[derive(Default)]
    pub struct XsaveComponent {
        /// First byte of it in the area.
        pub offset: u32,
        /// Its bytes; 0 if the CPU does not have it.
        pub size: u32,
    }

    /// What a node is. Sent after both proofs, on a control connection.
    pub struct Features {
        /// [`PROTOCOL_VERSION`] again, now proven.
        pub version: u16,
        /// Version of the image format that it writes and reads.
        pub image_version: u16,
        /// Online CPUs.
        pub cpus: u16,
        /// TCP port where it takes connections.
        pub port: u16,
        /// Its IPv4 address as the others reach it, network order.
        pub addr_be: u32,
        /// Members in its view, itself included: after a partition the smaller side gives way.
        pub members: u16,
        /// Lowest node id among them: the tie-break.
        pub lowest: u8,
        /// Zero.
        pub _pad: u8,
        /// Number of this boot and join of the node: greater each time (realtime at the join, ns).
        pub incarnation: u64,
        /// Memory in all, KiB.
        pub mem_total_kib: u64,
        /// XSAVE components that the kernel has enabled for user state (`XCR0`).
        pub xfeatures: u64,
        /// Bytes of the standard XSAVE area for them.
        pub xsave_size: u32,
        /// Components that begin at a multiple of 64 bytes in the compacted XSAVE area, by bit.
        pub xsave_aligned: u32,
        /// Kernel release (`uname -r`), NUL-padded.
        pub abi: [u8; 64],
        /// Host name, NUL-padded.
        pub name: [u8; 64],
        /// The kernel's CPU capability words (`boot_cpu_data.x86_capability`), zero behind the last.
        pub cpu: [u32; 32],
        /// Layout of the XSAVE area by component number.
        pub xsave: [XsaveComponent; 32],
    }

    /// What a side decided. 0 = accepted.
    pub struct Verdict {
        /// A [`Refusal`] code or 0.
        pub code: u16,
        /// Zero.
        pub _pad: u16,
        /// Zero.
        pub _pad2: u32,
        /// With [`Refusal::DeclaredDead`]: the incarnation that is dead. The next must be greater.
        pub incarnation: u64,
    }
}

// Fixed for ever: see `Hello`.
const _: () = assert!(Hello::SIZE == 88 && Proof::SIZE == 32);
const _: () = assert!(Features::SIZE == 560 && Verdict::SIZE == 16);
const _: () = assert!(MAX_STEP >= Hello::SIZE && CLIENT.len() == SERVER.len());

impl Verdict {
    const fn new(refusal: Option<Refusal>, incarnation: u64) -> Self {
        let code = match refusal {
            Some(r) => r.code(),
            None => 0,
        };
        Self {
            code,
            _pad: 0,
            _pad2: 0,
            incarnation,
        }
    }

    fn refusal(&self) -> Option<Refusal> {
        match self.code {
            0 => None,
            code => Some(Refusal::from_code(code).unwrap_or(Refusal::Other)),
        }
    }
}

/// The key and the random numbers, lent by the owner.
pub trait Crypto {
    /// HMAC-SHA-256 over the parts, one behind the other, with the cluster key.
    fn hmac(&mut self, parts: &[&[u8]]) -> [u8; 32];

    /// Fills `out` with random bytes fit for a nonce.
    fn random(&mut self, out: &mut [u8]);
}

/// Compares without telling by its duration where the difference is. Lengths are not secret.
#[must_use]
pub fn equal_constant_time(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut difference = 0u8;
    for (x, y) in a.iter().zip(b) {
        difference = core::hint::black_box(difference | (x ^ y));
    }
    core::hint::black_box(difference) == 0
}

/// FNV-1a over a kernel release: what an offer carries for it.
pub const fn abi_hash(mut abi: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    while let Some((&byte, rest)) = abi.split_first() {
        if byte == 0 {
            break;
        }
        hash = (hash ^ byte as u64).wrapping_mul(0x0100_0000_01b3);
        abi = rest;
    }
    hash
}

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It dialled.
    Dialler,
    /// It took the connection.
    Acceptor,
}

/// Which end refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// This one.
    Us,
    /// The other one.
    Peer,
}

/// What this node is in a handshake.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    /// Its node id.
    pub node: NodeId,
    /// Name of its cluster, without NUL, at most [`MAX_CLUSTER_NAME`] bytes (longer is cut).
    pub cluster: &'a [u8],
    /// What the connection is for; of an acceptor: ignored, it takes the dialler's.
    pub role: Role,
    /// Of a bulk connection: its tag; of an acceptor: ignored.
    pub tag: u64,
    /// What it is; sent on control connections.
    pub features: &'a Features,
}

/// What the owner does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send the first so many bytes of `out`.
    Send(usize),
    /// Receive exactly so many bytes and hand them to [`Handshake::received`].
    Receive(usize),
    /// Look at [`Handshake::peer`] and [`Handshake::peer_features`], then call [`Handshake::accept`] or
    /// [`Handshake::refuse`].
    Decide,
    /// Both sides accepted: the connection is open.
    Done,
    /// Close the connection; log once why.
    Refused(Refusal, By),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    SendHello,
    /// The acceptor shows who it is before it refuses, so that the dialler can say why.
    SendHelloAndRefuse(Refusal),
    ReceiveHello,
    SendProof,
    SendNoProof,
    ReceiveProof,
    SendFeatures,
    ReceiveFeatures,
    Decide,
    SendVerdict(Option<Refusal>),
    ReceiveVerdict,
    Done,
    Refused(Refusal, By),
}

/// One side of one handshake. See the module's head for the order of things.
#[derive(Debug)]
pub struct Handshake<'a> {
    side: Side,
    state: State,
    local: Local<'a>,
    ours: Hello,
    theirs: Option<(NodeId, Hello)>,
    features: Option<Features>,
    /// Of a verdict `DeclaredDead`, ours or the peer's: the incarnation that is dead.
    dead: u64,
}

impl<'a> Handshake<'a> {
    /// Starts one.
    pub fn new(side: Side, local: Local<'a>, crypto: &mut impl Crypto) -> Self {
        let mut nonce = [0; 32];
        crypto.random(&mut nonce);
        let ours = Hello {
            magic: HELLO_MAGIC,
            version: PROTOCOL_VERSION,
            role: local.role.code(),
            node: local.node.get(),
            _pad: 0,
            cluster: crate::codec::text_field(local.cluster),
            nonce,
            tag: local.tag,
        };
        let state = match side {
            Side::Dialler => State::SendHello,
            Side::Acceptor => State::ReceiveHello,
        };
        Self {
            side,
            state,
            local,
            ours,
            theirs: None,
            features: None,
            dead: 0,
        }
    }

    /// Says what to do next. `out` is at least [`MAX_STEP`] bytes long.
    ///
    /// # Errors
    ///
    /// [`WireError::NoRoom`] if `out` is too short.
    pub fn next(&mut self, out: &mut [u8], crypto: &mut impl Crypto) -> Result<Next> {
        let dialler = self.side == Side::Dialler;
        let control = self.ours.role == Role::Control.code();
        let (len, after) = match self.state {
            State::ReceiveHello => return Ok(Next::Receive(Hello::SIZE)),
            State::ReceiveProof => return Ok(Next::Receive(Proof::SIZE)),
            State::ReceiveFeatures => return Ok(Next::Receive(Features::SIZE)),
            State::ReceiveVerdict => return Ok(Next::Receive(Verdict::SIZE)),
            State::Decide => return Ok(Next::Decide),
            State::Done => return Ok(Next::Done),
            State::Refused(refusal, by) => return Ok(Next::Refused(refusal, by)),
            State::SendHello => {
                let after = if dialler {
                    State::ReceiveHello
                } else {
                    State::ReceiveProof
                };
                (self.ours.encode(out)?, after)
            }
            State::SendHelloAndRefuse(refusal) => {
                (self.ours.encode(out)?, State::Refused(refusal, By::Us))
            }
            State::SendProof => {
                let hmac = self.proof(self.side, crypto)?;
                let after = match (dialler, control) {
                    (true, _) => State::ReceiveProof,
                    (false, true) => State::ReceiveFeatures,
                    (false, false) => State::ReceiveVerdict,
                };
                (Proof { hmac }.encode(out)?, after)
            }
            State::SendNoProof => (
                Proof { hmac: [0; 32] }.encode(out)?,
                State::Refused(Refusal::WrongKey, By::Us),
            ),
            State::SendFeatures => {
                let after = if dialler {
                    State::ReceiveFeatures
                } else {
                    State::ReceiveVerdict
                };
                (self.local.features.encode(out)?, after)
            }
            State::SendVerdict(refusal) => {
                let after = match (refusal, dialler) {
                    (Some(r), _) => State::Refused(r, By::Us),
                    (None, true) => State::ReceiveVerdict,
                    (None, false) => State::Done,
                };
                (Verdict::new(refusal, self.dead).encode(out)?, after)
            }
        };
        self.state = after;
        Ok(Next::Send(len))
    }

    /// Takes what [`Next::Receive`] asked for.
    ///
    /// # Errors
    ///
    /// [`WireError::OutOfOrder`] if nothing was asked for, [`WireError::Truncated`] or
    /// [`WireError::Trailing`] if `bytes` has another length. What a peer can do wrong is no error
    /// here: the next step is then [`Next::Refused`].
    pub fn received(&mut self, bytes: &[u8], crypto: &mut impl Crypto) -> Result<()> {
        let dialler = self.side == Side::Dialler;
        let control = self.ours.role == Role::Control.code();
        self.state = match self.state {
            State::ReceiveHello => {
                let hello = Hello::decode(bytes)?;
                match self.check_hello(&hello) {
                    Ok(node) => {
                        if !dialler {
                            self.ours.role = hello.role;
                            self.ours.tag = hello.tag;
                        }
                        self.theirs = Some((node, hello));
                        if dialler {
                            State::SendProof
                        } else {
                            State::SendHello
                        }
                    }
                    // What is no hello at all gets no answer.
                    Err(Refusal::NotBanyan) => State::Refused(Refusal::NotBanyan, By::Us),
                    Err(refusal) if dialler => State::Refused(refusal, By::Us),
                    Err(refusal) => State::SendHelloAndRefuse(refusal),
                }
            }
            State::ReceiveProof => {
                let proof = Proof::decode(bytes)?;
                let other = match self.side {
                    Side::Dialler => Side::Acceptor,
                    Side::Acceptor => Side::Dialler,
                };
                let good = equal_constant_time(&proof.hmac, &self.proof(other, crypto)?);
                match (good, dialler, control) {
                    (false, true, _) => State::Refused(Refusal::WrongKey, By::Us),
                    (false, false, _) => State::SendNoProof,
                    (true, false, _) => State::SendProof,
                    (true, true, true) => State::SendFeatures,
                    (true, true, false) => State::Decide,
                }
            }
            State::ReceiveFeatures => {
                let features = Features::decode(bytes)?;
                let sane = features.is_sane();
                self.features = Some(features).filter(|_| sane);
                match (sane, dialler) {
                    (true, true) => State::Decide,
                    (false, true) => State::SendVerdict(Some(Refusal::BadFeatures)),
                    // The acceptor keeps to the order and refuses when it is its turn.
                    (_, false) => State::SendFeatures,
                }
            }
            State::ReceiveVerdict => {
                let verdict = Verdict::decode(bytes)?;
                match (verdict.refusal(), dialler) {
                    (Some(refusal), _) => {
                        self.dead = verdict.incarnation;
                        State::Refused(refusal, By::Peer)
                    }
                    (None, true) => State::Done,
                    (None, false) if control && self.features.is_none() => {
                        State::SendVerdict(Some(Refusal::BadFeatures))
                    }
                    (None, false) => State::Decide,
                }
            }
            _ => return Err(WireError::OutOfOrder),
        };
        Ok(())
    }

    /// Accepts the peer, when [`Next::Decide`] asked.
    ///
    /// # Errors
    ///
    /// [`WireError::OutOfOrder`] at any other time.
    pub fn accept(&mut self) -> Result<()> {
        self.decide(None, 0)
    }

    /// Refuses the peer, when [`Next::Decide`] asked. `incarnation`: with [`Refusal::DeclaredDead`] the one
    /// that is dead, else 0.
    ///
    /// # Errors
    ///
    /// [`WireError::OutOfOrder`] at any other time.
    pub fn refuse(&mut self, refusal: Refusal, incarnation: u64) -> Result<()> {
        self.decide(Some(refusal), incarnation)
    }

    fn decide(&mut self, refusal: Option<Refusal>, incarnation: u64) -> Result<()> {
        if self.state != State::Decide {
            return Err(WireError::OutOfOrder);
        }
        self.dead = incarnation;
        self.state = State::SendVerdict(refusal);
        Ok(())
    }

    /// After a refusal with [`Refusal::DeclaredDead`]: the incarnation that is dead; else 0.
    pub fn dead_incarnation(&self) -> u64 {
        self.dead
    }

    /// Who the peer says it is; proven if the next step is [`Next::Decide`] or [`Next::Done`].
    pub fn peer(&self) -> Option<NodeId> {
        self.theirs.as_ref().map(|(node, _)| *node)
    }

    /// What the connection is for, and its tag: as the dialler said.
    pub fn purpose(&self) -> Option<(Role, u64)> {
        let (_, hello) = self.theirs.as_ref()?;
        Some((Role::from_code(hello.role)?, hello.tag))
    }

    /// What the peer is; `None` before it said so, and on bulk connections.
    pub fn peer_features(&self) -> Option<&Features> {
        self.features.as_ref()
    }

    fn check_hello(&self, hello: &Hello) -> Result<NodeId, Refusal> {
        if hello.magic != HELLO_MAGIC {
            return Err(Refusal::NotBanyan);
        }
        if hello.version != PROTOCOL_VERSION {
            return Err(Refusal::OtherProtocol);
        }
        if hello.cluster != self.ours.cluster {
            return Err(Refusal::OtherCluster);
        }
        if Role::from_code(hello.role).is_none() {
            return Err(Refusal::Disagreement);
        }
        let node = NodeId::new(hello.node).ok_or(Refusal::NotBanyan)?;
        if node == self.local.node || hello.nonce == self.ours.nonce {
            return Err(Refusal::SelfConnection);
        }
        if self.side == Side::Dialler
            && (hello.role != self.ours.role || hello.tag != self.ours.tag)
        {
            return Err(Refusal::Disagreement);
        }
        Ok(node)
    }

    /// The proof that `side` must give.
    fn proof(&self, side: Side, crypto: &mut impl Crypto) -> Result<[u8; 32]> {
        let theirs = match &self.theirs {
            Some((_, hello)) => hello,
            None => return Err(WireError::OutOfOrder),
        };
        let (client, server) = match self.side {
            Side::Dialler => (&self.ours, theirs),
            Side::Acceptor => (theirs, &self.ours),
        };
        let mut client_bytes = [0; Hello::SIZE];
        let mut server_bytes = [0; Hello::SIZE];
        client.encode(&mut client_bytes)?;
        server.encode(&mut server_bytes)?;
        let label = match side {
            Side::Dialler => CLIENT,
            Side::Acceptor => SERVER,
        };
        Ok(crypto.hmac(&[label, &client_bytes, &server_bytes]))
    }
}

impl Features {
    /// Whether the figures can be true: a layout inside the area, some CPU, an incarnation.
    fn is_sane(&self) -> bool {
        let inside = |c: &XsaveComponent| match c.offset.checked_add(c.size) {
            Some(end) => c.size == 0 || end <= self.xsave_size,
            None => false,
        };
        self.version == PROTOCOL_VERSION
            && self.cpus > 0
            && self.incarnation > 0
            && self.xsave_size <= 64 * 1024
            && self.xsave.iter().all(inside)
    }

    /// The first of these components whose place in the XSAVE area, standard or compacted, is another one than on `other`; `None` if both
    /// nodes lay them out alike. A component beyond those that are told counts as another one.
    pub fn other_layout(&self, other: &Self, xfeatures: u64) -> Option<u32> {
        (0..u64::BITS).find(|&i| {
            let bit = 1u64.wrapping_shl(i);
            let place = |features: &Self| {
                // The first two have fixed places in what was there before XSAVE.
                let place = features.xsave.get(i as usize).copied()?;
                Some((place, u64::from(features.xsave_aligned) & bit != 0))
            };
            let (ours, theirs) = (place(self), place(other));
            xfeatures & bit != 0 && (ours.is_none() || ours != theirs)
        })
    }
}
