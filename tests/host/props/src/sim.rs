// SPDX-License-Identifier: GPL-2.0

//! A cluster in one thread: up to 16 nodes that each run the real [`Membership`], connections that behave
//! as TCP does (in order, held back while the link is cut, no notice of a power cut), a clock that jumps
//! from event to event. The same seed gives the same run.

mod net;

use banyan_member::{Action, Cause, Event, Membership, Row, ROWS};
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
    /// A pair that does not reach each other, whatever their groups.
    cut: Option<(usize, usize)>,
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
            cut: None,
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
        self.groups[a] == self.groups[b] && self.cut != Some((a.min(b), a.max(b)))
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
            *group = ((mask >> i) & 1) as u8;
        }
    }

    /// Cuts the link between two nodes alone, or makes it whole.
    pub fn cut(&mut self, pair: Option<(usize, usize)>) {
        self.cut = pair.map(|(a, b)| (a.min(b), a.max(b)));
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
