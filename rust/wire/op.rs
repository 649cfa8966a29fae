// SPDX-License-Identifier: GPL-2.0

//! The number of every message. Numbers are never given to another meaning; a dropped one stays reserved.
//!
//! `R` = a request that is answered, `M` = one-way. The payloads are the structs named in brackets.

use core::ops::Range;

/// No message.
pub const NONE: u16 = 0;

/// Numbers of `banyan.ko`: membership.
pub const CORE: Range<u16> = 0x0001..0x0100;
/// Numbers of `banyan_migrate.ko`: moves.
pub const MIGRATION: Range<u16> = 0x0100..0x0200;
/// Numbers of `banyan_migrate.ko`: deputies and guests.
pub const GUEST: Range<u16> = 0x0200..0x0300;
/// Numbers of `banyan_migrate.ko`: forwarded files.
pub const FILE: Range<u16> = 0x0300..0x0400;
/// All numbers of `banyan_migrate.ko`.
pub const MIGRATE_SERVICE: Range<u16> = 0x0100..0x0400;

/// M: "I live", each 500 ms, with the load figures. [`Heartbeat`](crate::member::Heartbeat)
pub const HEARTBEAT: u16 = 0x0001;
/// M: all members that the sender knows; after joining and after each change. [`Members`](crate::member::Members)
pub const MEMBERS: u16 = 0x0002;
/// M: the sender leaves by its own will. [`Leave`](crate::member::Leave)
pub const LEAVE: u16 = 0x0003;
/// M: the sender declares a node dead. [`Dead`](crate::member::Dead)
pub const DEAD: u16 = 0x0004;

/// R: move this process of yours. [`MigrateRequest`](crate::migrate::MigrateRequest), [`MigrateReply`](crate::migrate::MigrateReply)
pub const MIGRATE: u16 = 0x0101;
/// R: why can it not move? [`ExplainRequest`](crate::migrate::ExplainRequest), [`ExplainReply`](crate::migrate::ExplainReply)
pub const EXPLAIN: u16 = 0x0102;
/// R: I would send you this process. [`Offer`](crate::migrate::Offer), [`OfferReply`](crate::migrate::OfferReply)
pub const OFFER: u16 = 0x0103;
/// M: target to source: restored, not yet running. [`MigrationStep`](crate::migrate::MigrationStep)
pub const RESTORED: u16 = 0x0104;
/// R: source to target: it is yours, run it; the answer is the acknowledgement. [`MigrationStep`](crate::migrate::MigrationStep)
pub const COMMIT: u16 = 0x0105;
/// M: either side, before commit: it stays at the source. [`MigrationStep`](crate::migrate::MigrationStep)
pub const ABORT: u16 = 0x0106;
/// R: what became of this migration? [`MigrationStep`](crate::migrate::MigrationStep), [`MigrationState`](crate::migrate::MigrationState)
pub const QUERY: u16 = 0x0107;
/// M: to the home: the guest now runs at another node. [`Moved`](crate::migrate::Moved)
pub const MOVED: u16 = 0x0108;
/// R: to the node where the guest runs: send it home. [`ComeHome`](crate::migrate::ComeHome), [`MigrateReply`](crate::migrate::MigrateReply)
pub const COME_HOME: u16 = 0x0109;
/// R: to the home: where does it run? [`Locate`](crate::migrate::Locate), [`Located`](crate::migrate::Located)
pub const LOCATE: u16 = 0x010a;
/// R: to the home: what do your clocks say, and what is your name? Empty. [`Clocks`](crate::migrate::Clocks)
pub const CLOCKS: u16 = 0x010b;
/// R: would you take this process? Every reason against it; nothing is begun. [`Offer`](crate::migrate::Offer), [`ExplainReply`](crate::migrate::ExplainReply)
pub const ASK: u16 = 0x010c;

/// R: deputy to guest: this signal arrived; answered with nothing when it is delivered. [`Signal`](crate::guest::Signal)
pub const SIGNAL: u16 = 0x0201;
/// R: guest to deputy: it ended; answered with nothing when the deputy knows. [`GuestExit`](crate::guest::GuestExit)
pub const GUEST_EXIT: u16 = 0x0202;
/// M: guest to deputy: it stopped or goes on. [`GuestState`](crate::guest::GuestState)
pub const GUEST_STATE: u16 = 0x0203;
/// M: guest to deputy: CPU time and memory so far. [`Usage`](crate::guest::Usage)
pub const USAGE: u16 = 0x0204;
/// M: deputy to guest: stand still or go on, as the deputy's cgroup was frozen or thawed; again whenever USAGE shows otherwise. [`Freeze`](crate::guest::Freeze)
pub const FREEZE: u16 = 0x0205;
/// R: does this guest live at you? Asked by a home that has not heard of it. [`Locate`](crate::migrate::Locate), [`Located`](crate::migrate::Located)
pub const GUEST_ALIVE: u16 = 0x0206;
/// M: the home has no such process any more: end the guest. [`Orphan`](crate::guest::Orphan)
pub const ORPHAN: u16 = 0x0207;

/// M: do this to a file that you own. [`Request`](crate::file_ops::Request)
pub const FILE_OP: u16 = 0x0301;
/// M: end this operation early; its outcome still comes. [`Number`](crate::file_ops::Number)
pub const FILE_CANCEL: u16 = 0x0302;
/// M: owner to proxy: readiness changed. [`Woken`](crate::file_ops::Woken)
pub const POLL_WAKE: u16 = 0x0303;
/// M: one more proxy of this file exists. [`Handle`](crate::file_ops::Handle)
pub const FILE_HOLD: u16 = 0x0305;
/// M: one proxy fewer; the last one lets the file go. [`Handle`](crate::file_ops::Handle)
pub const FILE_RELEASE: u16 = 0x0306;
/// M: owner to proxy: how an operation ended. [`Outcome`](crate::file_ops::Outcome)
pub const FILE_OUTCOME: u16 = 0x0307;
/// M: the proxies of this file are at the sender now. [`Handle`](crate::file_ops::Handle)
pub const FILE_HOLDER: u16 = 0x0308;

/// A short name for log lines and counters.
pub const fn name(op: u16) -> &'static str {
    match op {
        HEARTBEAT => "heartbeat",
        MEMBERS => "members",
        LEAVE => "leave",
        DEAD => "dead",
        MIGRATE => "migrate",
        EXPLAIN => "explain",
        OFFER => "offer",
        RESTORED => "restored",
        COMMIT => "commit",
        ABORT => "abort",
        QUERY => "query",
        MOVED => "moved",
        COME_HOME => "come-home",
        LOCATE => "locate",
        CLOCKS => "clocks",
        ASK => "ask",
        SIGNAL => "signal",
        GUEST_EXIT => "guest-exit",
        GUEST_STATE => "guest-state",
        USAGE => "usage",
        FREEZE => "freeze",
        GUEST_ALIVE => "guest-alive",
        ORPHAN => "orphan",
        FILE_OP => "file-op",
        FILE_CANCEL => "file-cancel",
        POLL_WAKE => "poll-wake",
        FILE_HOLD => "file-hold",
        FILE_RELEASE => "file-release",
        FILE_OUTCOME => "file-outcome",
        FILE_HOLDER => "file-holder",
        _ => "unknown",
    }
}
