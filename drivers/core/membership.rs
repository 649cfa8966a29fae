// SPDX-License-Identifier: GPL-2.0

//! Who is in the cluster, as this node sees it: one [`State`] per session, behind its lock. The rules are those of
//! [`banyan_member`]; here is what they are fed with and what becomes of their answers.
//!
//! An answer that only touches the table of connections or queues a frame is carried out at once, under the lock. What calls into
//! services, or opens connections, is noted and carried out in order by other threads, without the lock.
//!
//! Lock order: `Session::state`, then `Session::notices` or a peer's `queue`.

use banyan_member::{
    Action,
    Cause,
    Event,
    Membership,
    Row, //
};
use banyan_wire::{
    member::{
        Dead,
        Members, //
    },
    op, NodeId, Wire,
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    clock::monotonic_ms,
    socket::Address, //
};

use crate::{
    peer::Peer,
    session::Session, //
};

/// Slots of the tables by node id.
pub(crate) const SLOTS: usize = banyan_wire::ids::MAX_NODE as usize + 1;

/// What services must hear, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Up(NodeId),
    Down(NodeId),
    LeaseOver(NodeId),
    Fence,
}

/// The membership and the connections that carry it.
pub(crate) struct State {
    pub(crate) membership: Membership<KVec<Row>>,
    /// By node id: the control connection in use.
    peers: KVec<Option<Arc<Peer>>>,
    /// By node id: the host name, as the node told when it connected last.
    names: KVec<[u8; 64]>,
    /// Connections to be opened.
    dials: KVec<Address>,
    /// The seeds are to be dialled.
    seeds: bool,
}

/// What becomes of a connection that just opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is the one in use now.
    Used,
    /// There is a better one: it is to be closed.
    Surplus,
}

impl State {
    pub(crate) fn new(membership: Membership<KVec<Row>>) -> Result<Self> {
        let mut peers = KVec::with_capacity(SLOTS, GFP_KERNEL)?;
        for _ in 0..SLOTS {
            peers.push(None, GFP_KERNEL)?;
        }
        Ok(Self {
            membership,
            peers,
            names: KVec::from_elem([0; 64], SLOTS, GFP_KERNEL)?,
            dials: KVec::new(),
            seeds: false,
        })
    }

    /// Returns the connection in use with a node.
    pub(crate) fn peer(&self, node: NodeId) -> Option<&Arc<Peer>> {
        self.peers.get(node.index())?.as_ref()
    }

    /// Returns a node's host name, NUL-padded.
    pub(crate) fn name(&self, node: NodeId) -> [u8; 64] {
        self.names.get(node.index()).copied().unwrap_or([0; 64])
    }

