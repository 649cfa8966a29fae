// SPDX-License-Identifier: GPL-2.0
//! The command line: every command with its arguments and help, also the source of manual pages and completions.
//!
//! One [`Arguments`] per run, owned by `main`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};

/// See and control the machines of a Banyan cluster, and move running processes between them.
#[derive(Debug, Parser)]
#[command(
    name = "banyanctl",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
#[command(
    after_help = "NODE is a node's id, its name or its address, or `self`. Exit statuses: see banyanctl(1)."
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

/// Output for programs.
#[derive(Args, Clone, Copy, Debug)]
pub struct Output {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show this node, its cluster and what runs away from home
    Status {
        #[command(flatten)]
        output: Output,
    },

    /// List the nodes of the cluster
    Nodes {
        #[command(flatten)]
        output: Output,
    },

    /// List the processes of this node that are away, and the guests that run here
    Ps {
        #[command(flatten)]
        output: Output,
    },

    /// Move a running process to a node, wherever it now is
    ///
    /// Its home node brings it home. The owner of a process may move it, as with kill; root may move all. When it cannot move,
    /// it runs on unharmed where it is, and the reason is told.
    Migrate {
        /// Process id: the same on every node
        #[arg(value_parser = clap::value_parser!(i32).range(1..))]
        pid: i32,
        /// Id, name or address of the node to go to, or `self`
        #[arg(value_hint = ValueHint::Hostname)]
        node: String,
        /// Wait until it runs there, or will not; tell how long it stood still
        #[arg(long, short)]
        wait: bool,
        #[command(flatten)]
        output: Output,
    },

    /// Say whether a process can move, and every reason why not
    ///
    /// Without NODE only what lies in the process itself is looked at, with NODE also what that node lacks. Nothing is stopped
    /// or moved.
    Explain {
        /// Process id
        #[arg(value_parser = clap::value_parser!(i32).range(1..))]
        pid: i32,
        /// Id, name or address of the node to go to
        #[arg(value_hint = ValueHint::Hostname)]
        node: Option<String>,
        #[command(flatten)]
        output: Output,
    },

    /// Say where a process runs and where its home is
    Where {
        /// Process id
        #[arg(value_parser = clap::value_parser!(i32).range(1..))]
        pid: i32,
        #[command(flatten)]
        output: Output,
    },

    /// Join the cluster
    Join {
        /// Addresses of members, ranges (10.0.0.1-20) or host names; without: those of the settings
        #[arg(value_hint = ValueHint::Hostname)]
        members: Vec<String>,
    },

    /// Leave the cluster, after all processes were brought or sent home
    ///
    /// When one cannot be moved, the node stays, and the process is named.
    Leave,

    /// Bring this node's processes home and send its guests home
    Drain {
        /// Take no new guests until the node joins again
        #[arg(long)]
        keep_out: bool,
        #[command(flatten)]
        output: Output,
    },

    /// Make a new key for a cluster, to be copied to all its nodes
    MakeKey {
        /// File to make, readable by its owner alone
        #[arg(default_value = crate::config::KEY_FILE, value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },

    /// Put this node into its cluster and receive arriving processes (the daemon of banyan.service)
    ///
    /// Reads the settings file and the words banyan.NAME=VALUE of the kernel command line, which win, gives them and the key to
    /// the kernel module, and has the node join. Then it makes a process, with the pid, the node name and the clocks of its home,
    /// for each one that arrives, and reaps it when it ends. SIGHUP: read the list of members again. SIGTERM: end; processes that
    /// arrived run on.
    Serve(Serve),

    /// Drain this node and unload modules: what `modprobe -r` does first
    #[command(hide = true)]
    Unload {
        /// `banyan` or `banyan_migrate`
        module: String,
    },

    /// Write manual pages and shell completions into a directory
    #[command(hide = true)]
    Generate {
        /// Directory to fill, in the layout of /usr/share
        directory: PathBuf,
    },
}

/// Arguments of the daemon.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// File with the settings
    #[arg(long, default_value = crate::config::CONFIG_FILE, value_hint = ValueHint::FilePath)]
    pub config: PathBuf,
    /// Seconds to wait for the kernel module
    #[arg(long, default_value_t = 10)]
    pub wait_module: u64,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn commands_are_understood() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        for line in [
            "banyanctl status --json",
            "banyanctl nodes",
            "banyanctl migrate 42 beech --wait",
            "banyanctl migrate 42 10.0.0.1 -w --json",
            "banyanctl explain 42",
            "banyanctl explain 42 3 --json",
            "banyanctl where 42",
            "banyanctl join 10.0.0.1 10.0.0.2",
            "banyanctl drain --keep-out",
            "banyanctl serve --config /tmp/x",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
        for line in [
            "banyanctl",
            "banyanctl migrate 42",
            "banyanctl migrate 0 2",
            "banyanctl migrate -5 2",
            "banyanctl fly",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
