// SPDX-License-Identifier: GPL-2.0
//! Lines of the daemon's log: on standard error, with the priority in front when systemd's journal reads it.
//!
//! Each of the daemon's processes writes whole lines with one system call, so lines of several do not mix.

use std::{
    env,
    io::{self, Write},
    process, //
};

/// Priorities of syslog.
const ERROR: u8 = 3;
const WARNING: u8 = 4;
const INFO: u8 = 6;

fn line(priority: u8, text: &str) {
    let text = text.replace('\n', " ");
    let line = if env::var_os("JOURNAL_STREAM").is_some() {
        format!("<{priority}>{text}\n")
    } else {
        format!("banyanctl[{}]: {text}\n", process::id())
    };
    // Nobody is left to be told when standard error is gone.
    let _ = io::stderr().write_all(line.as_bytes());
}

pub fn error(text: &str) {
    line(ERROR, text);
}

pub fn warning(text: &str) {
    line(WARNING, text);
}

pub fn info(text: &str) {
    line(INFO, text);
}
