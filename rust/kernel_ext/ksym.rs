// SPDX-License-Identifier: GPL-2.0

//! Unexported kernel functions: which of them this kernel has.
//!
//! One table for the whole of Banyan, in `rust/helpers/ksym.c`, resolved once when `banyan.ko` loads. The wrappers that call them
//! are in the files of `kernel_ext` which need them.

use kernel::{
    error::to_result,
    prelude::*, //
};

pub use banyan_bindings::banyan_ksym as Ksym;

/// Resolves the table. To be called once, from `banyan.ko`'s init, before anything else of this crate.
///
/// # Errors
///
/// Those of `register_kprobe`, if even the kernel's symbol table cannot be reached.
pub fn resolve() -> Result {
    // SAFETY: Called from module init, when no other thread can be in this module.
    let missing = unsafe { banyan_bindings::banyan_ksym_resolve() };
    // SAFETY: As above, and after the table.
    unsafe { banyan_bindings::banyan_state_resolve() };
    to_result(missing.min(0))
}

/// Returns every entry of the table.
pub fn all() -> impl Iterator<Item = Ksym> {
    0..banyan_bindings::banyan_ksym_BANYAN_KSYM_COUNT
}

/// Returns whether this kernel has the function.
pub fn available(which: Ksym) -> bool {
    // SAFETY: The table does not change after `resolve`; the index is checked.
    unsafe { banyan_bindings::banyan_ksym_available(which) }
}

/// Returns the function's name, for messages.
pub fn name(which: Ksym) -> &'static CStr {
    // SAFETY: The index is checked.
    let name = unsafe { banyan_bindings::banyan_ksym_name(which) };
    if name.is_null() {
        return c"(no such entry)";
    }
    // SAFETY: The names are string literals of the module.
    unsafe { CStr::from_char_ptr(name) }
}
