// SPDX-License-Identifier: GPL-2.0

//! Messages of moves: ops 0x0101 to 0x01ff. Made and read by the handover in `drivers/migrate`.
//!
//! ```text
//! source                          target
//!   Offer    (R) ------------------>          checks: memory, CPU, kernel, pid, somebody serves
//!            <------------------ OfferReply   reason 0 = accepted
//!   bulk connection, tag = migration id ->    the image (see image.rs)
//!            <------------------ RESTORED     everything in place, not running
//!   COMMIT   (R) ------------------>          from here on it is the target's; it runs
//!            <------------------ MigrationState   the acknowledgement
//! ```
//! ABORT by either side before COMMIT: it stays. If the acknowledgement is lost, the source asks QUERY
//! until it is answered or the target is declared dead; the target answers `Committed` as long as it
//! remembers, `Unknown` if it never was.

use crate::codec::{Array, Reader, Result, Wire, WireError, Writer};
use crate::ids::NodeId;
use crate::uapi::ReasonRecord;

/// Name of one move, unique in the cluster and in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MigrationId(u64);

impl MigrationId {
    /// The `seq`th move that `source` started since it joined; the top byte names the source.
    pub const fn new(source: NodeId, seq: u64) -> Self {
        Self(((source.get() as u64) << 56) | (seq & 0x00ff_ffff_ffff_ffff))
    }

    /// The node that the process left by this move.
    pub const fn source(self) -> Option<NodeId> {
        NodeId::new((self.0 >> 56) as u8)
    }

    /// As a number: the tag of its bulk connection.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// From a bulk connection's tag.
    pub const fn from_tag(tag: u64) -> Option<Self> {
        match NodeId::new((tag >> 56) as u8) {
            Some(_) => Some(Self(tag)),
            None => None,
        }
    }
}

impl Wire for MigrationId {
    const SIZE: usize = 8;

    fn put(&self, w: &mut Writer<'_>) -> Result<()> {
        self.0.put(w)
    }

    fn get(r: &mut Reader<'_>) -> Result<Self> {
        Self::from_tag(u64::get(r)?).ok_or(WireError::BadValue)
    }
}

crate::wire_enum! {
    /// How far a move has come, at the side that answers.
    pub enum Phase: u16 {
        Unknown = 0, "unknown";
        Offered = 1, "offered";
        Receiving = 2, "the image is on its way";
        Restored = 3, "restored, not yet running";
        Committed = 4, "committed: it runs at the target";
        Aborted = 5, "given up: it runs at the source";
    }

    /// Why a guest is called home.
    pub enum HomeCause: u16 {
        Asked = 1, "somebody asked for it";
        Drain = 2, "a node is draining";
        Unload = 3, "a module is being unloaded";
    }
}

/// [`Offer::flags`]: the target is the home: the process becomes itself again.
pub const OFFER_HOMEWARD: u16 = 1;
/// [`Offer::flags`]: the process is a guest at the source already.
pub const OFFER_ONWARD: u16 = 2;

/// [`MigrateRequest::flags`]: the caller has `CAP_SYS_PTRACE` where it asked: it may move anything.
pub const REQUEST_PRIVILEGED: u16 = 1;

/// Bits of the number that says how often a process has moved since it left home; those above name the journey.
const TIMES_BITS: u32 = 20;

/// The number of the first move of a journey: from home, away. The journey's own number makes it another one than that of every journey
/// of the same process before, so that what is still under way from that one is not taken for news.
pub const fn first_move(journey: u64) -> u32 {
    ((journey as u32) << TIMES_BITS) | 1
}

/// The number of the next move of the same journey.
pub const fn next_move(moves: u32) -> u32 {
    if times_moved(moves) == times_moved(u32::MAX) {
        moves
    } else {
        moves.wrapping_add(1)
    }
}

/// How often a process has moved since it left home.
pub const fn times_moved(moves: u32) -> u32 {
    moves & ((1 << TIMES_BITS) - 1)
}

/// What all moves of a journey have in common.
pub const fn journey_of(moves: u32) -> u32 {
    moves >> TIMES_BITS
}

