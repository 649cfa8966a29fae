// SPDX-License-Identifier: GPL-2.0

//! A table of shared objects by a key: deputies and guests by pid, moves by number.
//!
//! Three exist, all owned by [`State`](crate::state::State). Lock order: a table's lock is the innermost; nothing is called with it held.

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    sync::{
        Arc,
        Mutex, //
    },
};

/// Objects by key.
#[pin_data]
pub struct Table<K, V> {
    #[pin]
    entries: Mutex<Entries<K, V>>,
}

struct Entries<K, V> {
    tree: RBTree<K, Arc<V>>,
    len: usize,
}

// Nothing in it is pinned: the tree holds its nodes by pointer.
impl<K, V> Unpin for Entries<K, V> {}

impl<K: Ord + Copy, V> Table<K, V> {
    /// An empty table.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            entries <- new_mutex!(Entries { tree: RBTree::new(), len: 0 }, "banyan table"),
        })
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.entries.lock().len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The object with this key.
    pub fn get(&self, key: K) -> Option<Arc<V>> {
        self.entries.lock().tree.get(&key).cloned()
    }

    /// Adds an object.
    ///
    /// # Errors
    ///
    /// `EEXIST` if the key is taken, `ENOMEM`.
    pub fn insert(&self, key: K, value: Arc<V>) -> Result {
        let node = kernel::rbtree::RBTreeNode::new(key, value, GFP_KERNEL)?;
        let mut entries = self.entries.lock();
        if entries.tree.get(&key).is_some() {
            return Err(EEXIST);
        }
        entries.tree.insert(node);
        entries.len = entries.len.saturating_add(1);
        Ok(())
    }

    /// Takes the object with this key out, if it is this very one.
    pub fn remove(&self, key: K, value: &Arc<V>) {
        let mut entries = self.entries.lock();
        let same = entries
            .tree
            .get(&key)
            .is_some_and(|known| Arc::ptr_eq(known, value));
        if same {
            // Freed after the lock is released.
            let gone = entries.tree.remove(&key);
            entries.len = entries.len.saturating_sub(1);
            drop(entries);
            drop(gone);
        }
    }

    /// All objects, as they are now. An empty list if there is no memory for it: for work that is tried again.
    pub fn snapshot(&self) -> KVVec<Arc<V>> {
        let mut list = KVVec::new();
        loop {
            let wanted = self.entries.lock().len;
            if list.reserve(wanted, GFP_KERNEL).is_err() {
                return KVVec::new();
            }
            let entries = self.entries.lock();
            if entries.len > list.capacity() {
                continue;
            }
            for value in entries.tree.values() {
                // There is room; nothing is allocated.
                if list.push_within_capacity(value.clone()).is_err() {
                    break;
                }
            }
            return list;
        }
    }
}
