// SPDX-License-Identifier: GPL-2.0
//! The program `banyanctl`: everything is in the library of the same name, so that tests can use it too.

#![deny(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    banyanctl::run()
}