crate::wire_struct! {
    /// "Move this process": sent to its home, and by the home to where it runs.
    /// [`op::MIGRATE`](crate::op::MIGRATE).
    pub struct MigrateRequest {
        /// Its pid.
        pub pid: i32,
        /// Effective user id of the caller.
        pub uid: u32,
        /// Where to.
        pub node: NodeId,
        /// Times the request was passed on; more than 4 is refused.
        pub hops: u8,
        /// `REQUEST_*`.
        pub flags: u16,
    }

    /// What became of it; also the answer to [`ComeHome`].
    pub struct MigrateReply {
        /// Time during which it stood still, microseconds.
        pub freeze_us: u64,
        /// Time from the request to the commit, microseconds.
        pub total_us: u64,
        /// Bytes sent.
        pub bytes: u64,
        /// A [`Reason`](crate::Reason) code; 0: it moved.
        pub reason: u16,
        /// Where it is now; none if it ended.
        pub node: Option<NodeId>,
        /// Zero.
        pub _pad: u8,
        /// Errno for the caller, negative, or 0; pass it through `ErrorReply::kernel_errno`.
        pub errno: i32,
    }

    /// "Why can it not move?" [`op::EXPLAIN`](crate::op::EXPLAIN).
    pub struct ExplainRequest {
        /// Its pid.
        pub pid: i32,
        /// Effective user id of the caller.
        pub uid: u32,
        /// Where to; none = anywhere.
        pub node: Option<NodeId>,
        /// Times the request was passed on.
        pub hops: u8,
        /// `REQUEST_*`.
        pub flags: u16,
    }

    /// "I would send you this process." [`op::OFFER`](crate::op::OFFER). "Would you take it?" [`op::ASK`](crate::op::ASK).
    pub struct Offer {
        /// Name of the move.
        pub migration: MigrationId,
        /// Its pid, the same on both sides.
        pub pid: i32,
        /// Its home.
        pub home: NodeId,
        /// The node that offers it.
        pub source: NodeId,
        /// `OFFER_*`.
        pub flags: u16,
        /// Estimate of the image, bytes.
        pub bytes: u64,
        /// Resident private pages, 4 KiB each: memory that the target needs.
        pub pages: u64,
        /// XSAVE components in use.
        pub xfeatures: u64,
        /// [`abi_hash`](crate::handshake::abi_hash) of the source's kernel release.
        pub abi: u64,
        /// Bytes of its XSAVE state.
        pub xsave_size: u32,
        /// Mappings.
        pub mappings: u32,
        /// Open descriptors.
        pub descriptors: u32,
        /// Image format version that the source writes.
        pub image_version: u16,
        /// Zero.
        pub _pad: u16,
        /// CPU capability words: bits of features that the process may have found and use.
        pub cpu: [u32; 32],
    }

    /// The answer to [`Offer`].
    pub struct OfferReply {
        /// Name of the move.
        pub migration: MigrationId,
        /// A [`Reason`](crate::Reason) code; 0: accepted.
        pub reason: u16,
        /// Zero.
        pub _pad: u16,
        /// What the reason is about, or 0: for [`CpuFeature`](crate::Reason::CpuFeature) the bit number.
        pub detail: u32,
    }

    /// RESTORED, COMMIT, ABORT, QUERY: one step of a move.
    pub struct MigrationStep {
        /// Name of the move.
        pub migration: MigrationId,
        /// Its pid.
        pub pid: i32,
        /// Of ABORT: a [`Reason`](crate::Reason) code; else 0.
        pub reason: u16,
        /// Zero.
        pub _pad: u16,
    }

    /// The answer to COMMIT and QUERY.
    pub struct MigrationState {
        /// Name of the move.
        pub migration: MigrationId,
        /// Its pid.
        pub pid: i32,
        /// How far it is here.
        pub phase: Phase,
        /// If it was given up: a [`Reason`](crate::Reason) code; else 0.
        pub reason: u16,
    }

    /// "The guest runs here now": new place to the home. [`op::MOVED`](crate::op::MOVED).
    pub struct Moved {
        /// The move that brought it there.
        pub migration: MigrationId,
        /// Its pid.
        pub pid: i32,
        /// Number of the move: an older message than the last is ignored, and one of another journey.
        pub moves: u32,
        /// Where it runs now.
        pub node: NodeId,
        /// Zero.
        pub _pad: [u8; 7],
    }

    /// "Send it home." [`op::COME_HOME`](crate::op::COME_HOME).
    pub struct ComeHome {
        /// Its pid.
        pub pid: i32,
        /// Why.
        pub cause: HomeCause,
        /// Zero.
        pub _pad: u16,
    }

    /// Clocks and name of a home, for a guest's namespaces. [`op::CLOCKS`](crate::op::CLOCKS).
    pub struct Clocks {
        /// `CLOCK_MONOTONIC`, nanoseconds.
        pub monotonic_ns: u64,
        /// `CLOCK_BOOTTIME`, nanoseconds.
        pub boottime_ns: u64,
        /// Host name, NUL-padded.
        pub name: [u8; 64],
    }

    /// "Where does it run?" [`op::LOCATE`](crate::op::LOCATE), [`op::GUEST_ALIVE`](crate::op::GUEST_ALIVE).
    pub struct Locate {
        /// Its pid.
        pub pid: i32,
        /// Zero.
        pub _pad: u32,
    }

    /// The answer to [`Locate`].
    pub struct Located {
        /// Its pid.
        pub pid: i32,
        /// One of [`proc_state`](crate::uapi::proc_state) at the node that answers.
        pub state: u32,
        /// Number of its last move, 0 if it is at home.
        pub moves: u32,
        /// Its home.
        pub home: Option<NodeId>,
        /// Where it runs; none = there is no such process.
        pub node: Option<NodeId>,
        /// Zero.
        pub _pad: u16,
    }
}

