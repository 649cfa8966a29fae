// SPDX-License-Identifier: GPL-2.0

//! A module's one object that functions without a handle can reach.
//!
//! A `static` cannot own what must be freed on unload; a [`Global`] holds a reference while the module is up and gives it back.

use core::cell::UnsafeCell;
use kernel::sync::Arc;

/// A slot for a reference: empty, or the object. Empty again before the module goes.
///
/// Reading it takes a spinlock for a few instructions, so it may be read anywhere but in interrupts.
pub struct Global<T> {
    slot: UnsafeCell<Option<Arc<T>>>,
}

// SAFETY: `slot` is only touched with the global lock held, and `Arc<T>` may be shared between threads since `T` may.
unsafe impl<T: Send + Sync> Sync for Global<T> {}

impl<T> Global<T> {
    /// An empty slot.
    #[expect(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            slot: UnsafeCell::new(None),
        }
    }

    fn with<R>(&self, f: impl FnOnce(&mut Option<Arc<T>>) -> R) -> R {
        // SAFETY: Lock and unlock enclose the use of the slot; nothing in `f` below sleeps.
        unsafe { banyan_bindings::banyan_global_lock() };
        // SAFETY: The lock is held, so that this is the only reference to the content.
        let result = f(unsafe { &mut *self.slot.get() });
        // SAFETY: Locked above.
        unsafe { banyan_bindings::banyan_global_unlock() };
        result
    }

    /// Puts the object in; returns the one that was there.
    pub fn set(&self, value: Arc<T>) -> Option<Arc<T>> {
        self.with(|slot| slot.replace(value))
    }

    /// Empties the slot; returns what was there.
    pub fn take(&self) -> Option<Arc<T>> {
        self.with(Option::take)
    }

    /// Returns the object, if there is one.
    pub fn get(&self) -> Option<Arc<T>> {
        self.with(|slot| slot.clone())
    }
}
