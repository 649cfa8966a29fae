// SPDX-License-Identifier: GPL-2.0

//! The table of nodes and what events do to it.

use crate::event::{Action, Cause, Event, Opener};
use crate::slot::{Node, Slot};
use crate::State;
use crate::{
    DEAD_MS, DIAL_MS, GRACE_MS, HEAL_MAX_MS, HEAL_MS, JOINING_MS, LEASE_MS, SEEDS_MS,
    SEEDS_SLOW_MS, STALL_MS, SUSPECT_MS,
};
use banyan_wire::ids::MAX_NODE;
use banyan_wire::member::{Dead, Member, Members};
use banyan_wire::{Epoch, NodeId};

const SLOTS: usize = MAX_NODE as usize + 1;

/// The membership as this node sees it. About 6 KiB: keep it on the heap.
#[derive(Clone, Debug)]
pub struct Membership {
    me: NodeId,
    incarnation: u64,
    addr_be: u32,
    port: u16,
    epoch: Epoch,
    fencing: bool,
    /// When the seeds are dialled next.
    seeds: u64,
    /// When the last tick was.
    ticked: u64,
    /// No declarations before this time.
    grace: u64,
    /// By id; slot 0 and the own slot stay empty.
    slots: [Slot; SLOTS],
}

impl Membership {
    /// A node that is alone. `incarnation` is greater than at any earlier join (realtime in ns will do).
    pub const fn new(me: NodeId, incarnation: u64, addr_be: u32, port: u16, now: u64) -> Self {
        Self {
            me,
            incarnation,
            addr_be,
            port,
            epoch: Epoch(1),
            fencing: false,
            seeds: now,
            ticked: now,
            grace: now,
            slots: [Slot::EMPTY; SLOTS],
        }
    }

    /// Starts anew after [`Action::Fence`] was carried out: all other nodes are strangers again, whose
    /// addresses are remembered. An `incarnation` that is too small is raised.
    pub fn rejoin(&mut self, now: u64, incarnation: u64) {
        if !self.fencing {
            return;
        }
        self.fencing = false;
        self.incarnation = incarnation.max(self.incarnation.saturating_add(1));
        self.epoch = self.epoch.next();
        self.seeds = now;
        self.ticked = now;
        for slot in &mut self.slots {
            let known = slot.state.is_some() && slot.addr_be != 0;
            *slot = Slot {
                state: known.then_some(State::Joining),
                eager: true,
                port: slot.port,
                addr_be: slot.addr_be,
                heard: now,
                dial: now,
                ..Slot::EMPTY
            };
        }
    }

    /// This node.
    pub const fn me(&self) -> NodeId {
        self.me
    }

    /// Its incarnation.
    pub const fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The version of the membership.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether [`Membership::rejoin`] is awaited: nobody is admitted, nothing is dialled.
    pub const fn is_fencing(&self) -> bool {
        self.fencing
    }

    /// Number of members, this node included.
    pub fn members(&self) -> u16 {
        let others = self.slots.iter().filter(|slot| slot.is_member()).count();
        u16::try_from(others.saturating_add(1)).unwrap_or(u16::MAX)
    }

    /// Lowest id of a member, this node included.
    pub fn lowest(&self) -> u8 {
        NodeId::all()
            .find(|&node| node == self.me || self.slot(node).is_member())
            .unwrap_or(self.me)
            .get()
    }

    /// The state of a node, `None` if there is no such node.
    pub fn state(&self, node: NodeId) -> Option<State> {
        if node == self.me {
            return Some(State::Up);
        }
        self.slot(node).state
    }

    /// Whether a node is a member and connected: it can be asked for something now.
    pub fn is_reachable(&self, node: NodeId) -> bool {
        let slot = self.slot(node);
        node == self.me || (slot.is_member() && slot.link.is_some())
    }

