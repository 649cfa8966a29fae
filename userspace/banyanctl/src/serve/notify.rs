// SPDX-License-Identifier: GPL-2.0
//! Telling systemd how the daemon does: sd_notify(3) without its library.

use std::{
    env,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram}, //
        }, //
    },
    path::Path, //
};

/// Sends `text` (lines NAME=VALUE) to the service manager; nothing happens when there is none.
pub fn send(text: &str) {
    let Some(name) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(Path::new(&name)),
    };
    // A manager that does not listen will see by itself how the process does.
    let _ = address
        .and_then(|address| UnixDatagram::unbound().map(|socket| (socket, address)))
        .and_then(|(socket, address)| socket.send_to_addr(text.as_bytes(), &address));
}
