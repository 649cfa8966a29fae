// SPDX-License-Identifier: GPL-2.0

//! `banyan_selftest.ko`: tests of what only a kernel can test, reported as KTAP in the kernel log. Not shipped.
//!
//! All tests run while the module loads; loading fails with `EINVAL` if one does. What only happens where a process goes back to user
//! mode is tested with children of the process that loads the module. With `peer=N` the tests between two nodes run too,
//! against the same module loaded at node N; without, the module stays as the other end. Those need `banyan_migrate` to be absent,
//! since they take its ops.

#![deny(unsafe_code)]

use kernel::prelude::*;
use kernel_ext::boundary;

mod basics;
mod calls;
mod child;
mod registers;
mod sockets;
mod threads;
mod works;

module! {
    type: SelftestModule,
    name: "banyan_selftest",
    authors: ["The Banyan developers"],
    description: "Banyan: self-tests",
    license: "GPL",
    params: {
        peer: u32 {
            default: 0,
            description: "node to test against, 0 = none",
        },
    },
}

/// A test: its name, and what it does. An error or a failed [`check`] fails it.
type Test = (&'static str, fn() -> Result);

/// Fails the test if the condition does not hold.
fn check(condition: bool, what: &str) -> Result {
    if condition {
        return Ok(());
    }
    pr_err!("# failed: {what}\n");
    Err(EINVAL)
}

/// Fails the test if `result` is not this error.
fn check_error<T>(result: Result<T>, wanted: Error, what: &str) -> Result {
    match result {
        Err(e) if e == wanted => Ok(()),
        Err(e) => {
            pr_err!("# failed: {what}: {e:?} instead of {wanted:?}\n");
            Err(EINVAL)
        }
        Ok(_) => {
            pr_err!("# failed: {what}: no error instead of {wanted:?}\n");
            Err(EINVAL)
        }
    }
}

/// Runs tests, numbered from `first`; returns how many failed.
fn run(tests: &[Test], first: usize) -> usize {
    let mut failed = 0;
    for (i, (name, test)) in tests.iter().enumerate() {
        let number = first.saturating_add(i);
        match test() {
            Ok(()) => pr_info!("ok {number} {name}\n"),
            Err(e) => {
                failed += 1;
                pr_info!("not ok {number} {name} # {e:?}\n");
            }
        }
    }
    failed
}

struct SelftestModule {
    _server: Option<calls::Server>,
}

impl kernel::Module for SelftestModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let peer = *module_parameters::peer.value_ref();
        let mut groups = KVec::new();
        groups.push(basics::TESTS, GFP_KERNEL)?;
        groups.push(threads::TESTS, GFP_KERNEL)?;
        groups.push(sockets::TESTS, GFP_KERNEL)?;
        groups.push(works::TESTS, GFP_KERNEL)?;
        groups.push(registers::TESTS, GFP_KERNEL)?;
        let server = calls::Server::start()
            .inspect_err(|e| pr_info!("# no service for other nodes: {e:?}\n"))
            .ok();
        if peer != 0 {
            calls::set_peer(peer)?;
            groups.push(calls::TESTS, GFP_KERNEL)?;
        }
        let count: usize = groups.iter().map(|tests| tests.len()).sum();
        pr_info!("KTAP version 1\n");
        pr_info!("1..{count}\n");
        let (mut first, mut failed) = (1, 0);
        for tests in &groups {
            failed += run(tests, first);
            first += tests.len();
        }
        // No test leaves a work behind; from here on no task is in the end of one either.
        boundary::synchronize();
        let passed = count.saturating_sub(failed);
        pr_info!("# {passed} passed, {failed} failed\n");
        if failed > 0 {
            return Err(EINVAL);
        }
        Ok(Self { _server: server })
    }
}
