// SPDX-License-Identifier: GPL-2.0

//! Module parameters of `banyan.ko` that are strings: five, declared in `rust/helpers/parameters.c`.

use banyan_bindings::banyan_parameter as Raw;
use kernel::prelude::*;

/// Which one.
#[derive(Clone, Copy, Debug)]
pub enum Parameter {
    /// Name of the cluster.
    Cluster,
    /// Node id.
    Node,
    /// Own IPv4 address.
    Address,
    /// TCP port.
    Port,
    /// Members to join by.
    Join,
}

/// Returns what was given when the module was loaded.
pub fn get(which: Parameter) -> Option<&'static [u8]> {
    let which: Raw = match which {
        Parameter::Cluster => banyan_bindings::banyan_parameter_BANYAN_PARAMETER_CLUSTER,
        Parameter::Node => banyan_bindings::banyan_parameter_BANYAN_PARAMETER_NODE,
        Parameter::Address => banyan_bindings::banyan_parameter_BANYAN_PARAMETER_ADDRESS,
        Parameter::Port => banyan_bindings::banyan_parameter_BANYAN_PARAMETER_PORT,
        Parameter::Join => banyan_bindings::banyan_parameter_BANYAN_PARAMETER_JOIN,
    };
    // SAFETY: The index is checked.
    let value = unsafe { banyan_bindings::banyan_parameter(which) };
    if value.is_null() {
        return None;
    }
    // SAFETY: A C string that stays, unchanged, as long as the module: the parameters cannot be written later.
    Some(unsafe { CStr::from_char_ptr(value) }.to_bytes())
}
