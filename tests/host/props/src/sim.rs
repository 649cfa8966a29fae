// SPDX-License-Identifier: GPL-2.0

//! A cluster in one thread: up to 16 nodes that each run the real [`Membership`], connections that behave
//! as TCP does (in order, held back while the link is cut, no notice of a power cut), a clock that jumps
//! from event to event. The same seed gives the same run.

use banyan_member::{Action, Admission, Candidate, Cause, Event, Membership, Opener, Row, ROWS};
use banyan_wire::handshake::Refusal;
use banyan_wire::member::{Dead, Leave, Members, State};
use banyan_wire::{Epoch, NodeId};
use std::collections::{BTreeMap, HashMap, VecDeque};

const BEAT: u64 = banyan_member::HEARTBEAT_MS;
const TICK: u64 = banyan_member::TICK_MS;

/// How long the owner takes to end its guests when it fences.
const FENCING: u64 = 300;

enum Msg {
    Heartbeat,
    Dead(Dead),
    Members(Vec<u8>),
    Leave(Leave),
}

struct Conn {
    /// Dialler and acceptor.
    ends: [usize; 2],
    /// Which life of the node holds the end; `None` = closed.
    open: [Option<u32>; 2],
    /// Frames on the way to each end.
    queue: [VecDeque<(Epoch, Msg)>; 2],
    last: [u64; 2],
}

enum Timed {
    Tick(usize, u32),
    Beat(usize, u32),
    Rejoin(usize, u32),
    /// A dial reaches its target.
    Dial {
        from: usize,
        to: usize,
        life: u32,
        expected: bool,
    },
    /// The dialler's verdict reaches the acceptor.
    Accept {
        from: usize,
        to: usize,
        lives: [u32; 2],
    },
    /// The acceptor's verdict reaches the dialler: accepted, or refused with the dead incarnation.
    Verdict {
        conn: usize,
        answer: Result<(), (Refusal, u64)>,
    },
    /// The next frame reaches this end.
    Deliver(usize, usize),
    /// The closing of the other end reaches this one.
    Closed(usize, usize),
}

/// One node.
pub struct Node {
    /// Its view.
    pub view: Membership<Vec<Row>>,
    /// Number of its boots and joins.
    pub life: u32,
    links: HashMap<usize, usize>,
    /// What `Down` said of each incarnation: it must never be `Up` again in this life.
    gone: HashMap<(NodeId, u64), Cause>,
    /// Leases that run.
    leases: HashMap<NodeId, u64>,
    paused: u64,
}

/// The cluster.
pub struct Sim {
    /// Milliseconds.
    pub now: u64,
    /// By index; node id = index + 1. `None` = switched off.
    pub nodes: Vec<Option<Node>>,
    /// Deaths declared of nodes that were on and not fencing: what a run without faults must not have.
    pub declared_alive: u32,
    events: BTreeMap<(u64, u64), Timed>,
    seq: u64,
    conns: Vec<Conn>,
    /// Group of each node: only nodes of one group reach each other.
    groups: Vec<u8>,
    lives: u32,
    random: u64,
    max_delay: u64,
    clock_back: bool,
}

impl Sim {
    /// `count` nodes, all off. Frames take 1 to `max_delay` ms. With `clock_back` a rebooted node's incarnation is
    /// smaller than before (no battery behind its clock).
    pub fn new(count: usize, seed: u64, max_delay: u64, clock_back: bool) -> Self {
        Self {
            now: 1_000,
            nodes: (0..count).map(|_| None).collect(),
            declared_alive: 0,
            events: BTreeMap::new(),
            seq: 0,
            conns: Vec::new(),
            groups: vec![0; count],
            lives: 0,
            random: seed | 1,
            max_delay,
            clock_back,
        }
    }

    fn rand(&mut self, below: u64) -> u64 {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below.max(1)
    }

    fn at(&mut self, delay: u64, event: Timed) {
        self.seq += 1;
        self.events.insert((self.now + delay, self.seq), event);
    }

    fn delay(&mut self) -> u64 {
        1 + self.rand(self.max_delay)
    }

    fn id(index: usize) -> NodeId {
        NodeId::new(index as u8 + 1).unwrap()
    }

    fn incarnation(&self) -> u64 {
        if self.clock_back {
            1_000_000 - u64::from(self.lives)
        } else {
            1_000_000 + u64::from(self.lives)
        }
    }

    fn reach(&self, a: usize, b: usize) -> bool {
        self.groups[a] == self.groups[b]
    }

    fn life(&self, index: usize) -> Option<u32> {
        self.nodes[index].as_ref().map(|n| n.life)
    }

