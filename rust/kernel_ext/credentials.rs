// SPDX-License-Identifier: GPL-2.0

//! Credentials of the current process, all of them in one step.
//!
//! C header: [`include/linux/cred.h`](srctree/include/linux/cred.h). Ids are those of the initial user namespace.

use crate::{
    own::Own,
    subject::Subject, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

/// All credentials but supplementary groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Real, effective, saved, file-system user id.
    pub uids: [u32; 4],
    /// Real, effective, saved, file-system group id.
    pub gids: [u32; 4],
    /// Inheritable, permitted, effective, bounding, ambient capabilities.
    pub capabilities: [u64; 5],
    /// `SECBIT_*`.
    pub securebits: u32,
    /// Whether an exec cannot gain privileges.
    pub no_new_privs: bool,
    /// User id of the login that it descends from; all ones = none.
    pub login_uid: u32,
    /// Number of that login's session; all ones = none.
    pub login_session: u32,
}

/// All capabilities that this kernel knows.
const KNOWN_CAPABILITIES: u64 = (1u64 << (bindings::CAP_LAST_CAP + 1)) - 1;

/// "No new privileges" in `task_struct::atomic_flags`.
const NO_NEW_PRIVS: usize = 1 << bindings::PFA_NO_NEW_PRIVS;

const fn kuid(val: u32) -> bindings::kuid_t {
    bindings::kuid_t { val }
}

const fn kgid(val: u32) -> bindings::kgid_t {
    bindings::kgid_t { val }
}

impl Own {
    /// The credentials.
    pub fn credentials(&self) -> Credentials {
        // SAFETY: The current task's credentials, which only it replaces.
        unsafe {
            let task = self.raw();
            let cred = &*(*task).real_cred;
            Credentials {
                uids: [cred.uid.val, cred.euid.val, cred.suid.val, cred.fsuid.val],
                gids: [cred.gid.val, cred.egid.val, cred.sgid.val, cred.fsgid.val],
                capabilities: [
                    cred.cap_inheritable.val,
                    cred.cap_permitted.val,
                    cred.cap_effective.val,
                    cred.cap_bset.val,
                    cred.cap_ambient.val,
                ],
                securebits: cred.securebits,
                no_new_privs: (*task).atomic_flags & NO_NEW_PRIVS != 0,
                login_uid: (*task).loginuid.val,
                login_session: (*task).sessionid,
            }
        }
    }

    /// Calls `each` for every supplementary group, in their order.
    ///
    /// # Errors
    ///
    /// The first of `each`.
    pub fn each_group(&self, mut each: impl FnMut(u32) -> Result) -> Result {
        // SAFETY: The current task's credentials hold their groups, `ngroups` of them; only the task replaces them.
        unsafe {
            let groups = (*(*self.raw()).real_cred).group_info;
            let first: *const bindings::kgid_t = (&raw const (*groups).gid).cast();
            for index in 0..(*groups).ngroups.max(0) as usize {
                each((*first.add(index)).val)?;
            }
        }
        Ok(())
    }

    /// Number of supplementary groups.
    pub fn group_count(&self) -> u32 {
        // SAFETY: As in `each_group`.
        unsafe { (*(*(*self.raw()).real_cred).group_info).ngroups.max(0) as u32 }
    }

    /// Sets credentials and supplementary groups, but not `no_new_privs`, without asking whether the process may have them. Key rings
    /// are kept or given up.
    ///
    /// # Errors
    ///
    /// `EINVAL` if they contradict themselves, `ENOMEM`, `EAGAIN`, `ENOSYS` if the kernel lacks a function for it.
    pub fn set_credentials(&self, new: &Credentials, groups: &[u32], keep_keys: bool) -> Result {
        let [inheritable, permitted, effective, bounding, ambient] =
            new.capabilities.map(|set| set & KNOWN_CAPABILITIES);
        let invalid = [new.uids, new.gids]
            .as_flattened()
            .iter()
            .any(|&id| id == u32::MAX);
        if invalid || effective & !permitted != 0 || ambient & !(permitted & inheritable) != 0 {
            return Err(EINVAL);
        }
        let count = i32::try_from(groups.len()).map_err(|_| EINVAL)?;
        // SAFETY: The constructor's result is checked. The credentials are ours until `commit_creds`; every failure before gives them
        // back. What is replaced in them was referenced by them.
        unsafe {
            let list = bindings::groups_alloc(count);
            if list.is_null() {
                return Err(ENOMEM);
            }
            let first: *mut bindings::kgid_t = (&raw mut (*list).gid).cast();
            for (index, &group) in groups.iter().enumerate() {
                *first.add(index) = kgid(group);
            }
            bindings::groups_sort(list);

            let cred = bindings::prepare_creds();
            if cred.is_null() {
                banyan_bindings::banyan_put_group_info(list);
                return Err(ENOMEM);
            }
            bindings::set_groups(cred, list);
            banyan_bindings::banyan_put_group_info(list);

            let [uid, euid, suid, fsuid] = new.uids;
            if (*cred).uid.val != uid {
                let user = banyan_bindings::banyan_ksym_alloc_uid(kuid(uid));
                if user.is_null() {
                    bindings::abort_creds(cred);
                    return Err(EAGAIN);
                }
                bindings::free_uid((*cred).user);
                (*cred).user = user;
            }
            (*cred).uid = kuid(uid);
            (*cred).euid = kuid(euid);
            (*cred).suid = kuid(suid);
            (*cred).fsuid = kuid(fsuid);
            let [gid, egid, sgid, fsgid] = new.gids;
            (*cred).gid = kgid(gid);
            (*cred).egid = kgid(egid);
            (*cred).sgid = kgid(sgid);
            (*cred).fsgid = kgid(fsgid);
            (*cred).cap_inheritable.val = inheritable;
            (*cred).cap_permitted.val = permitted;
            (*cred).cap_effective.val = effective;
            (*cred).cap_bset.val = bounding;
            (*cred).cap_ambient.val = ambient;
            (*cred).securebits = new.securebits;
            if !keep_keys {
                for ring in [
                    &raw mut (*cred).session_keyring,
                    &raw mut (*cred).process_keyring,
                    &raw mut (*cred).thread_keyring,
                ] {
                    bindings::key_put(*ring);
                    *ring = core::ptr::null_mut();
                }
            }
            if let Err(error) = to_result(banyan_bindings::banyan_ksym_set_cred_ucounts(cred)) {
                bindings::abort_creds(cred);
                return Err(error);
            }
            bindings::commit_creds(cred);
            // The current task's own fields, set by itself alone.
            (*self.raw()).loginuid = kuid(new.login_uid);
            (*self.raw()).sessionid = new.login_session;
        }
        Ok(())
    }
}

impl Subject {
    /// Whether it has a key ring for itself alone, apart from that of its session.
    pub fn has_own_keys(&self) -> bool {
        // SAFETY: A reference to the task is held; its credentials stay for the RCU section.
        unsafe {
            bindings::rcu_read_lock();
            let cred = (&raw const (*self.raw()).real_cred).read_volatile();
            let own = !(*cred).process_keyring.is_null() || !(*cred).thread_keyring.is_null();
            bindings::rcu_read_unlock();
            own
        }
    }

    /// Whether a security module gave it a label of its own.
    pub fn labelled(&self) -> bool {
        // SAFETY: A reference to the task is held.
        unsafe { banyan_bindings::banyan_labelled(self.raw()) }
    }

    /// Whether a Landlock domain confines it.
    pub fn landlocked(&self) -> bool {
        // SAFETY: A reference to the task is held.
        unsafe { banyan_bindings::banyan_landlocked(self.raw()) }
    }
}