/// The answer to [`ExplainRequest`] and to [`op::ASK`](crate::op::ASK): every reason; none = it can move.
#[derive(Clone, Debug)]
pub struct ExplainReply<'a> {
    /// At most [`ExplainReply::MAX`].
    pub reasons: Array<'a, ReasonRecord>,
}

impl<'a> ExplainReply<'a> {
    /// Most reasons in one answer; more are left out.
    pub const MAX: usize = 256;

    /// Writes the answer and returns its length.
    ///
    /// # Errors
    ///
    /// [`WireError::NoRoom`], [`WireError::TooLong`].
    pub fn encode(reasons: &[ReasonRecord], out: &mut [u8]) -> Result<usize> {
        if reasons.len() > Self::MAX {
            return Err(WireError::TooLong);
        }
        let mut w = Writer::new(out);
        reasons.iter().try_for_each(|reason| w.put(reason))?;
        Ok(w.len())
    }

    /// Reads the answer.
    ///
    /// # Errors
    ///
    /// [`WireError::Trailing`] if the length does not fit, [`WireError::TooLong`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        let reasons = Array::<ReasonRecord>::whole(bytes)?;
        if reasons.len() > Self::MAX {
            return Err(WireError::TooLong);
        }
        Ok(Self { reasons })
    }
}

const _: () = {
    assert!(MigrateRequest::SIZE == 12 && MigrateReply::SIZE == 32 && ExplainRequest::SIZE == 12);
    assert!(Offer::SIZE == 192 && OfferReply::SIZE == 16);
    assert!(MigrationStep::SIZE == 16 && MigrationState::SIZE == 16 && Moved::SIZE == 24);
    assert!(ComeHome::SIZE == 8 && Locate::SIZE == 8 && Located::SIZE == 16);
    // What fits into one frame.
    assert!(
        ReasonRecord::SIZE.saturating_mul(ExplainReply::MAX) <= crate::frame::MAX_PAYLOAD as usize
    );
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_moves() {
        let first = first_move(7);
        assert_eq!((journey_of(first), times_moved(first)), (7, 1));
        let third = next_move(next_move(first));
        assert_eq!((journey_of(third), times_moved(third)), (7, 3));
        let last = (7 << TIMES_BITS) | times_moved(u32::MAX);
        assert_eq!(next_move(last), last, "it does not become another journey");
        assert_ne!(journey_of(first_move(8)), journey_of(first));
    }
}