    /// Switches a node on.
    pub fn start(&mut self, index: usize) {
        if self.nodes[index].is_some() {
            return;
        }
        self.lives += 1;
        let life = self.lives;
        let view = Membership::new(
            Self::id(index),
            self.incarnation(),
            index as u32 + 1,
            7227,
            self.now,
            vec![Row::EMPTY; ROWS],
        );
        self.nodes[index] = Some(Node {
            view,
            life,
            links: HashMap::new(),
            gone: HashMap::new(),
            leases: HashMap::new(),
            paused: 0,
        });
        let (tick, beat) = (self.rand(TICK), self.rand(BEAT));
        self.at(tick, Timed::Tick(index, life));
        self.at(beat, Timed::Beat(index, life));
    }

    /// Cuts a node's power.
    pub fn kill(&mut self, index: usize) {
        self.nodes[index] = None;
    }

    /// A node leaves properly and is switched off.
    pub fn leave(&mut self, index: usize) {
        let Some(node) = &self.nodes[index] else {
            return;
        };
        let leave = Leave {
            incarnation: node.view.incarnation(),
        };
        for peer in node.links.keys().copied().collect::<Vec<_>>() {
            self.send(index, peer, Msg::Leave(leave));
        }
        // The frames get out, then the sockets close.
        for conn in self.nodes[index].take().unwrap().links.into_values() {
            self.close(conn, index);
        }
    }

    /// Stops a node's processors for so long; frames wait.
    pub fn pause(&mut self, index: usize, ms: u64) {
        let until = self.now + ms;
        if let Some(node) = &mut self.nodes[index] {
            node.paused = node.paused.max(until);
        }
    }

    /// Cuts the network into two: bit `i` of `mask` says on which side node `i` is.
    pub fn partition(&mut self, mask: u16) {
        for (i, group) in self.groups.iter_mut().enumerate() {
            *group = (mask >> i & 1) as u8;
        }
    }

