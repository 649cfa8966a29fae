// SPDX-License-Identifier: GPL-2.0

//! Raw bindings of kernel functions and types that [`kernel::bindings`] lacks, and of our own C helpers.
//!
//! Generated at build time by bindgen from `bindings_helper.h`. A type that `kernel::bindings` has in full is that very type here
//! too. Used only by crates under `rust/`; drivers use the safe wrappers of `kernel_ext`.

#![allow(
    clippy::all,
    clippy::as_ptr_cast_mut,
    clippy::as_underscore,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]

// The generated file expects these names, as in `kernel::bindings`.
include!(env!("BANYAN_BINDINGS"));