    /// Returns all connections in use.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.peers.iter().flatten()
    }

    /// Takes the connections that are to be opened; the flag: those to the seeds, too.
    pub(crate) fn take_dials(&mut self) -> (KVec<Address>, bool) {
        (
            core::mem::take(&mut self.dials),
            core::mem::take(&mut self.seeds),
        )
    }

    /// Feeds an event to the rules and carries out what they say.
    pub(crate) fn handle(&mut self, session: &Session, event: Event<'_>) {
        self.apply(session, event, None);
    }

    /// A connection opened.
    pub(crate) fn connected(&mut self, session: &Session, peer: &Arc<Peer>) -> Fate {
        let features = peer.features();
        let event = Event::Connected {
            node: peer.node(),
            incarnation: peer.incarnation(),
            addr_be: features.addr_be,
            port: features.port,
            opener: peer.opener(),
        };
        self.apply(session, event, Some(peer))
    }

    /// A connection is gone. Nothing happens if it is not the one in use.
    pub(crate) fn lost(&mut self, session: &Session, peer: &Arc<Peer>) {
        let Some(slot) = self.peers.get_mut(peer.node().index()) else {
            return;
        };
        if !slot.as_ref().is_some_and(|used| Arc::ptr_eq(used, peer)) {
            return;
        }
        *slot = None;
        self.apply(session, Event::Lost { node: peer.node() }, None);
    }

    fn apply(&mut self, session: &Session, event: Event<'_>, newcomer: Option<&Arc<Peer>>) -> Fate {
        let Self {
            membership,
            peers,
            names,
            dials,
            seeds,
        } = self;
        let mut fate = match newcomer {
            Some(_) => Fate::Used,
            None => Fate::Surplus,
        };
        let mut tell_members = false;
        let mut fenced = false;
        membership.handle(monotonic_ms(), event, &mut |action| match action {
            Action::Dial { addr_be, port, .. } => {
                let ip = u32::from_be(addr_be);
                note(dials, Address { ip, port });
            }
            Action::DialSeeds => *seeds = true,
            Action::UseOlder(_) => fate = Fate::Surplus,
            Action::UseNewer(node) | Action::Close(node) => {
                if let Some(peer) = peers.get_mut(node.index()).and_then(Option::take) {
                    session.close(&peer);
                }
            }
            Action::Up { node, incarnation } => {
                pr_info!("node {} is in (incarnation {incarnation})\n", node.get());
                session.notice(Notice::Up(node));
            }
            Action::Down { node, cause, .. } => {
                pr_info!("node {} is out: {cause:?}\n", node.get());
                if cause != Cause::Left {
                    session.core.stats.deaths.one();
                }
                session.bulk.shutdown(Some(node));
                session.notice(Notice::Down(node));
            }
            Action::LeaseOver { node, .. } => session.notice(Notice::LeaseOver(node)),
            Action::BroadcastDead(dead) => {
                for peer in peers.iter().flatten() {
                    tell_dead(peer, &dead);
                }
            }
            Action::TellDead { to, dead } => {
                if let Some(Some(peer)) = peers.get(to.index()) {
                    tell_dead(peer, &dead);
                }
            }
            Action::BroadcastMembers => tell_members = true,
            Action::EpochChanged(epoch) => session.core.set_epoch(epoch),
            Action::Fence { above } => {
                pr_warn!("this node was declared dead (incarnation {above}): it lets go and joins anew\n");
                session.core.stats.fences.one();
                fenced = true;
            }
        });
        if let Some(peer) = newcomer.filter(|_| fate == Fate::Used) {
            if let Some(slot) = peers.get_mut(peer.node().index()) {
                if let Some(name) = names.get_mut(peer.node().index()) {
                    *name = peer.features().name;
                }
                if let Some(older) = slot.replace(peer.clone()) {
                    session.close(&older);
                }
            }
        }
        if fenced {
            for peer in peers.iter_mut().filter_map(Option::take) {
                session.close(&peer);
            }
            session.bulk.shutdown(None);
            session.notice(Notice::Fence);
        } else if tell_members {
            self.broadcast_members();
        }
        fate
    }

    fn broadcast_members(&self) {
        let send = || -> Result {
            let mut members = KVec::new();
            for member in self.membership.entries() {
                members.push(member, GFP_KERNEL)?;
            }
            let mut payload = KVec::from_elem(0, Members::MAX_SIZE, GFP_KERNEL)?;
            let len = Members::encode(self.membership.epoch(), &members, &mut payload)
                .map_err(|_| EINVAL)?;
            for peer in self.peers() {
                let _ = peer.send_message(op::MEMBERS, payload.get(..len).ok_or(EINVAL)?);
            }
            Ok(())
        };
        // Without memory now, the next change tells it.
        let _ = send();
    }
}

fn note(dials: &mut KVec<Address>, address: Address) {
    // Without memory it is dialled again later.
    if !dials.contains(&address) {
        let _ = dials.push(address, GFP_KERNEL);
    }
}

fn tell_dead(peer: &Peer, dead: &Dead) {
    let mut payload = [0; Dead::SIZE];
    if dead.encode(&mut payload).is_ok() {
        // A connection that fails now tells its own story.
        let _ = peer.send_message(op::DEAD, &payload);
    }
}
