// SPDX-License-Identifier: GPL-2.0

//! Why a process cannot move: the list that one check fills.
//!
//! A [`Reasons`] lives as long as one answer to `explain` or one attempt to move.

use banyan_wire::reason::Reason;
use kernel::prelude::*;

/// Number of reasons kept; a process has seldom more than a few.
pub const MAX_REASONS: usize = 64;

/// The reasons found so far.
#[derive(Default)]
pub struct Reasons {
    found: KVec<(Reason, u32)>,
    lost: bool,
}

impl Reasons {
    /// None yet.
    pub const fn new() -> Self {
        Self {
            found: KVec::new(),
            lost: false,
        }
    }

    /// Adds a reason with the number that it is about: a descriptor, a signal, an address in pages, or 0. The same pair is kept once.
    /// When memory is short a reason may be lost, but not that there was one.
    pub fn push(&mut self, reason: Reason, about: u32) {
        if self.found.len() >= MAX_REASONS
            || self.found.iter().any(|&known| known == (reason, about))
        {
            return;
        }
        if self.found.push((reason, about), GFP_KERNEL).is_err() {
            self.lost = true;
        }
    }

    /// The first reason.
    pub fn first(&self) -> Option<Reason> {
        match self.found.first() {
            Some(&(reason, _)) => Some(reason),
            None => self.lost.then_some(Reason::NoMemory),
        }
    }

    /// All reasons, with the numbers that they are about.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u32)> + '_ {
        self.found.iter().copied()
    }
}
