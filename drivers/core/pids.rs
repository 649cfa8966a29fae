// SPDX-License-Identifier: GPL-2.0

//! Keeps the pids that this machine gives out within the node's own range, so that a pid is unique in the cluster and names its
//! home: one [`PidRange`] per session, owned by the thread that keeps time.

use banyan_wire::{
    ids::pid_range,
    NodeId, //
};
use kernel::prelude::*;
use kernel_ext::machine;

/// Pids left in the range at which the allocation starts over: more than are made between two looks.
const MARGIN: u32 = 4096;

/// The range.
pub(crate) struct PidRange {
    first: u32,
    end: u32,
    complained: bool,
}

impl PidRange {
    pub(crate) fn new(node: NodeId) -> Self {
        let (first, end) = pid_range(node);
        Self {
            first: first.unsigned_abs(),
            end: end.unsigned_abs(),
            complained: false,
        }
    }

    /// Moves the allocation into the range if it is outside or near the end. Pids in use are skipped by the kernel.
    pub(crate) fn keep(&mut self) {
        let cursor = machine::pid_cursor();
        if cursor >= self.first && cursor < self.end.saturating_sub(MARGIN) {
            return;
        }
        let possible =
            machine::pid_max() >= self.end && machine::set_pid_cursor(self.first).is_ok();
        if !possible && !self.complained {
            self.complained = true;
            pr_warn!(
                "kernel.pid_max is {}, below {}: pids of this node are not unique in the cluster\n",
                machine::pid_max(),
                self.end
            );
        }
    }
}
