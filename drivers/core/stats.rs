// SPDX-License-Identifier: GPL-2.0

//! Counters of the transport since the module was loaded: one [`Stats`], owned by the module, shown in
//! `/sys/kernel/banyan/stats/`. They only grow.

use banyan_wire::handshake::Refusal;
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};
use kernel_ext::sysfs::{
    Attribute,
    Output, //
};

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident: $text:literal,)*) => {
        /// The counters.
        pub(crate) struct Stats {
            $($(#[$meta])* pub(crate) $name: Counter,)*
        }

        impl Stats {
            pub(crate) const fn new() -> Self {
                Self { $($name: Counter::new(),)* }
            }
        }

        /// Their files.
        pub(crate) static ATTRIBUTES: &[Attribute<crate::Core>] = &[$(
            Attribute {
                name: $text,
                mode: 0o444,
                show: Some(|core, out| core.stats.$name.show(out)),
                store: None,
            },
        )*];
    };
}

counters! {
    /// Frames read from peers.
    frames_in: c"frames_in",
    /// Frames written to peers.
    frames_out: c"frames_out",
    /// Bytes of these frames, headers included.
    bytes_in: c"bytes_in",
    /// Bytes of those frames, headers included.
    bytes_out: c"bytes_out",
    /// Requests that this node sent.
    calls: c"calls",
    /// Of them: not answered in time.
    calls_timed_out: c"calls_timed_out",
    /// Control connections that opened.
    connections: c"connections",
    /// Bulk connections that opened.
    bulk_connections: c"bulk_connections",
    /// Dials that nobody took.
    dials_failed: c"dials_failed",
    /// Nodes that this node declared dead or heard so.
    deaths: c"deaths",
    /// Times that this node was itself declared dead.
    fences: c"fences",
    /// Frames that no service takes.
    unknown_frames: c"unknown_frames",
    /// Connections closed since the peer sent what makes no sense.
    protocol_errors: c"protocol_errors",
    /// Handshakes refused here: the peer has another key.
    refused_wrong_key: c"refused_wrong_key",
    /// Handshakes refused here: another cluster.
    refused_other_cluster: c"refused_other_cluster",
    /// Handshakes refused here: another protocol version.
    refused_other_protocol: c"refused_other_protocol",
    /// Handshakes refused here: not Banyan at all, or broken off.
    refused_not_banyan: c"refused_not_banyan",
    /// Handshakes refused here: the node id is taken.
    refused_duplicate: c"refused_duplicate",
    /// Handshakes refused here for any other cause.
    refused_other: c"refused_other",
    /// Handshakes that a peer refused.
    refused_by_peer: c"refused_by_peer",
    /// Connections closed at once since too many were in their handshake.
    refused_too_many: c"refused_too_many",
}

/// One counter.
pub(crate) struct Counter(Atomic<u64>);

impl Counter {
    const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Counts one.
    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// Counts so many.
    pub(crate) fn add(&self, n: usize) {
        self.0.add(n as u64, Relaxed);
    }

    fn show(&self, out: &mut Output<'_>) -> Result {
        use kernel::fmt::Write;
        writeln!(out, "{}", self.0.load(Relaxed)).map_err(|_| EINVAL)
    }
}

impl Stats {
    /// Counts a refusal that this node gave.
    pub(crate) fn refused(&self, refusal: Refusal) {
        match refusal {
            Refusal::WrongKey => &self.refused_wrong_key,
            Refusal::OtherCluster => &self.refused_other_cluster,
            Refusal::OtherProtocol => &self.refused_other_protocol,
            Refusal::NotBanyan => &self.refused_not_banyan,
            Refusal::DuplicateNode | Refusal::SelfConnection => &self.refused_duplicate,
            Refusal::TooMany => &self.refused_too_many,
            _ => &self.refused_other,
        }
        .one();
    }
}
