// SPDX-License-Identifier: GPL-2.0

//! How connections come to be and what their reading threads do. Each connection, dialled or taken, has a thread of the session
//! from its first byte on: it carries out the handshake, and then reads the frames, or hands a bulk connection to its service.

use banyan_member::{
    Admission,
    Candidate,
    Event,
    Opener, //
};
use banyan_wire::{
    frame::FrameHeader,
    handshake::{
        By,
        Features,
        Handshake,
        Local,
        Refusal,
        Role,
        Side, //
    },
    member::{
        Dead,
        Heartbeat,
        Leave,
        Members, //
    },
    op, NodeId, Wire, WireError,
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    },
    time::Msecs, //
};
use kernel_ext::{
    clock::monotonic_ms,
    kthread::{
        set_nice,
        should_stop, //
    },
    socket::{
        Address,
        Listener,
        Patience,
        Socket, //
    },
    wait::pause, //
};

use crate::{
    auth,
    bulk::{
        self,
        BulkSocket, //
    },
    membership::Fate,
    peer::Peer,
    rpc::Responder,
    session::{
        Session,
        NICE, //
    }, //
};

/// Longest time to wait for a node to take a connection.
const CONNECT_MS: Msecs = 2_000;
/// Connections taken at one time whose handshake is not over: strangers can cause no more threads than these.
const MOST_STRANGERS: usize = 64;
/// Of them, from one address: one stranger cannot keep the others out.
const MOST_FROM_ONE: usize = 8;

/// What a handshake is about.
enum Purpose {
    Control,
    Bulk(u64),
}

/// What came out of it.
struct Opened {
    node: NodeId,
    role: Role,
    tag: u64,
    /// Of a control connection.
    features: Option<KBox<Features>>,
}

impl Session {
    /// Opens control connections to these addresses and, if the flag says so, to the seeds. Does not wait.
    pub(crate) fn dial_all(self: &Arc<Self>, (addresses, seeds): (KVec<Address>, bool)) {
        for address in &addresses {
            self.dial(*address);
        }
        if seeds {
            for address in &self.identity.seeds {
                if !self.is_connected(address.ip) {
                    self.dial(*address);
                }
            }
        }
    }

    fn is_connected(&self, ip: u32) -> bool {
        let state = self.state.lock();
        let connected = state.peers().any(|peer| peer.ip() == Some(ip));
        connected
    }

    fn dial(self: &Arc<Self>, to: Address) {
        if to == self.identity.address || self.leaving.load(Relaxed) {
            return;
        }
        {
            let mut dialling = self.dialling.lock();
            if dialling.contains(&to) || dialling.push(to, GFP_KERNEL).is_err() {
                return;
            }
        }
        let it = self.clone();
        let spawned = self
            .threads
            .spawn(fmt!("banyan/dial"), move || it.dial_one(to));
        if spawned.is_err() {
            self.dialled(to);
        }
    }

    fn dialled(&self, to: Address) {
        self.dialling.lock().retain(|address| *address != to);
    }

    /// The body of a thread that dials.
    fn dial_one(self: Arc<Self>, to: Address) {
        let opened = Socket::connect(to, Patience::killable(CONNECT_MS)).and_then(|socket| {
            let opened = self.greet(&socket, Side::Dialler, Purpose::Control)?;
            Ok((socket, opened))
        });
        self.dialled(to);
        match opened {
            Ok((socket, Some(opened))) => self.serve(socket, opened, Opener::Us),
            Ok((_, None)) => {}
            Err(_) => self.core.stats.dials_failed.one(),
        }
    }

    /// The body of the thread that takes connections.
    pub(crate) fn accept_all(self: &Arc<Self>, listener: &Listener) {
        while !should_stop() && !self.leaving.load(Relaxed) {
            let socket = match listener.accept(Patience::killable(60_000)) {
                Ok(socket) => socket,
                Err(e) if e == ETIMEDOUT || e == EINTR => continue,
                Err(_) => {
                    // Out of memory, or shut down: the loop ends then.
                    pause();
                    continue;
                }
            };
            let ip = socket.peer_address().map_or(0, |address| address.ip);
            let it = self.clone();
            let spawned = self.let_in(ip).and_then(|()| {
                self.threads
                    .spawn(fmt!("banyan/peer"), move || it.accept_one(socket, ip))
                    .inspect_err(|_| self.let_out(ip))
            });
            if spawned.is_err() {
                self.core.stats.refused(Refusal::TooMany);
            }
        }
    }

