// SPDX-License-Identifier: GPL-2.0

//! Typed requests and messages between nodes: thin over the transport of `banyan.ko`.

use banyan::Failure;
use banyan_wire::{
    NodeId,
    Wire, //
};
use kernel::{
    prelude::*,
    time::Msecs, //
};

/// Longest wait for the answer to a short request, milliseconds.
pub const ANSWER_MS: Msecs = 5_000;

/// Longest message of fixed size, in bytes.
const LONGEST: usize = 512;

fn encoded<T: Wire>(value: &T, buffer: &mut [u8; LONGEST]) -> Result<usize> {
    value.encode(buffer).map_err(|_| EMSGSIZE)
}

/// Asks a node and waits for its answer, at most `timeout` milliseconds, or until a fatal signal.
///
/// # Errors
///
/// Those of `banyan::call`; `EBADMSG` if the answer is not one.
pub fn ask<Q: Wire, A: Wire>(
    node: NodeId,
    op: u16,
    question: &Q,
    timeout: Msecs,
) -> Result<A, Failure> {
    let mut buffer = [0; LONGEST];
    let len = encoded(question, &mut buffer)?;
    let answer = banyan::call(node, op, buffer.get(..len).ok_or(EMSGSIZE)?, timeout)?;
    Ok(A::decode(&answer).map_err(|_| EBADMSG)?)
}

/// Asks a node for something that is answered with nothing.
///
/// # Errors
///
/// Those of `banyan::call`.
pub fn request<Q: Wire>(
    node: NodeId,
    op: u16,
    question: &Q,
    timeout: Msecs,
) -> Result<(), Failure> {
    let mut buffer = [0; LONGEST];
    let len = encoded(question, &mut buffer)?;
    banyan::call(node, op, buffer.get(..len).ok_or(EMSGSIZE)?, timeout)?;
    Ok(())
}

/// Tells a node something. What cannot be sent is lost: who tells, tells again or does not depend on it.
pub fn tell<T: Wire>(node: NodeId, op: u16, message: &T) {
    let mut buffer = [0; LONGEST];
    let sent = encoded(message, &mut buffer)
        .and_then(|len| banyan::send(node, op, buffer.get(..len).ok_or(EMSGSIZE)?));
    if let Err(e) = sent {
        pr_debug!(
            "{} to {} not sent: {:?}\n",
            banyan_wire::op::name(op),
            node.get(),
            e
        );
    }
}

/// Answers a request.
pub fn answer<T: Wire>(reply: banyan::Responder, value: &T) {
    let mut buffer = [0; LONGEST];
    match encoded(value, &mut buffer) {
        Ok(len) => reply.reply(buffer.get(..len).unwrap_or(&[])),
        Err(e) => reply.fail(e),
    }
}
