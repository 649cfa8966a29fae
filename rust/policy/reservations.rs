// SPDX-License-Identifier: GPL-2.0

//! Places that a target keeps for processes that are on their way: one [`Reservations`] per node, owned by the target.
//!
//! Whoever wants to send a process asks first, and says what load it took the target to have. The target says no
//! if it has become busier than that, and tells its newest record with the answer: of two nodes that choose the same hole the
//! second hears of the first, and chooses again.

use crate::decision::Reason;
use crate::record::{Node, Record};
use core::ops::DerefMut;

/// What a source asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub from: Node,
    /// Load of the task.
    pub load: u32,
    /// Its memory.
    pub rss_kib: u64,
    /// The load (thousandths) up to which the source takes the target: what it believed, and what it would still bear.
    pub bearable: u32,
}

/// One place that is kept; `until` = 0: it is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    ticket: u32,
    request: Request,
    until: u64,
}

/// What a target answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A place is kept, under this ticket.
    Granted(u32),
    /// No. What is known here is the target's record, with what it has reserved, to be merged with age 0.
    Refused(Reason),
}

/// The places of one node.
#[derive(Clone, Debug)]
pub struct Reservations<T> {
    slots: T,
    keep_ms: u64,
    tickets: u32,
}

impl<T: DerefMut<Target = [Reservation]>> Reservations<T> {
    /// No place is kept. One is given up if nothing has come after `keep_ms`.
    pub fn new(mut slots: T, keep_ms: u64) -> Self {
        slots.fill(Reservation::default());
        Self {
            slots,
            keep_ms,
            tickets: 0,
        }
    }

    fn kept(&self, now: u64) -> impl Iterator<Item = &Reservation> {
        self.slots.iter().filter(move |slot| slot.until > now)
    }

    /// Places that are kept.
    pub fn count(&self, now: u64) -> usize {
        self.kept(now).count()
    }

    /// The node's record with all that is on its way: what it tells the others.
    #[must_use]
    pub fn add_to(&self, now: u64, measured: &Record) -> Record {
        self.kept(now).fold(*measured, |sum, slot| {
            sum.with(slot.request.load, slot.request.rss_kib)
        })
    }

    /// Answers a request; `measured` is the node's own record without reservations.
    pub fn ask(&mut self, now: u64, measured: &Record, request: &Request) -> Answer {
        let here = self.add_to(now, measured);
        if here.closed {
            return Answer::Refused(Reason::Closed);
        }
        if here.tasks > request.bearable {
            return Answer::Refused(Reason::Busier);
        }
        if here.free_kib < request.rss_kib {
            return Answer::Refused(Reason::NoMemory);
        }
        self.tickets = self.tickets.wrapping_add(1);
        let ticket = self.tickets;
        let until = now.saturating_add(self.keep_ms);
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.until <= now) else {
            return Answer::Refused(Reason::NoPlace);
        };
        *slot = Reservation {
            ticket,
            request: *request,
            until,
        };
        Answer::Granted(ticket)
    }

    /// The process has come, or will not. Whether the place was still kept.
    pub fn release(&mut self, now: u64, ticket: u32) -> bool {
        let mut kept = self.slots.iter_mut().filter(|slot| slot.until > now);
        let slot = kept.find(|slot| slot.ticket == ticket);
        slot.map(|slot| *slot = Reservation::default()).is_some()
    }

    /// A node is gone, with all that it would have sent.
    pub fn forget(&mut self, node: Node) {
        for slot in self
            .slots
            .iter_mut()
            .filter(|slot| slot.request.from == node)
        {
            *slot = Reservation::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Record = Record {
        node: Node(9),
        closed: false,
        urgent: false,
        cpus: 1,
        users: 0,
        mhz: 1_000,
        tasks: 0,
        mean: 0,
        upper: 0,
        version: 1,
        memory_kib: 100,
        free_kib: 100,
    };

    fn request(from: u16) -> Request {
        Request {
            from: Node(from),
            load: 1_000,
            rss_kib: 30,
            bearable: 500,
        }
    }

    #[test]
    fn two_nodes_do_not_get_the_same_hole() {
        let mut places = Reservations::new(vec![Reservation::default(); 4], 1_000);
        let Answer::Granted(ticket) = places.ask(10, &IDLE, &request(1)) else {
            panic!()
        };
        assert_eq!(
            places.ask(10, &IDLE, &request(2)),
            Answer::Refused(Reason::Busier)
        );
        assert_eq!(places.add_to(10, &IDLE), IDLE.with(1_000, 30));
        // It has come: now the measured load shows it.
        assert!(places.release(20, ticket));
        assert!(!places.release(20, ticket));
        assert_eq!(
            places.ask(20, &IDLE.with(1_000, 30), &request(2)),
            Answer::Refused(Reason::Busier)
        );
        assert!(matches!(
            places.ask(30, &IDLE, &request(2)),
            Answer::Granted(_)
        ));
    }

    #[test]
    fn places_run_out_and_come_back() {
        let mut places = Reservations::new(vec![Reservation::default(); 2], 1_000);
        let easy = Request {
            bearable: 100_000,
            rss_kib: 40,
            ..request(1)
        };
        assert!(matches!(places.ask(0, &IDLE, &easy), Answer::Granted(_)));
        assert!(matches!(places.ask(0, &IDLE, &easy), Answer::Granted(_)));
        assert_eq!(
            places.ask(0, &IDLE, &easy),
            Answer::Refused(Reason::NoMemory)
        );
        assert_eq!(
            places.ask(0, &IDLE, &Request { rss_kib: 1, ..easy }),
            Answer::Refused(Reason::NoPlace)
        );
        assert_eq!(places.count(999), 2);
        assert_eq!(places.count(1_000), 0);
        assert!(matches!(
            places.ask(1_000, &IDLE, &easy),
            Answer::Granted(_)
        ));
        places.forget(Node(1));
        assert_eq!(places.count(1_000), 0);
        assert_eq!(
            places.ask(
                1_000,
                &Record {
                    closed: true,
                    ..IDLE
                },
                &easy
            ),
            Answer::Refused(Reason::Closed)
        );
    }
}
