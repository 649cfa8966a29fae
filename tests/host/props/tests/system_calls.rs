// SPDX-License-Identifier: GPL-2.0

//! The table of system calls has a row for each call that the kernel has, and no other.

use banyan_wire::call_table::{CALLS, GONE};
use std::collections::BTreeMap;

/// The kernel's own list: number to name as in `__x64_sys_NAME`, or `None` for a number without a call.
fn kernels_own() -> BTreeMap<u16, Option<String>> {
    let source = std::env::var("KSRC")
        .expect("KSRC names the kernel source (scripts/platform/in-root sets it)");
    let list = std::fs::read_to_string(format!("{source}/arch/x86/entry/syscalls/syscall_64.tbl"))
        .expect("the kernel's list of system calls");
    list.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.len() >= 3 && words[1] != "x32" && !words[0].starts_with('#'))
        .map(|words| {
            let entry = words.get(3).and_then(|entry| entry.strip_prefix("sys_"));
            let number = words[0].parse().expect("a number");
            (
                number,
                entry.filter(|name| *name != "ni_syscall").map(String::from),
            )
        })
        .collect()
}

#[test]
fn each_call_of_the_kernel_has_its_row() {
    let kernel = kernels_own();
    assert!(kernel.len() > 350, "only {} calls found", kernel.len());
    let ours: BTreeMap<u16, &str> = CALLS.iter().map(|call| (call.number, call.name)).collect();
    for (number, name) in &kernel {
        match name {
            Some(name) => assert_eq!(ours.get(number), Some(&name.as_str()), "call {number}"),
            None => assert!(
                GONE.contains(number),
                "call {number} is gone, but not in GONE"
            ),
        }
    }
    for (number, name) in &ours {
        assert!(
            kernel.contains_key(number),
            "call {number} ({name}) is not the kernel's"
        );
    }
}
