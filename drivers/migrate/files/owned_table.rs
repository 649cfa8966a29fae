// SPDX-License-Identifier: GPL-2.0

//! The files of one deputy: one [`OwnedTable`] for each, owned by it. Which these are, the owner's table knows by their handles.

/// The files that the process of one deputy took along: let go of when this is dropped.
pub struct OwnedTable {
    pid: i32,
    moves: u32,
}

impl OwnedTable {
    /// Those of this process on this journey.
    pub fn new(pid: i32, moves: u32) -> Self {
        Self { pid, moves }
    }
}

impl Drop for OwnedTable {
    fn drop(&mut self) {
        if let Ok(files) = super::files() {
            files.owned.forget(self.pid, self.moves);
        }
    }
}