    /// Every known node, by id, this one included: for the control interface.
    pub fn nodes(&self, now: u64) -> impl Iterator<Item = Node> + '_ {
        self.entries().map(move |e| {
            let slot = self.slot(e.node);
            Node {
                node: e.node,
                state: e.state,
                incarnation: e.incarnation,
                addr_be: e.addr_be,
                port: e.port,
                connected: slot.link.is_some(),
                silent_ms: if e.node == self.me {
                    0
                } else {
                    now.saturating_sub(slot.heard)
                },
            }
        })
    }

    /// The entries of a MEMBERS message, by id, this node included.
    pub fn entries(&self) -> impl Iterator<Item = Member> + '_ {
        NodeId::all().filter_map(|node| {
            if node != self.me {
                return self.slot(node).entry(node);
            }
            Some(Member {
                node,
                state: State::Up,
                port: self.port,
                addr_be: self.addr_be,
                incarnation: self.incarnation,
            })
        })
    }

    /// Takes an event; `act` gets what is to be done, in order.
    pub fn handle(&mut self, now: u64, event: Event<'_>, act: &mut impl FnMut(Action)) {
        if self.fencing {
            return;
        }
        match event {
            Event::Tick => self.tick(now, act),
            Event::Connected {
                node,
                incarnation,
                addr_be,
                port,
                opener,
            } => {
                let entry = Member {
                    node,
                    state: State::Up,
                    port,
                    addr_be,
                    incarnation,
                };
                self.connected(now, &entry, opener, act);
            }
            Event::Lost { node } => {
                self.with(node, |slot| {
                    slot.link = None;
                    slot.dial = now;
                });
            }
            Event::Heard { node, epoch } => self.heard(now, node, epoch, act),
            Event::Dead { from, dead } => {
                if self.slot(from).is_member() {
                    self.told_dead(now, &dead, act);
                }
            }
            Event::Leave { from, incarnation } => {
                if self.slot(from).incarnation == incarnation {
                    self.down(now, from, Cause::Left, act);
                }
            }
            Event::Members { from, members } => self.told_members(now, from, members, act),
            Event::MustFence { dead } => {
                if dead >= self.incarnation {
                    self.fence(dead, act);
                }
            }
        }
    }

    pub(crate) fn slot(&self, node: NodeId) -> Slot {
        *self.slots.get(node.index()).unwrap_or(&Slot::EMPTY)
    }

    fn with(&mut self, node: NodeId, change: impl FnOnce(&mut Slot)) {
        if node != self.me {
            if let Some(slot) = self.slots.get_mut(node.index()) {
                change(slot);
            }
        }
    }

    fn others(&self) -> impl Iterator<Item = NodeId> {
        let me = self.me;
        NodeId::all().filter(move |&node| node != me)
    }

    fn raise_epoch(&mut self, at_least: Epoch, act: &mut impl FnMut(Action)) {
        if at_least > self.epoch {
            self.epoch = at_least;
            act(Action::EpochChanged(at_least));
        }
    }

    fn fence(&mut self, dead: u64, act: &mut impl FnMut(Action)) {
        self.incarnation = self.incarnation.max(dead);
        self.fencing = true;
        act(Action::Fence {
            above: self.incarnation,
        });
    }

    fn connected(&mut self, now: u64, peer: &Member, opener: Opener, act: &mut impl FnMut(Action)) {
        let node = peer.node;
        let old = self.slot(node);
        if node == self.me || old.is_gone(peer.incarnation) {
            // Declared dead between the handshake's decision and now.
            act(Action::UseOlder(node));
            return;
        }
        if old.is_member() && old.incarnation == peer.incarnation {
            if let Some(older) = old.link {
                // Both ends must keep the same one: that of the higher id, if two ends dialled.
                let ours_wins = self.me > node;
                if older != opener && (older == Opener::Us) == ours_wins {
                    act(Action::UseOlder(node));
                    return;
                }
                act(Action::UseNewer(node));
            }
        } else if old.is_member() {
            self.down(now, node, Cause::Replaced, act);
        }
        let before = self.slot(node);
        let is_new = !before.is_member() || before.incarnation != peer.incarnation;
        self.with(node, |slot| {
            *slot = Slot {
                state: Some(State::Up),
                link: Some(opener),
                port: peer.port,
                addr_be: peer.addr_be,
                incarnation: peer.incarnation,
                heard: now,
                dial: now,
                ..Slot::EMPTY
            };
        });
        if is_new {
            if before.lease != 0 {
                act(Action::LeaseOver {
                    node,
                    incarnation: before.lease,
                });
            }
            act(Action::Up {
                node,
                incarnation: peer.incarnation,
            });
            self.raise_epoch(self.epoch.next(), act);
        }
        act(Action::BroadcastMembers);
    }

    fn heard(&mut self, now: u64, node: NodeId, epoch: Epoch, act: &mut impl FnMut(Action)) {
        if !self.slot(node).is_member() {
            return;
        }
        self.with(node, |slot| {
            slot.heard = now;
            slot.state = Some(State::Up);
        });
        self.raise_epoch(epoch, act);
    }

    /// `node` is a member no longer.
    fn down(&mut self, now: u64, node: NodeId, cause: Cause, act: &mut impl FnMut(Action)) {
        let old = self.slot(node);
        if !old.is_member() {
            return;
        }
        let left = cause == Cause::Left;
        self.with(node, |slot| {
            slot.state = Some(if left { State::Left } else { State::Dead });
            slot.link = None;
            slot.lease = if left { 0 } else { old.incarnation };
            slot.eager = false;
            slot.heals = 0;
            slot.dial = now.saturating_add(HEAL_MS);
        });
        if old.link.is_some() && cause != Cause::Replaced {
            act(Action::Close(node));
        }
        if cause == Cause::Silent || cause == Cause::Replaced {
            act(Action::BroadcastDead(Dead {
                incarnation: old.incarnation,
                epoch: self.epoch.next(),
                node,
                _pad: [0; 3],
            }));
        }
        act(Action::Down {
            node,
            incarnation: old.incarnation,
            cause,
        });
        self.raise_epoch(self.epoch.next(), act);
    }

    fn told_dead(&mut self, now: u64, dead: &Dead, act: &mut impl FnMut(Action)) {
        if dead.node == self.me {
            if dead.incarnation >= self.incarnation {
                self.fence(dead.incarnation, act);
            }
            return;
        }
        let slot = self.slot(dead.node);
        if dead.incarnation < slot.incarnation {
            return;
        }
        if slot.is_member() {
            self.down(now, dead.node, Cause::Told, act);
            // It may be a later one than was known here.
            self.with(dead.node, |slot| slot.incarnation = dead.incarnation);
            self.raise_epoch(dead.epoch, act);
        } else if slot.state != Some(State::Left) {
            // Only remembered, so that it does not come in by this node.
            self.with(dead.node, |slot| {
                slot.state = Some(State::Dead);
                slot.incarnation = dead.incarnation;
                slot.dial = slot.dial.max(now.saturating_add(HEAL_MS));
            });
        }
    }

    fn told_members(
        &mut self,
        now: u64,
        from: NodeId,
        told: Members<'_>,
        act: &mut impl FnMut(Action),
    ) {
        if !self.slot(from).is_member() {
            return;
        }
        for entry in told.members.flatten() {
            if self.fencing {
                return;
            }
            let slot = self.slot(entry.node);
            match entry.state {
                State::Dead => {
                    let dead = Dead {
                        incarnation: entry.incarnation,
                        epoch: told.epoch,
                        node: entry.node,
                        _pad: [0; 3],
                    };
                    self.told_dead(now, &dead, act);
                }
                State::Left => {
                    if entry.incarnation >= slot.incarnation {
                        self.down(now, entry.node, Cause::Left, act);
                    }
                }
                State::Up | State::Suspect if slot.is_gone(entry.incarnation) => {
                    // The sender has not heard of the death; a leave it will hear by itself.
                    if slot.state == Some(State::Dead) {
                        act(Action::TellDead {
                            to: from,
                            dead: Dead {
                                incarnation: slot.incarnation,
                                epoch: self.epoch,
                                node: entry.node,
                                _pad: [0; 3],
                            },
                        });
                    }
                }
                State::Up | State::Suspect => self.learn(now, &entry),
                State::Joining => {}
            }
        }
        self.raise_epoch(told.epoch, act);
    }

    /// A member of another's view that is none of ours: to be connected.
    fn learn(&mut self, now: u64, entry: &Member) {
        let old = self.slot(entry.node);
        if old.is_member() {
            return;
        }
        if old.lease != 0 {
            // What it held must end first; then it is dialled as a dead node is, at its new address.
            self.with(entry.node, |slot| {
                slot.port = entry.port;
                slot.addr_be = entry.addr_be;
            });
            return;
        }
        self.with(entry.node, |slot| {
            *slot = Slot {
                state: Some(State::Joining),
                eager: old.eager,
                port: entry.port,
                addr_be: entry.addr_be,
                incarnation: entry.incarnation,
                heard: now,
                dial: if old.state == Some(State::Joining) {
                    old.dial
                } else {
                    now
                },
                ..Slot::EMPTY
            };
        });
    }

    fn tick(&mut self, now: u64, act: &mut impl FnMut(Action)) {
        if now.saturating_sub(self.ticked) >= STALL_MS {
            self.grace = now.saturating_add(GRACE_MS);
        }
        self.ticked = now;
        let mut alone = true;
        for node in self.others() {
            let slot = self.slot(node);
            alone &= !(slot.is_member() && slot.link.is_some());
            let silent = now.saturating_sub(slot.heard);
            match slot.state {
                None => {}
                Some(State::Up | State::Suspect) if silent >= DEAD_MS && now >= self.grace => {
                    self.down(now, node, Cause::Silent, act);
                }
                Some(State::Up) if silent >= SUSPECT_MS => {
                    self.with(node, |slot| slot.state = Some(State::Suspect));
                }
                Some(State::Up | State::Suspect) => {}
                Some(State::Joining) if silent >= JOINING_MS => {
                    self.with(node, |slot| *slot = Slot::EMPTY);
                }
                Some(State::Joining) => {}
                Some(State::Dead) if slot.lease != 0 && silent >= LEASE_MS => {
                    self.with(node, |slot| slot.lease = 0);
                    act(Action::LeaseOver {
                        node,
                        incarnation: slot.lease,
                    });
                }
                Some(State::Dead | State::Left) => {}
            }
            self.dial(now, node, act);
        }
        if now >= self.seeds || (alone && now.saturating_add(SEEDS_MS) < self.seeds) {
            let again = if alone { SEEDS_MS } else { SEEDS_SLOW_MS };
            self.seeds = now.saturating_add(again);
            act(Action::DialSeeds);
        }
    }

    /// Dials a node that is due.
    fn dial(&mut self, now: u64, node: NodeId, act: &mut impl FnMut(Action)) {
        let slot = self.slot(node);
        let ours = slot.eager || self.me > node;
        let due = slot.link.is_none() && now >= slot.dial && slot.addr_be != 0;
        let again = match slot.state {
            Some(State::Up | State::Suspect | State::Joining) => DIAL_MS,
            Some(State::Dead) if slot.lease == 0 => {
                let doubled = HEAL_MS.checked_shl(slot.heals.into());
                doubled.map_or(HEAL_MAX_MS, |ms| ms.min(HEAL_MAX_MS))
            }
            _ => return,
        };
        if ours && due {
            self.with(node, |slot| {
                slot.dial = now.saturating_add(again);
                slot.heals = slot.heals.saturating_add(1).min(8);
            });
            act(Action::Dial {
                node,
                addr_be: slot.addr_be,
                port: slot.port,
            });
        }
    }
}
