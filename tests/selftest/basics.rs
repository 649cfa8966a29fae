// SPDX-License-Identifier: GPL-2.0

//! Tests of the small wrappers: keys, clocks, the machine's figures, sysfs, limits, unexported functions.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    clock,
    crypto,
    global::Global,
    ksym,
    limit::RateLimit,
    machine,
    sysfs::{
        Attribute,
        Directory, //
    }, //
};

use crate::{
    check,
    check_error,
    Test, //
};

pub(crate) const TESTS: &[Test] = &[
    ("hmac_sha256", hmac),
    ("random_differs", random),
    ("clocks_advance", clocks),
    ("machine_figures", figures),
    ("xsave_layout", xsave),
    ("pid_cursor", pid_cursor),
    ("global_gives_back", global),
    ("rate_limit", rate_limit),
    ("sysfs_directory", sysfs),
    ("kernel_functions_found", kernel_functions),
];

/// The kernel that this release is made for has all that is called without being exported.
fn kernel_functions() -> Result {
    let missing = ksym::all()
        .filter(|which| !ksym::available(*which))
        .inspect(|which| pr_err!("# missing: {}\n", ksym::name(*which)))
        .count();
    check(missing == 0, "all are there")?;
    check(ksym::all().count() > 10, "the table is there")
}

/// RFC 4231, test cases 1, 2 and 6.
fn hmac() -> Result {
    let one = crypto::hmac_sha256(&[0x0b; 20], b"Hi There");
    check(
        one.starts_with(&[0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb]),
        "case 1",
    )?;
    let two = crypto::hmac_sha256(b"Jefe", b"what do ya want for nothing?");
    check(
        two.starts_with(&[0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60]),
        "case 2",
    )?;
    let text = b"Test Using Larger Than Block-Size Key - Hash Key First";
    let six = crypto::hmac_sha256(&[0xaa; 131], text);
    check(
        six.starts_with(&[0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0]),
        "case 6",
    )
}

fn random() -> Result {
    let (mut a, mut b) = ([0; 32], [0; 32]);
    crypto::random(&mut a);
    crypto::random(&mut b);
    check(a != b && a != [0; 32], "two nonces are equal or zero")
}

fn clocks() -> Result {
    let (mono, boot) = (clock::monotonic_ns(), clock::boottime_ns());
    kernel_ext::wait::pause();
    check(clock::monotonic_ns() > mono, "monotonic")?;
    check(clock::boottime_ns() > boot, "boottime")?;
    check(clock::realtime_ns() > 1_600_000_000_000_000_000, "realtime")
}

fn figures() -> Result {
    let memory = machine::memory();
    check(memory.total_kib > 1024, "total memory")?;
    check(memory.available_kib <= memory.total_kib, "available memory")?;
    check(machine::online_cpus() >= 1, "CPUs")?;
    check(machine::kernel_release().starts_with(b"7."), "release")?;
    check(machine::host_name().last() == Some(&0), "host name ends")?;
    let words = machine::cpu_capabilities()?;
    check(words.iter().any(|word| *word != 0), "CPU capabilities")
}

fn xsave() -> Result {
    if machine::xfeatures() == 0 {
        return Ok(());
    }
    let size = machine::xsave_size();
    check(size >= 576, "legacy area and header")?;
    for (offset, len) in machine::xsave_layout().0 {
        check(offset.saturating_add(len) <= size, "component inside")?;
    }
    Ok(())
}

fn pid_cursor() -> Result {
    check(
        machine::pid_cursor() <= machine::pid_max(),
        "cursor beyond the end",
    )?;
    check_error(
        machine::set_pid_cursor(machine::pid_max()),
        ERANGE,
        "cursor at pid_max",
    )
}

fn global() -> Result {
    static SLOT: Global<u32> = Global::new();
    check(SLOT.get().is_none(), "not empty at first")?;
    let one = Arc::new(1, GFP_KERNEL)?;
    check(SLOT.set(one.clone()).is_none(), "something was there")?;
    check(
        SLOT.get().is_some_and(|it| Arc::ptr_eq(&it, &one)),
        "another one",
    )?;
    check(SLOT.take().is_some() && SLOT.get().is_none(), "not taken")?;
    check(
        Arc::into_unique_or_drop(one).is_some(),
        "a reference is left",
    )
}

fn rate_limit() -> Result {
    let limit = RateLimit::new(3, 1_000_000);
    let allowed = (0..10).filter(|_| limit.allows()).count();
    check(allowed == 3, "burst of 3")
}

fn sysfs() -> Result {
    static ATTRIBUTES: &[Attribute<u32>] = &[Attribute {
        name: c"value",
        mode: 0o444,
        show: Some(|_, _| Ok(())),
        store: None,
    }];
    let name = c"banyan_selftest_dir";
    for _ in 0..3 {
        let data = Arc::new(5, GFP_KERNEL)?;
        let top = Directory::new(name, ATTRIBUTES, data.clone())?;
        let below = top.subdirectory(c"below", ATTRIBUTES, data.clone())?;
        drop(below);
        drop(top);
        check(Arc::into_unique_or_drop(data).is_some(), "data is kept")?;
    }
    Ok(())
}