    /// Runs for so long.
    pub fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some((&(time, seq), _)) = self.events.range(..=(end, u64::MAX)).next() {
            let event = self.events.remove(&(time, seq)).unwrap();
            self.now = time;
            self.step(event);
        }
        self.now = end;
    }

    fn step(&mut self, event: Timed) {
        let who = match &event {
            Timed::Tick(i, _) | Timed::Beat(i, _) | Timed::Rejoin(i, _) => *i,
            Timed::Dial { to, .. } | Timed::Accept { to, .. } => *to,
            Timed::Verdict { conn, .. } => self.conns[*conn].ends[0],
            Timed::Deliver(conn, end) | Timed::Closed(conn, end) => self.conns[*conn].ends[*end],
        };
        if let Some(node) = &self.nodes[who] {
            if node.paused > self.now {
                let wait = node.paused - self.now;
                self.at(wait, event);
                return;
            }
        }
        match event {
            Timed::Tick(i, life) if self.life(i) == Some(life) => {
                self.at(TICK, Timed::Tick(i, life));
                self.handle(i, Event::Tick);
            }
            Timed::Beat(i, life) if self.life(i) == Some(life) => {
                self.at(BEAT, Timed::Beat(i, life));
                self.broadcast(i, || Msg::Heartbeat);
            }
            Timed::Rejoin(i, life) if self.life(i) == Some(life) => {
                self.lives += 1;
                let incarnation = self.incarnation();
                let now = self.now;
                let node = self.nodes[i].as_mut().unwrap();
                node.view.rejoin(now, incarnation);
                node.gone.clear();
                node.leases.clear();
            }
            Timed::Dial {
                from,
                to,
                life,
                expected,
            } => self.dialled(from, to, life, expected),
            Timed::Accept { from, to, lives } => self.accept(from, to, lives),
            Timed::Verdict { conn, answer } => self.verdict(conn, answer),
            Timed::Deliver(conn, end) => self.deliver(conn, end),
            Timed::Closed(conn, end) => self.closed(conn, end),
            _ => {}
        }
    }

    fn candidate(&self, of: usize, opener: Opener) -> Candidate {
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
    fn admit(&mut self, index: usize, who: &Candidate) -> Result<(), (Refusal, u64)> {
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

    fn dialled(&mut self, from: usize, to: usize, life: u32, expected: bool) {
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

    fn accept(&mut self, from: usize, to: usize, lives: [u32; 2]) {
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

    fn verdict(&mut self, conn: usize, answer: Result<(), (Refusal, u64)>) {
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

    fn connected(&mut self, index: usize, conn: usize, peer: &Candidate) {
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

    fn send(&mut self, from: usize, to: usize, msg: Msg) {
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

    fn broadcast(&mut self, from: usize, msg: impl Fn() -> Msg) {
        let Some(node) = &self.nodes[from] else {
            return;
        };
        let mut peers: Vec<_> = node.links.keys().copied().collect();
        peers.sort_unstable();
        for peer in peers {
            self.send(from, peer, msg());
        }
    }

    fn deliver(&mut self, conn: usize, end: usize) {
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
    fn close(&mut self, conn: usize, index: usize) {
        let end = usize::from(self.conns[conn].ends[1] == index);
        self.conns[conn].open[end] = None;
        let wait = self
            .delay()
            .max(self.conns[conn].last[1 - end].saturating_sub(self.now) + 1);
        self.at(wait, Timed::Closed(conn, 1 - end));
    }

    fn closed(&mut self, conn: usize, end: usize) {
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

    fn collect(&mut self, index: usize, event: Event<'_>) -> Vec<Action> {
        let now = self.now;
        let mut actions = Vec::new();
        if let Some(node) = &mut self.nodes[index] {
            node.view.handle(now, event, &mut |a| actions.push(a));
        }
        actions
    }

    fn handle(&mut self, index: usize, event: Event<'_>) {
        let actions = self.collect(index, event);
        self.act(index, actions);
    }

    fn act(&mut self, index: usize, actions: Vec<Action>) {
        for action in actions {
            let Some(life) = self.life(index) else { return };
            match action {
                Action::Dial { node, .. } => {
                    self.dial(index, usize::from(node.get()) - 1, life, true)
                }
                Action::DialSeeds => {
                    for to in 0..self.nodes.len() {
                        if to != index {
                            self.dial(index, to, life, false);
                        }
                    }
                }
                Action::Close(node) => {
                    let other = usize::from(node.get()) - 1;
                    let links = &mut self.nodes[index].as_mut().unwrap().links;
                    if let Some(conn) = links.remove(&other) {
                        self.close(conn, index);
                    }
                }
                Action::UseNewer(_) | Action::UseOlder(_) | Action::EpochChanged(_) => {}
                Action::Up { node, incarnation } => {
                    let me = self.nodes[index].as_ref().unwrap();
                    assert!(
                        !me.gone.contains_key(&(node, incarnation)),
                        "{node:?} came back from the dead"
                    );
                    assert!(
                        !me.leases.contains_key(&node),
                        "{node:?} up while its lease runs"
                    );
                }
                Action::Down {
                    node,
                    incarnation,
                    cause,
                } => {
                    if cause == Cause::Silent && self.nodes[usize::from(node.get()) - 1].is_some() {
                        self.declared_alive += 1;
                    }
                    let me = self.nodes[index].as_mut().unwrap();
                    assert!(
                        me.gone.insert((node, incarnation), cause).is_none(),
                        "{node:?} died twice"
                    );
                    if cause != Cause::Left {
                        assert!(me.leases.insert(node, incarnation).is_none());
                    }
                }
                Action::LeaseOver { node, incarnation } => {
                    let me = self.nodes[index].as_mut().unwrap();
                    assert_eq!(
                        me.leases.remove(&node),
                        Some(incarnation),
                        "lease of {node:?}"
                    );
                }
                Action::BroadcastDead(dead) => self.broadcast(index, || Msg::Dead(dead)),
                Action::TellDead { to, dead } => {
                    self.send(index, usize::from(to.get()) - 1, Msg::Dead(dead))
                }
                Action::BroadcastMembers => {
                    let view = &self.nodes[index].as_ref().unwrap().view;
                    let entries: Vec<_> = view.entries().collect();
                    let mut out = vec![0; Members::MAX_SIZE];
                    let len = Members::encode(view.epoch(), &entries, &mut out).unwrap();
                    out.truncate(len);
                    self.broadcast(index, || Msg::Members(out.clone()));
                }
                Action::Fence { .. } => {
                    let links = std::mem::take(&mut self.nodes[index].as_mut().unwrap().links);
                    for conn in links.into_values() {
                        self.close(conn, index);
                    }
                    self.at(FENCING, Timed::Rejoin(index, life));
                }
            }
        }
    }

    fn dial(&mut self, from: usize, to: usize, life: u32, expected: bool) {
        let delay = self.delay();
        self.at(
            delay,
            Timed::Dial {
                from,
                to,
                life,
                expected,
            },
        );
    }

    /// Who is on.
    pub fn on(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|&i| self.nodes[i].is_some())
            .collect()
    }

    /// Checks that every node that is on and in `group` sees exactly those as members, reaches them, and is at one epoch.
    pub fn agreed(&self, group: &[usize]) -> Result<(), String> {
        let mut epochs = Vec::new();
        for &i in group {
            let view = &self.nodes[i].as_ref().unwrap().view;
            if view.is_fencing() {
                return Err(format!("node {} is fencing", i + 1));
            }
            for j in 0..self.nodes.len() {
                let state = view.state(Self::id(j));
                let good = if group.contains(&j) {
                    state == Some(State::Up) && view.is_reachable(Self::id(j))
                } else {
                    !state.is_some_and(State::is_member)
                };
                if !good {
                    return Err(format!("node {} sees {} as {state:?}", i + 1, j + 1));
                }
            }
            epochs.push(view.epoch());
        }
        epochs.dedup();
        if epochs.len() > 1 {
            return Err(format!("epochs {epochs:?}"));
        }
        Ok(())
    }
}