    fn let_in(&self, ip: u32) -> Result {
        let mut strangers = self.strangers.lock();
        let from_it = strangers.iter().filter(|other| **other == ip).count();
        if strangers.len() >= MOST_STRANGERS || from_it >= MOST_FROM_ONE {
            return Err(EBUSY);
        }
        Ok(strangers.push(ip, GFP_KERNEL)?)
    }

    fn let_out(&self, ip: u32) {
        let mut strangers = self.strangers.lock();
        if let Some(i) = strangers.iter().position(|other| *other == ip) {
            let _ = strangers.remove(i);
        }
    }

    /// The body of a thread for a connection that was taken.
    fn accept_one(self: Arc<Self>, socket: Socket, ip: u32) {
        let opened = self.greet(&socket, Side::Acceptor, Purpose::Control);
        self.let_out(ip);
        match opened {
            Ok(Some(opened)) if opened.role == Role::Bulk => self.serve_bulk(socket, &opened),
            Ok(Some(opened)) => self.serve(socket, opened, Opener::Peer),
            Ok(None) => {}
            // It broke off, or was too slow.
            Err(_) => self.core.stats.refused_not_banyan.one(),
        }
    }

    /// Carries out the handshake. `None`: one side refused; that is logged.
    fn greet(
        self: &Arc<Self>,
        socket: &Socket,
        side: Side,
        purpose: Purpose,
    ) -> Result<Option<Opened>> {
        let features = self.features()?;
        let (role, tag) = match purpose {
            Purpose::Control => (Role::Control, 0),
            Purpose::Bulk(tag) => (Role::Bulk, tag),
        };
        let key = &self.identity.key;
        let local = Local {
            node: self.identity.node,
            cluster: &self.identity.cluster,
            role,
            tag,
            features: &features,
        };
        let mut handshake = Handshake::new(side, local, &mut auth::Keyring(key));
        let mut must_fence = None;
        let outcome = auth::shake_hands(socket, key, &mut handshake, |handshake| {
            match self.judge(side, handshake) {
                Admission::Accept => handshake.accept(),
                Admission::Refuse(refusal, dead) => handshake.refuse(refusal, dead),
                Admission::Fence(dead) => {
                    must_fence = Some(dead);
                    handshake.refuse(Refusal::Fencing, 0)
                }
            }
        })?;
        if let auth::Outcome::Refused(refusal, by) = outcome {
            if refusal == Refusal::DeclaredDead && by == By::Peer {
                must_fence = Some(handshake.dead_incarnation());
            }
            // Two that dial each other at once are no news.
            if refusal != Refusal::AlreadyConnected {
                auth::log_refusal(&self.core.stats, socket, &handshake, refusal, by);
            }
            if let Some(dead) = must_fence {
                self.event(Event::MustFence { dead });
            }
            return Ok(None);
        }
        let (role, tag) = handshake.purpose().ok_or(EPROTO)?;
        let features = match handshake.peer_features() {
            Some(features) => Some(KBox::new(*features, GFP_KERNEL)?),
            None => None,
        };
        Ok(Some(Opened {
            node: handshake.peer().ok_or(EPROTO)?,
            role,
            tag,
            features,
        }))
    }

    /// Decides over a peer that has proven the key.
    fn judge(&self, side: Side, handshake: &Handshake<'_>) -> Admission {
        if self.leaving.load(Relaxed) {
            return Admission::Refuse(Refusal::Leaving, 0);
        }
        let (Some(node), Some((role, _))) = (handshake.peer(), handshake.purpose()) else {
            return Admission::Refuse(Refusal::Disagreement, 0);
        };
        let state = self.state.lock();
        match (role, handshake.peer_features()) {
            (Role::Bulk, _) if state.membership.is_reachable(node) => Admission::Accept,
            (Role::Bulk, _) => Admission::Refuse(Refusal::NotMember, 0),
            (Role::Control, None) => Admission::Refuse(Refusal::BadFeatures, 0),
            (Role::Control, Some(features)) => {
                let opener = match side {
                    Side::Dialler => Opener::Us,
                    Side::Acceptor => Opener::Peer,
                };
                let candidate = Candidate::new(node, features, opener);
                state.membership.admit(monotonic_ms(), &candidate)
            }
        }
    }

