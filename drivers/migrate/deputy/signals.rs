// SPDX-License-Identifier: GPL-2.0

//! Signals on their way from a deputy to its guest: one at a time, in the deputy's own context, until the guest has it.

use super::Deputy;
use crate::{
    accounts,
    link, //
};
use banyan_wire::op;
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};
use kernel_ext::{
    clock,
    own::Own,
    signals::Waiting,
    wait::Interrupt, //
};

/// How long a signal is kept for a guest that is between two nodes, milliseconds.
const SIGNAL_PATIENCE_MS: u64 = 10_000;

impl Deputy {
    /// Passes a signal on to the guest, wherever it is.
    pub(super) fn pass_on(&self, own: &Own, waiting: &Waiting) {
        let seq = self.signals.fetch_add(1, Relaxed).wrapping_add(1);
        let message = accounts::signal_message(self.pid, waiting, seq);
        let begun = clock::monotonic_ms();
        loop {
            let place = self.place();
            match link::request(place.node, op::SIGNAL, &message, link::ANSWER_MS) {
                Ok(()) => return,
                Err(failure) => {
                    let waited = clock::monotonic_ms().saturating_sub(begun);
                    let over = self.inner.lock().end.is_some();
                    if over || waited > SIGNAL_PATIENCE_MS || own.fatal_signal_pending() {
                        let error = failure.errno;
                        pr_info!(
                            "signal {} for {} did not reach it: {:?}\n",
                            waiting.signal,
                            self.pid,
                            error
                        );
                        return;
                    }
                    // It is on its way to another node, or back here.
                    if self.inner.lock().arriving.is_some() {
                        // It is taken along: the process finds it when it is itself again.
                        let _ = self.subject.send_info(waiting);
                        return;
                    }
                    let _ = self.wake.wait(Interrupt::Killable, 50, || {
                        self.place().moves != place.moves
                    });
                }
            }
        }
    }
}
