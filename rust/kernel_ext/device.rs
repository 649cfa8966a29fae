// SPDX-License-Identifier: GPL-2.0

//! A character device that everyone may open.
//!
//! As [`kernel::miscdevice::MiscDeviceRegistration`], which leaves the mode to udev: without udev that is root's alone.
//!
//! C header: [`include/linux/miscdevice.h`](srctree/include/linux/miscdevice.h)

use core::marker::PhantomData;
use kernel::{
    bindings,
    error::to_result,
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions, //
    },
    prelude::*,
    types::Opaque, //
};

/// A registered device `/dev/<name>`. Dropping it removes it; files that are open keep the module that owns `T` loaded.
///
/// # Invariants
///
/// `inner` is a registered `struct miscdevice`, made by [`MiscDeviceOptions::into_raw`] for `T`.
// The layout is that of `MiscDeviceRegistration<T>`, which is what the file operations of `T` cast to.
#[repr(transparent)]
#[pin_data(PinnedDrop)]
pub struct Device<T> {
    #[pin]
    inner: Opaque<bindings::miscdevice>,
    _data: PhantomData<T>,
}

// SAFETY: Registration has no tie to a thread.
unsafe impl<T> Send for Device<T> {}
// SAFETY: There are no methods.
unsafe impl<T> Sync for Device<T> {}

impl<T: MiscDevice> Device<T> {
    /// Registers `/dev/<name>` with this mode.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `ENOMEM`.
    pub fn register(name: &'static CStr, mode: u16) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(move |slot: *mut bindings::miscdevice| {
                let mut raw = MiscDeviceOptions { name }.into_raw::<T>();
                raw.mode = mode;
                // SAFETY: The slot is ours to fill, pinned, and deregistered before it goes.
                // INVARIANT: Registered if this returns `Ok`.
                unsafe {
                    slot.write(raw);
                    to_result(bindings::misc_register(slot))
                }
            }),
            _data: PhantomData,
        })
    }
}

#[pinned_drop]
impl<T> PinnedDrop for Device<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered, by the type's invariant.
        unsafe { bindings::misc_deregister(self.inner.get()) };
    }
}