    /// Serves a control connection until it ends.
    fn serve(self: Arc<Self>, socket: Socket, opened: Opened, opener: Opener) {
        let Some(features) = opened.features else {
            return;
        };
        let connection = self.number_connection();
        let core = self.core.clone();
        let Ok(peer) = Peer::new(core, opened.node, opener, connection, features, socket) else {
            return;
        };
        let writer = peer.clone();
        let spawned = self
            .threads
            .spawn(fmt!("banyan/tx/{}", opened.node.get()), move || {
                set_nice(NICE);
                writer.write_frames()
            });
        if spawned.is_err() {
            return;
        }
        set_nice(NICE);
        self.core.stats.connections.one();
        let (fate, dials) = {
            let mut state = self.state.lock();
            let fate = state.connected(&self, &peer);
            (fate, state.take_dials())
        };
        self.dial_all(dials);
        if fate == Fate::Used {
            if let Err(e) = self.read_frames(&peer) {
                if e == EPROTO {
                    self.core.stats.protocol_errors.one();
                }
            }
        }
        self.close(&peer);
        self.state.lock().lost(&self, &peer);
    }

    /// Reads frames and hands them out, until the connection ends.
    fn read_frames(self: &Arc<Self>, peer: &Arc<Peer>) -> Result {
        let mut room = Peer::payload_room()?;
        loop {
            let header = peer.read_frame(&mut room)?;
            let payload = room.get(..header.payload_len()).ok_or(EPROTO)?;
            let node = peer.node();
            let epoch = header.epoch();
            self.event(Event::Heard { node, epoch });
            if header.is_reply() {
                self.pending.answered(peer.connection(), &header, payload);
            } else if op::CORE.contains(&header.op()) {
                self.core_frame(peer, &header, payload)
                    .map_err(|_| EPROTO)?;
            } else {
                self.service_frame(peer, &header, payload);
            }
        }
    }

    fn core_frame(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        header: &FrameHeader,
        payload: &[u8],
    ) -> Result<(), WireError> {
        let from = peer.node();
        match header.op() {
            op::HEARTBEAT => peer.set_heartbeat(Heartbeat::decode(payload)?),
            op::MEMBERS => {
                let members = Members::decode(payload)?;
                self.event(Event::Members { from, members });
            }
            op::LEAVE => {
                let Leave { incarnation } = Leave::decode(payload)?;
                self.event(Event::Leave { from, incarnation });
            }
            op::DEAD => {
                let dead = Dead::decode(payload)?;
                self.event(Event::Dead { from, dead });
            }
            _ => self.unknown_frame(peer, header),
        }
        Ok(())
    }

    fn service_frame(&self, peer: &Arc<Peer>, header: &FrameHeader, payload: &[u8]) {
        let from = peer.node();
        let op = header.op();
        let taken = self.core.registry.with_op(op, |service| {
            if header.is_request() {
                let responder = Responder::new(peer.clone(), op, header.id());
                service.request(from, op, payload, responder);
            } else {
                service.message(from, op, payload);
            }
        });
        if taken.is_none() {
            self.unknown_frame(peer, header);
        }
    }

    fn unknown_frame(&self, peer: &Peer, header: &FrameHeader) {
        if header.is_optional() {
            return;
        }
        self.core.stats.unknown_frames.one();
        if header.is_request() {
            let _ = peer.send_failure(header.op(), header.id(), EOPNOTSUPP.into());
        }
    }

    /// Hands a bulk connection to the service of moves, and waits until that is done with it.
    fn serve_bulk(&self, socket: Socket, opened: &Opened) {
        bulk::tune(&socket);
        let Ok(bulk) = self.bulk.add(opened.node, socket) else {
            return;
        };
        self.core.stats.bulk_connections.one();
        // A node that was declared dead since the handshake's decision.
        if self.member(opened.node).is_err() {
            return;
        }
        let (node, tag) = (opened.node, opened.tag);
        self.core
            .registry
            .with_op(op::OFFER, |service| service.bulk(node, tag, bulk));
    }

    /// Opens a bulk connection.
    ///
    /// # Errors
    ///
    /// `EHOSTUNREACH` if the node is no member, `ECONNREFUSED` if it refused, and those of the socket.
    pub(crate) fn open_bulk(
        self: &Arc<Self>,
        node: NodeId,
        tag: u64,
        timeout: Msecs,
    ) -> Result<BulkSocket> {
        let peer = self.member(node)?;
        let to = Address {
            ip: peer.ip().ok_or(EHOSTUNREACH)?,
            port: peer.features().port,
        };
        let socket = Socket::connect(to, Patience::killable(timeout))?;
        let opened = self
            .greet(&socket, Side::Dialler, Purpose::Bulk(tag))?
            .ok_or(ECONNREFUSED)?;
        if opened.node != node {
            return Err(EHOSTUNREACH);
        }
        bulk::tune(&socket);
        let bulk = self.bulk.add(node, socket)?;
        // It may have been declared dead before the table knew the socket.
        self.member(node)?;
        self.core.stats.bulk_connections.one();
        Ok(bulk)
    }
}
