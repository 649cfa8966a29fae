// SPDX-License-Identifier: GPL-2.0

//! Being told that the machine goes down: by a reboot, a halt or a power-off that the kernel carries out in order, whether user space
//! was asked or not. A crash, a power cut and the kernel's emergency restart tell nobody.
//!
//! C header: [`include/linux/reboot.h`](srctree/include/linux/reboot.h)

use kernel::{
    bindings,
    error::to_result,
    ffi,
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

/// What is to be done when the machine goes down.
pub trait OnReboot: Send + Sync + 'static {
    /// Does it. May sleep, but the machine waits for it: briefly. Devices and the network still work.
    fn going_down(&self);
}

#[pin_data(PinnedDrop)]
struct Entry<T: OnReboot> {
    #[pin]
    block: Opaque<bindings::notifier_block>,
    handler: Arc<T>,
}

/// A place on the kernel's list of those that are told. Dropping it takes it off; on return no call runs.
pub struct RebootWatch<T: OnReboot>(#[expect(dead_code)] Pin<KBox<Entry<T>>>);

// SAFETY: The block is only touched by the kernel under the lock of its list; the handler may be sent and shared.
unsafe impl<T: OnReboot> Send for RebootWatch<T> {}
// SAFETY: A shared reference gives access to nothing.
unsafe impl<T: OnReboot> Sync for RebootWatch<T> {}

impl<T: OnReboot> RebootWatch<T> {
    /// Has `handler` told.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(handler: Arc<T>) -> Result<Self> {
        let entry = KBox::pin_init(
            pin_init!(Entry {
                block: Opaque::new(bindings::notifier_block {
                    notifier_call: Some(called::<T>),
                    ..Default::default()
                }),
                handler,
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: The block is pinned and is taken off the list before it is freed. An entry that is not on the list may be taken off.
        to_result(unsafe { banyan_bindings::register_reboot_notifier(entry.block.get()) })?;
        Ok(Self(entry))
    }
}

#[pinned_drop]
impl<T: OnReboot> PinnedDrop for Entry<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The block is on the list, or registering it failed: then it is not found. On return no call of it runs.
        unsafe { banyan_bindings::unregister_reboot_notifier(self.block.get()) };
    }
}

/// # Safety
///
/// Called by the kernel with a block that `RebootWatch::new` registered, in process context.
unsafe extern "C" fn called<T: OnReboot>(
    block: *mut bindings::notifier_block,
    _action: ffi::c_ulong,
    _data: *mut ffi::c_void,
) -> ffi::c_int {
    // SAFETY: The block is the field of a pinned `Entry`, which stays until it is off the list.
    let entry = unsafe { &*kernel::container_of!(Opaque::cast_from(block), Entry<T>, block) };
    entry.handler.going_down();
    0
}
