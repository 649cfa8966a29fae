// SPDX-License-Identifier: GPL-2.0

//! The network of the simulated cluster: handshakes, frames in order, connections that end.

use super::{Conn, Msg, Sim, Timed};
use banyan_member::{Action, Admission, Candidate, Event, Opener};
use banyan_wire::handshake::Refusal;
use banyan_wire::member::Members;
use std::collections::VecDeque;

impl Sim {
    pub(super) fn candidate(&self, of: usize, opener: Opener) -> Candidate {
        let view = &self.nodes[of].as_ref().unwrap().view;
        Candidate {
            node: view.me(),
            incarnation: view.incarnation(),
            addr_be: of as u32 + 1,
            members: view.members(),
            lowest: view.lowest(),
            opener,
        }
    }

    /// Asks `index` about a candidate; a fence is carried out at once.
    pub(super) fn admit(&mut self, index: usize, who: &Candidate) -> Result<(), (Refusal, u64)> {
        let now = self.now;
        match self.nodes[index].as_ref().unwrap().view.admit(now, who) {
            Admission::Accept => Ok(()),
            Admission::Refuse(refusal, dead) => Err((refusal, dead)),
            Admission::Fence(dead) => {
                self.handle(index, Event::MustFence { dead });
                Err((Refusal::Fencing, 0))
            }
        }
    }

    pub(super) fn dialled(&mut self, from: usize, to: usize, life: u32, expected: bool) {
        if self.life(from) != Some(life) || !self.reach(from, to) {
            return;
        }
        let Some(to_life) = self.life(to) else { return };
        if !expected && self.nodes[from].as_ref().unwrap().links.contains_key(&to) {
            return;
        }
        // The hellos, the proofs and the features are exchanged; the dialler decides first.
        if self.nodes[from].as_ref().unwrap().view.is_fencing() {
            return;
        }
        let peer = self.candidate(to, Opener::Us);
        let answer = self.admit(from, &peer);
        match answer {
            Ok(()) => {
                let delay = self.delay();
                self.at(
                    delay,
                    Timed::Accept {
                        from,
                        to,
                        lives: [life, to_life],
                    },
                );
            }
            Err((Refusal::DeclaredDead, dead)) => self.handle(to, Event::MustFence { dead }),
            Err(_) => {}
        }
    }

    pub(super) fn accept(&mut self, from: usize, to: usize, lives: [u32; 2]) {
        if self.life(from) != Some(lives[0])
            || self.life(to) != Some(lives[1])
            || !self.reach(from, to)
        {
            return;
        }
        let peer = self.candidate(from, Opener::Peer);
        let answer = self.admit(to, &peer);
        let conn = self.conns.len();
        self.conns.push(Conn {
            ends: [from, to],
            open: [Some(lives[0]), answer.is_ok().then_some(lives[1])],
            queue: [VecDeque::new(), VecDeque::new()],
            last: [0; 2],
        });
        let delay = self.delay();
        self.at(delay, Timed::Verdict { conn, answer });
        if answer.is_ok() {
            self.connected(to, conn, &peer);
        }
    }

    pub(super) fn verdict(&mut self, conn: usize, answer: Result<(), (Refusal, u64)>) {
        let [from, to] = self.conns[conn].ends;
        let Some(life) = self
            .life(from)
            .filter(|l| Some(*l) == self.conns[conn].open[0])
        else {
            return;
        };
        if !self.reach(from, to) {
            // As TCP does: it arrives when the link is back.
            self.at(50, Timed::Verdict { conn, answer });
            return;
        }
        if self.nodes[from].as_ref().unwrap().view.is_fencing() {
            self.close(conn, from);
            return;
        }
        match answer {
            Ok(()) if self.life(to).is_some() => {
                // What the acceptor said of itself; it may have fenced meanwhile, then its end is closed.
                let peer = self.candidate(to, Opener::Us);
                let _ = life;
                self.connected(from, conn, &peer);
            }
            Err((Refusal::DeclaredDead, dead)) => self.handle(from, Event::MustFence { dead }),
            _ => {}
        }
    }

