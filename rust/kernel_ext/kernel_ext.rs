// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers of kernel facilities that the `kernel` crate lacks.
//!
//! The only crate of Banyan, besides the raw bindings, with `unsafe` code; the crates under `drivers/` deny it. One file for each
//! facility. Nothing here knows what Banyan is.

pub mod attributes;
pub mod boundary;
pub mod call_hooks;
pub mod caller;
pub mod clock;
pub mod credentials;
pub mod crypto;
pub mod device;
pub mod exit_watch;
pub mod facts;
pub mod fdtable;
pub mod file;
pub mod file_numbers;
pub mod global;
pub mod ksym;
pub mod kthread;
pub mod limit;
pub mod machine;
pub mod memory;
pub mod own;
pub mod page_vec;
pub mod pages;
pub mod parameter;
pub mod parked;
pub mod paths;
pub mod proxyfs;
pub mod reboot;
pub mod registers;
pub mod restart;
pub mod shared_memory;
pub mod signals;
pub mod socket;
pub mod subject;
pub mod syscalls;
pub mod sysfs;
pub mod timeline;
pub mod timers;
pub mod usage;
pub mod wait;
