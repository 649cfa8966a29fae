// SPDX-License-Identifier: GPL-2.0

//! Credentials: ids, groups, capabilities, security bits.
//!
//! Stands last in the table: everything else is rebuilt with the rights of the task that becomes the process. The credentials are set in
//! one step and without asking, since the process had them at the source, and the source is a member of the cluster.

use super::Kind;
use crate::{
    capture::Capture,
    reasons::Reasons, //
    rebuild::Rebuild,
};
use banyan_wire::{
    image_state as records,
    Reason,
    Wire, //
};
use kernel::prelude::*;
use kernel_ext::{
    credentials::Credentials,
    own::Own,
    subject::Subject,
    syscalls::Syscalls, //
};

/// This kind.
pub static KIND: Kind = Kind {
    name: "credentials",
    carried: "user and group ids, supplementary groups, all five capability sets, security bits, no_new_privs, login user and session; \
              keys of the session stay at home and cannot be seen while away; a Landlock domain stays at home and judges there",
    refused: "key rings for the process or the thread alone (key-rings), confinement by AppArmor or another security module that gives \
              labels (security-label)",
    check,
    capture,
    restore,
    finish,
    ..Kind::NOTHING
};

/// What is kept until the end of the image.
#[derive(Default)]
pub struct Rebuilt {
    credentials: Option<records::Credentials>,
    groups: KVVec<u32>,
    /// A Landlock domain confines it, at its home.
    pub landlocked: bool,
}

/// Words in one record of groups.
const CHUNK: usize = 256;

fn check(subject: &Subject, reasons: &mut Reasons) {
    if subject.has_own_keys() {
        reasons.push(Reason::KeyRings, 0);
    }
    if subject.labelled() {
        reasons.push(Reason::SecurityLabel, 0);
    }
}

fn capture(own: &Own, capture: &mut Capture) -> Result {
    let credentials = own.credentials();
    capture.value(
        records::CREDENTIALS,
        records::VERSION,
        &records::Credentials {
            uids: credentials.uids,
            gids: credentials.gids,
            capabilities: credentials.capabilities,
            securebits: credentials.securebits,
            no_new_privs: credentials.no_new_privs.into(),
            groups: own.group_count(),
            login_uid: credentials.login_uid,
            login_session: credentials.login_session,
            _pad: 0,
        },
    )?;
    if Subject::current().landlocked() || capture.landlocked {
        capture.record(records::LANDLOCK, records::VERSION, &[])?;
    }
    let mut chunk = KVec::with_capacity(CHUNK, GFP_KERNEL)?;
    own.each_group(|group| {
        chunk.push(group, GFP_KERNEL)?;
        if chunk.len() == CHUNK {
            put_groups(capture, &chunk)?;
            chunk.clear();
        }
        Ok(())
    })?;
    if chunk.is_empty() {
        return Ok(());
    }
    put_groups(capture, &chunk)
}

fn put_groups(capture: &mut Capture, groups: &[u32]) -> Result {
    let mut bytes = KVec::from_elem(0u8, CHUNK.saturating_mul(4), GFP_KERNEL)?;
    let len = records::encode_words(groups, &mut bytes).map_err(|_| EINVAL)?;
    capture.record(
        records::GROUPS,
        records::VERSION,
        bytes.get(..len).ok_or(EINVAL)?,
    )
}

fn restore(
    _own: &Own,
    rebuild: &mut Rebuild,
    rtype: u16,
    version: u16,
    payload: &[u8],
) -> Result<bool> {
    let state = &mut rebuild.credentials;
    match (rtype, version) {
        (records::CREDENTIALS, records::VERSION) => {
            let credentials = records::Credentials::decode(payload).map_err(|_| EBADMSG)?;
            if credentials.groups as usize > records::MAX_GROUPS {
                return Err(EBADMSG);
            }
            state.credentials = Some(credentials);
        }
        (records::LANDLOCK, records::VERSION) => state.landlocked = true,
        (records::GROUPS, records::VERSION) => {
            for group in records::decode_words(payload).map_err(|_| EBADMSG)? {
                if state.groups.len() >= records::MAX_GROUPS {
                    return Err(EBADMSG);
                }
                state.groups.push(group.map_err(|_| EBADMSG)?, GFP_KERNEL)?;
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn finish(own: &Own, rebuild: &mut Rebuild) -> Result {
    const PR_SET_NO_NEW_PRIVS: u32 = 38;

    let record = rebuild.credentials.credentials.take().ok_or(EBADMSG)?;
    if rebuild.credentials.groups.len() != record.groups as usize {
        return Err(EBADMSG);
    }
    let no_new_privs = record.no_new_privs != 0;
    let credentials = Credentials {
        uids: record.uids,
        gids: record.gids,
        capabilities: record.capabilities,
        securebits: record.securebits,
        no_new_privs,
        login_uid: record.login_uid,
        login_session: record.login_session,
    };
    // The deputy has the keys of the session; the task that becomes a guest has those of `banyanctl serve`.
    own.set_credentials(&credentials, &rebuild.credentials.groups, rebuild.at_home)?;
    if no_new_privs {
        Syscalls::new(own, rebuild.scratch(own)?).prctl(PR_SET_NO_NEW_PRIVS, 1, 0)?;
    }
    Ok(())
}