    pub(super) fn connected(&mut self, index: usize, conn: usize, peer: &Candidate) {
        let other = usize::from(peer.node.get()) - 1;
        let actions = self.collect(
            index,
            Event::Connected {
                node: peer.node,
                incarnation: peer.incarnation,
                addr_be: peer.addr_be,
                port: 7227,
                opener: peer.opener,
            },
        );
        if actions.contains(&Action::UseOlder(peer.node)) {
            self.close(conn, index);
        } else if let Some(node) = &mut self.nodes[index] {
            if let Some(old) = node.links.insert(other, conn) {
                self.close(old, index);
            }
        }
        self.act(index, actions);
    }

    pub(super) fn send(&mut self, from: usize, to: usize, msg: Msg) {
        let Some(node) = &self.nodes[from] else {
            return;
        };
        let epoch = node.view.epoch();
        let Some(&conn) = node.links.get(&to) else {
            return;
        };
        let end = usize::from(self.conns[conn].ends[1] == to);
        let delay = self.delay();
        let c = &mut self.conns[conn];
        c.queue[end].push_back((epoch, msg));
        c.last[end] = c.last[end].max(self.now + delay);
        let wait = c.last[end] - self.now;
        self.at(wait, Timed::Deliver(conn, end));
    }

    pub(super) fn broadcast(&mut self, from: usize, msg: impl Fn() -> Msg) {
        let Some(node) = &self.nodes[from] else {
            return;
        };
        let mut peers: Vec<_> = node.links.keys().copied().collect();
        peers.sort_unstable();
        for peer in peers {
            self.send(from, peer, msg());
        }
    }

    pub(super) fn deliver(&mut self, conn: usize, end: usize) {
        let [a, b] = self.conns[conn].ends;
        let to = self.conns[conn].ends[end];
        let from = self.conns[conn].ends[1 - end];
        if self.conns[conn].open[end].is_none() || self.life(to) != self.conns[conn].open[end] {
            return;
        }
        if !self.reach(a, b) {
            self.at(50, Timed::Deliver(conn, end));
            return;
        }
        // Not yet in use at this end: the reader has not started.
        if self.nodes[to].as_ref().unwrap().links.get(&from) != Some(&conn) {
            if !self.conns[conn].queue[end].is_empty() {
                self.at(20, Timed::Deliver(conn, end));
            }
            return;
        }
        let Some((epoch, msg)) = self.conns[conn].queue[end].pop_front() else {
            return;
        };
        let node = Self::id(from);
        self.handle(to, Event::Heard { node, epoch });
        match msg {
            Msg::Heartbeat => {}
            Msg::Dead(dead) => self.handle(to, Event::Dead { from: node, dead }),
            Msg::Leave(leave) => {
                self.handle(
                    to,
                    Event::Leave {
                        from: node,
                        incarnation: leave.incarnation,
                    },
                );
            }
            Msg::Members(bytes) => {
                let members = Members::decode(&bytes).unwrap();
                self.handle(
                    to,
                    Event::Members {
                        from: node,
                        members,
                    },
                );
            }
        }
    }

    /// `index` closes its end.
    pub(super) fn close(&mut self, conn: usize, index: usize) {
        let end = usize::from(self.conns[conn].ends[1] == index);
        self.conns[conn].open[end] = None;
        let wait = self
            .delay()
            .max(self.conns[conn].last[1 - end].saturating_sub(self.now) + 1);
        self.at(wait, Timed::Closed(conn, 1 - end));
    }

    pub(super) fn closed(&mut self, conn: usize, end: usize) {
        let to = self.conns[conn].ends[end];
        let from = self.conns[conn].ends[1 - end];
        if self.conns[conn].open[end].is_none() || self.life(to) != self.conns[conn].open[end] {
            return;
        }
        if !self.reach(to, from) || !self.conns[conn].queue[end].is_empty() {
            self.at(50, Timed::Closed(conn, end));
            return;
        }
        self.conns[conn].open[end] = None;
        let node = self.nodes[to].as_mut().unwrap();
        if node.links.get(&from) == Some(&conn) {
            node.links.remove(&from);
            self.handle(
                to,
                Event::Lost {
                    node: Self::id(from),
                },
            );
        }
    }
}
