// SPDX-License-Identifier: GPL-2.0

//! Carries a handshake out on a socket: one for each new connection, on the thread that made or took it. The rules are those of
//! [`banyan_wire::handshake`].

use banyan_wire::{
    handshake::{
        By,
        Crypto,
        Handshake,
        Next,
        Refusal,
        MAX_STEP, //
    },
    WireError, //
};
use kernel::{
    prelude::*,
    time::Msecs, //
};
use kernel_ext::{
    crypto,
    crypto::Secret,
    limit::RateLimit,
    socket::{
        Patience,
        Socket, //
    }, //
};

use crate::{
    settings::KEY_LEN,
    stats::Stats, //
};

/// Longest time that a whole handshake may take.
pub(crate) const HANDSHAKE_MS: Msecs = 5_000;

/// Longest input of an HMAC: a label and two hellos.
const HMAC_INPUT: usize = 256;

/// The cluster key, as the handshake uses it.
pub(crate) struct Keyring<'a>(pub(crate) &'a Secret<KEY_LEN>);

impl Crypto for Keyring<'_> {
    fn hmac(&mut self, parts: &[&[u8]]) -> [u8; 32] {
        let mut input = [0; HMAC_INPUT];
        let mut rest = &mut input[..];
        for part in parts {
            let Some((here, after)) = core::mem::take(&mut rest).split_at_mut_checked(part.len())
            else {
                // Never with the handshake's messages; no proof can be made then.
                let mut noise = [0; 32];
                crypto::random(&mut noise);
                return noise;
            };
            here.copy_from_slice(part);
            rest = after;
        }
        let used = HMAC_INPUT.saturating_sub(rest.len());
        crypto::hmac_sha256(&self.0 .0, input.get(..used).unwrap_or(&[]))
    }

    fn random(&mut self, out: &mut [u8]) {
        crypto::random(out);
    }
}

/// How a handshake ended.
pub(crate) enum Outcome {
    /// Both sides accepted.
    Open,
    /// One refused.
    Refused(Refusal, By),
}

/// Carries the handshake to its end; `decide` is asked to call [`Handshake::accept`] or [`Handshake::refuse`].
///
/// # Errors
///
/// Those of the socket: the peer broke off or is too slow. `EPROTO` if the two sides are out of step.
pub(crate) fn shake_hands(
    socket: &Socket,
    key: &Secret<KEY_LEN>,
    handshake: &mut Handshake<'_>,
    mut decide: impl FnMut(&mut Handshake<'_>) -> Result<(), WireError>,
) -> Result<Outcome> {
    let mut keyring = Keyring(key);
    let mut buffer = KVec::from_elem(0, MAX_STEP, GFP_KERNEL)?;
    // Strangers get a fixed time, however they spread it.
    let patience = Patience::until(HANDSHAKE_MS);
    loop {
        match handshake
            .next(&mut buffer, &mut keyring)
            .map_err(|_| EPROTO)?
        {
            Next::Send(len) => {
                socket.send_all(buffer.get(..len).ok_or(EPROTO)?, patience)?;
            }
            Next::Receive(len) => {
                let bytes = buffer.get_mut(..len).ok_or(EPROTO)?;
                socket.recv_exact(bytes, patience)?;
                handshake
                    .received(bytes, &mut keyring)
                    .map_err(|_| EPROTO)?;
            }
            Next::Decide => decide(handshake).map_err(|_| EPROTO)?,
            Next::Done => return Ok(Outcome::Open),
            Next::Refused(refusal, by) => return Ok(Outcome::Refused(refusal, by)),
        }
    }
}

/// Log lines that strangers can cause: 3 in 30 s.
static REFUSALS: RateLimit = RateLimit::new(3, 30_000);

/// Counts a refusal, and logs it if not too many were.
pub(crate) fn log_refusal(
    stats: &Stats,
    socket: &Socket,
    handshake: &Handshake<'_>,
    refusal: Refusal,
    by: By,
) {
    let address = socket.peer_address();
    let (ip, port) = address.map_or((0, 0), |a| (a.ip, a.port));
    let [a, b, c, d] = ip.to_be_bytes();
    let node = handshake.peer().map_or(0, |node| node.get());
    match by {
        By::Us => {
            stats.refused(refusal);
            if REFUSALS.allows() {
                pr_warn!(
                    "refused {a}.{b}.{c}.{d}:{port} (node {node}): {}\n",
                    refusal.text()
                );
            }
        }
        By::Peer => {
            stats.refused_by_peer.one();
            if REFUSALS.allows() {
                pr_warn!(
                    "{a}.{b}.{c}.{d}:{port} (node {node}) refuses this node: {}\n",
                    refusal.text()
                );
            }
        }
    }
}
