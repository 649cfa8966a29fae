// SPDX-License-Identifier: GPL-2.0
//! The control group in which guests run: `guests`, beside the daemon's own.
//!
//! One per node. systemd gives banyan.service a subtree of control groups (`Delegate=yes`) and puts the daemon into the leaf
//! `serve` of it (`DelegateSubgroup=serve`). Outside of that guests stay in the group of the daemon.

use std::{
    fs::{self, File},
    path::{Path, PathBuf}, //
};

use super::log;

/// Name of the leaf in which systemd starts the daemon.
const OWN: &str = "serve";
/// Name of the leaf for guests.
const GUESTS: &str = "guests";

/// The directory for guests, beside that of a process whose /proc/self/cgroup has this text.
fn place(groups: &str) -> Option<PathBuf> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let parent = Path::new(own).parent()?;
    let is_delegated = Path::new(own).file_name()?.to_str()? == OWN;
    is_delegated.then(|| {
        Path::new("/sys/fs/cgroup")
            .join(parent.strip_prefix("/").unwrap_or(parent))
            .join(GUESTS)
    })
}

/// Makes and opens the group for guests; `None` when there is no place for it.
pub fn prepare() -> Option<File> {
    let directory = place(&fs::read_to_string("/proc/self/cgroup").ok()?)?;
    let made = match fs::create_dir(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(&directory),
    };
    match made {
        Ok(directory) => Some(directory),
        Err(error) => {
            log::warning(&format!(
                "guests stay in the daemon's control group: {}: {error}",
                directory.display()
            ));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_a_delegated_leaf_only() {
        let guests = place("1:name=systemd:/x\n0::/system.slice/banyan.service/serve\n");
        assert_eq!(
            guests,
            Some(PathBuf::from(
                "/sys/fs/cgroup/system.slice/banyan.service/guests"
            ))
        );
        assert_eq!(place("0::/user.slice/session-1.scope\n"), None);
        assert_eq!(place("0::/\n"), None);
        assert_eq!(place(""), None);
    }
}
