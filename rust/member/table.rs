// SPDX-License-Identifier: GPL-2.0

//! The table of nodes and what events do to it.

use crate::event::{Action, Cause, Event, Opener};
use crate::row::{Node, Row};
use crate::State;
use crate::{
    DEAD_MS, DIAL_MS, EPOCH_JUMP, GRACE_MS, HEAL_MAX_MS, HEAL_MS, JOINING_MS, LEASE_MS, SEEDS_MS,
    SEEDS_SLOW_MS, STALL_MS, SUSPECT_MS,
};
use banyan_wire::ids::MAX_NODE;
use banyan_wire::member::{Dead, Member, Members};
use banyan_wire::{Epoch, NodeId};
use core::ops::DerefMut;

/// Rows of the table.
pub const ROWS: usize = MAX_NODE as usize + 1;

/// Where a table lies: anything that holds [`ROWS`] rows. It is 6 KiB, too much for a kernel stack, so the owner
/// brings the memory.
pub trait Rows: DerefMut<Target = [Row]> {}

impl<T: DerefMut<Target = [Row]>> Rows for T {}

/// The membership as this node sees it.
#[derive(Clone, Debug)]
pub struct Membership<T> {
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
    /// By id; row 0 and the own row stay empty.
    rows: T,
}

impl<T: Rows> Membership<T> {
    /// A node that is alone. `incarnation` is greater than at any earlier join (realtime in ns will do). What `rows`
    /// held is lost; of fewer than [`ROWS`] the nodes beyond are never seen.
    pub fn new(
        me: NodeId,
        incarnation: u64,
        addr_be: u32,
        port: u16,
        now: u64,
        mut rows: T,
    ) -> Self {
        rows.fill(Row::EMPTY);
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
            rows,
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
        for row in self.rows.iter_mut() {
            let known = row.state.is_some() && row.addr_be != 0;
            *row = Row {
                state: known.then_some(State::Joining),
                eager: true,
                port: row.port,
                addr_be: row.addr_be,
                heard: now,
                dial: now,
                ..Row::EMPTY
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
        let one_more = |n: u16, row: &Row| n.saturating_add(row.is_member().into());
        self.rows.iter().fold(1, one_more)
    }

    /// Lowest id of a member, this node included.
    pub fn lowest(&self) -> u8 {
        NodeId::all()
            .find(|&node| node == self.me || self.row(node).is_member())
            .unwrap_or(self.me)
            .get()
    }

    /// The state of a node, `None` if there is no such node.
    pub fn state(&self, node: NodeId) -> Option<State> {
        if node == self.me {
            return Some(State::Up);
        }
        self.row(node).state
    }

    /// Whether a node is a member and connected: it can be asked for something now.
    pub fn is_reachable(&self, node: NodeId) -> bool {
        let row = self.row(node);
        node == self.me || (row.is_member() && row.link.is_some())
    }

    /// Every known node, by id, this one included: for the control interface.
    pub fn nodes(&self, now: u64) -> impl Iterator<Item = Node> + '_ {
        self.entries().map(move |e| {
            let row = self.row(e.node);
            Node {
                node: e.node,
                state: e.state,
                incarnation: e.incarnation,
                addr_be: e.addr_be,
                port: e.port,
                connected: row.link.is_some(),
                silent_ms: if e.node == self.me {
                    0
                } else {
                    now.saturating_sub(row.heard)
                },
            }
        })
    }

    /// The entries of a MEMBERS message, by id, this node included.
    pub fn entries(&self) -> impl Iterator<Item = Member> + '_ {
        NodeId::all().filter_map(|node| {
            if node != self.me {
                return self.row(node).entry(node);
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
                self.with(node, |row| {
                    row.link = None;
                    row.dial = now;
                });
            }
            Event::Heard { node, epoch } => self.heard(now, node, epoch, act),
            Event::Dead { from, dead } => {
                if self.row(from).is_member() {
                    self.told_dead(now, &dead, act);
                }
            }
            Event::Leave { from, incarnation } => {
                if self.row(from).incarnation == incarnation {
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

    pub(crate) fn row(&self, node: NodeId) -> Row {
        *self.rows.get(node.index()).unwrap_or(&Row::EMPTY)
    }

    fn with(&mut self, node: NodeId, change: impl FnOnce(&mut Row)) {
        if node != self.me {
            if let Some(row) = self.rows.get_mut(node.index()) {
                change(row);
            }
        }
    }

    fn others(&self) -> impl Iterator<Item = NodeId> {
        let me = self.me;
        NodeId::all().filter(move |&node| node != me)
    }

    fn raise_epoch(&mut self, at_least: Epoch, act: &mut impl FnMut(Action)) {
        // No cluster lives through so many changes: a member gone mad must not use the numbers up.
        let believable = at_least.0 <= self.epoch.0.saturating_add(EPOCH_JUMP);
        if at_least > self.epoch && believable {
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
        let old = self.row(node);
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
        let before = self.row(node);
        let is_new = !before.is_member() || before.incarnation != peer.incarnation;
        self.with(node, |row| {
            *row = Row {
                state: Some(State::Up),
                link: Some(opener),
                port: peer.port,
                addr_be: peer.addr_be,
                incarnation: peer.incarnation,
                heard: now,
                dial: now,
                ..Row::EMPTY
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
        if !self.row(node).is_member() {
            return;
        }
        self.with(node, |row| {
            row.heard = now;
            row.state = Some(State::Up);
        });
        self.raise_epoch(epoch, act);
    }

    /// `node` is a member no longer.
    fn down(&mut self, now: u64, node: NodeId, cause: Cause, act: &mut impl FnMut(Action)) {
        let old = self.row(node);
        if !old.is_member() {
            return;
        }
        let left = cause == Cause::Left;
        self.with(node, |row| {
            row.state = Some(if left { State::Left } else { State::Dead });
            row.link = None;
            row.lease = if left { 0 } else { old.incarnation };
            row.eager = false;
            row.heals = 0;
            row.dial = now.saturating_add(HEAL_MS);
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
        let row = self.row(dead.node);
        if dead.incarnation < row.incarnation {
            return;
        }
        if row.is_member() {
            self.down(now, dead.node, Cause::Told, act);
            // It may be a later one than was known here.
            self.with(dead.node, |row| row.incarnation = dead.incarnation);
            self.raise_epoch(dead.epoch, act);
        } else if row.state != Some(State::Left) {
            // Only remembered, so that it does not come in by this node.
            self.with(dead.node, |row| {
                row.state = Some(State::Dead);
                row.incarnation = dead.incarnation;
                row.dial = row.dial.max(now.saturating_add(HEAL_MS));
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
        if !self.row(from).is_member() {
            return;
        }
        for entry in told.members.flatten() {
            if self.fencing {
                return;
            }
            let row = self.row(entry.node);
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
                    if entry.incarnation >= row.incarnation {
                        self.down(now, entry.node, Cause::Left, act);
                    }
                }
                State::Up | State::Suspect if row.is_gone(entry.incarnation) => {
                    // The sender has not heard of the death; a leave it will hear by itself.
                    if row.state == Some(State::Dead) {
                        act(Action::TellDead {
                            to: from,
                            dead: Dead {
                                incarnation: row.incarnation,
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
        let old = self.row(entry.node);
        if old.is_member() {
            return;
        }
        if old.lease != 0 {
            // What it held must end first; then it is dialled as a dead node is, at its new address.
            self.with(entry.node, |row| {
                row.port = entry.port;
                row.addr_be = entry.addr_be;
            });
            return;
        }
        self.with(entry.node, |row| {
            *row = Row {
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
                ..Row::EMPTY
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
            let row = self.row(node);
            alone &= !(row.is_member() && row.link.is_some());
            let silent = now.saturating_sub(row.heard);
            match row.state {
                None => {}
                Some(State::Up | State::Suspect) if silent >= DEAD_MS && now >= self.grace => {
                    self.down(now, node, Cause::Silent, act);
                }
                Some(State::Up) if silent >= SUSPECT_MS => {
                    self.with(node, |row| row.state = Some(State::Suspect));
                }
                Some(State::Up | State::Suspect) => {}
                Some(State::Joining) if silent >= JOINING_MS => {
                    self.with(node, |row| *row = Row::EMPTY);
                }
                Some(State::Joining) => {}
                Some(State::Dead) if row.lease != 0 && silent >= LEASE_MS => {
                    self.with(node, |row| row.lease = 0);
                    act(Action::LeaseOver {
                        node,
                        incarnation: row.lease,
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
        let row = self.row(node);
        let ours = row.eager || self.me > node;
        let due = row.link.is_none() && now >= row.dial && row.addr_be != 0;
        let again = match row.state {
            Some(State::Up | State::Suspect | State::Joining) => DIAL_MS,
            Some(State::Dead) if row.lease == 0 => {
                let doubled = HEAL_MS.checked_shl(row.heals.into());
                doubled.map_or(HEAL_MAX_MS, |ms| ms.min(HEAL_MAX_MS))
            }
            _ => return,
        };
        if ours && due {
            self.with(node, |row| {
                row.dial = now.saturating_add(again);
                row.heals = row.heals.saturating_add(1).min(8);
            });
            act(Action::Dial {
                node,
                addr_be: row.addr_be,
                port: row.port,
            });
        }
    }
}
