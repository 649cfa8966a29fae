// SPDX-License-Identifier: GPL-2.0

//! Directories of attributes under `/sys/kernel`.
//!
//! C headers: [`include/linux/kobject.h`](srctree/include/linux/kobject.h),
//! [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)

use core::ptr::null_mut;
use kernel::{
    bindings,
    container_of,
    error::to_result,
    ffi::c_char,
    fmt,
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

use crate::wait::Completion;

/// What a read of an attribute returns: at most a page. `write!` to it.
pub struct Output<'a> {
    page: &'a mut [u8],
    len: usize,
}

impl fmt::Write for Output<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let end = self.len.checked_add(s.len()).ok_or(fmt::Error)?;
        let room = self.page.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Answers a read.
pub type Show<T> = fn(&Arc<T>, &mut Output<'_>) -> Result;

/// Takes a write, of at most a page.
pub type Store<T> = fn(&Arc<T>, &[u8]) -> Result;

/// One file of a directory that shows a `T`.
pub struct Attribute<T: 'static> {
    /// Its name.
    pub name: &'static CStr,
    /// Its mode, such as `0o644`.
    pub mode: u16,
    /// Answers a read.
    pub show: Option<Show<T>>,
    /// Takes a write, of at most a page.
    pub store: Option<Store<T>>,
}

/// The kernel's part of an [`Attribute`].
#[repr(C)]
struct RawAttribute<T: 'static> {
    raw: bindings::attribute,
    attribute: &'static Attribute<T>,
}

/// # Invariants
///
/// `kobj` is initialised, its type is `ktype`, its attributes are those of `raw`. `released` is completed by its release.
#[pin_data]
struct Inner<T: Send + Sync + 'static> {
    #[pin]
    kobj: Opaque<bindings::kobject>,
    #[pin]
    released: Completion,
    raw: KVec<RawAttribute<T>>,
    pointers: KVec<*mut bindings::attribute>,
    group: bindings::attribute_group,
    groups: [*const bindings::attribute_group; 2],
    ktype: bindings::kobj_type,
    data: Arc<T>,
}

/// A directory. Dropping it removes it; reads and writes that run are waited for.
pub struct Directory<T: Send + Sync + 'static> {
    inner: Pin<KBox<Inner<T>>>,
}

// SAFETY: The kobject locks internally; the data may be shared.
unsafe impl<T: Send + Sync> Send for Directory<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for Directory<T> {}

impl<T: Send + Sync> Directory<T> {
    const OPS: bindings::sysfs_ops = bindings::sysfs_ops {
        show: Some(Self::show),
        store: Some(Self::store),
    };

    /// Makes `/sys/kernel/<name>`.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `ENOMEM`.
    pub fn new(name: &CStr, attributes: &'static [Attribute<T>], data: Arc<T>) -> Result<Self> {
        // SAFETY: `kernel_kobj` is set at boot and stays.
        Self::create(unsafe { bindings::kernel_kobj }, name, attributes, data)
    }

    /// Makes a directory within this one, which has to outlive it.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `ENOMEM`.
    pub fn subdirectory<U: Send + Sync>(
        &self,
        name: &CStr,
        attributes: &'static [Attribute<U>],
        data: Arc<U>,
    ) -> Result<Directory<U>> {
        Directory::create(self.inner.kobj.get(), name, attributes, data)
    }

    fn create(
        parent: *mut bindings::kobject,
        name: &CStr,
        attributes: &'static [Attribute<T>],
        data: Arc<T>,
    ) -> Result<Self> {
        let mut raw = KVec::with_capacity(attributes.len(), GFP_KERNEL)?;
        for attribute in attributes {
            raw.push(
                RawAttribute {
                    raw: bindings::attribute {
                        name: attribute.name.as_char_ptr(),
                        mode: attribute.mode,
                    },
                    attribute,
                },
                GFP_KERNEL,
            )?;
        }
        let pointers = KVec::with_capacity(attributes.len() + 1, GFP_KERNEL)?;
        let mut inner = KBox::pin_init(
            pin_init!(Inner {
                kobj: Opaque::new(bindings::kobject::default()),
                released <- Completion::new(),
                raw,
                pointers,
                group: bindings::attribute_group::default(),
                groups: [core::ptr::null(); 2],
                ktype: bindings::kobj_type::default(),
                data,
            }),
            GFP_KERNEL,
        )?;
        {
            // SAFETY: Nothing is moved out or in; only pointers between parts of the pinned object are set.
            let inner = unsafe { inner.as_mut().get_unchecked_mut() };
            for attribute in inner.raw.iter_mut() {
                inner.pointers.push(&raw mut attribute.raw, GFP_KERNEL)?;
            }
            inner.pointers.push(null_mut(), GFP_KERNEL)?;
            inner.group.__bindgen_anon_2.attrs = inner.pointers.as_mut_ptr();
            inner.groups = [&raw const inner.group, core::ptr::null()];
            inner.ktype = bindings::kobj_type {
                release: Some(Self::release),
                sysfs_ops: &Self::OPS,
                default_groups: inner.groups.as_mut_ptr(),
                ..Default::default()
            };
        }
        // SAFETY: The kobject is zeroed and pinned; type, name and parent are valid. From here on the drop of `Directory` undoes it,
        // also after a failure, as `kobject_init_and_add` wants.
        let result = to_result(unsafe {
            bindings::kobject_init_and_add(
                inner.kobj.get(),
                &inner.ktype,
                parent,
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        });
        let directory = Self { inner };
        result?;
        Ok(directory)
    }

    /// # Safety
    ///
    /// `kobj` is that of an `Inner<T>`.
    unsafe fn data<'a>(kobj: *mut bindings::kobject) -> &'a Arc<T> {
        // SAFETY: By the caller's promise; the object lives until sysfs has ended its calls.
        unsafe { &(*container_of!(Opaque::cast_from(kobj), Inner<T>, kobj)).data }
    }

    /// # Safety
    ///
    /// Called by sysfs alone, for an attribute of such a directory.
    unsafe extern "C" fn show(
        kobj: *mut bindings::kobject,
        attr: *mut bindings::attribute,
        buf: *mut c_char,
    ) -> isize {
        // SAFETY: sysfs calls this for attributes of this directory, which open with `raw`.
        let attribute = unsafe { (*attr.cast::<RawAttribute<T>>()).attribute };
        // SAFETY: As above.
        let data = unsafe { Self::data(kobj) };
        // SAFETY: sysfs hands over a zeroed page.
        let page = unsafe { core::slice::from_raw_parts_mut(buf.cast::<u8>(), PAGE_SIZE) };
        let mut output = Output { page, len: 0 };
        match attribute.show.ok_or(EIO).and_then(|f| f(data, &mut output)) {
            Ok(()) => output.len as isize,
            Err(e) => e.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// Called by sysfs alone, for an attribute of such a directory.
    unsafe extern "C" fn store(
        kobj: *mut bindings::kobject,
        attr: *mut bindings::attribute,
        buf: *const c_char,
        len: usize,
    ) -> isize {
        // SAFETY: As in `show`.
        let attribute = unsafe { (*attr.cast::<RawAttribute<T>>()).attribute };
        // SAFETY: As in `show`.
        let data = unsafe { Self::data(kobj) };
        // SAFETY: sysfs hands over so many bytes.
        let bytes = unsafe { core::slice::from_raw_parts(buf.cast::<u8>(), len) };
        match attribute.store.ok_or(EIO).and_then(|f| f(data, bytes)) {
            Ok(()) => len as isize,
            Err(e) => e.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// Called by the kernel alone, for the kobject of such a directory.
    unsafe extern "C" fn release(kobj: *mut bindings::kobject) {
        // SAFETY: The kernel calls this once, for the kobject of a directory, whose drop waits for it.
        unsafe {
            (*container_of!(Opaque::cast_from(kobj), Inner<T>, kobj))
                .released
                .complete_all()
        };
    }
}

impl<T: Send + Sync> Drop for Directory<T> {
    fn drop(&mut self) {
        // SAFETY: Initialised in `create`. `kobject_del` waits for calls that run; the last reference then is ours.
        unsafe {
            bindings::kobject_del(self.inner.kobj.get());
            bindings::kobject_put(self.inner.kobj.get());
        }
        self.inner.released.wait_uninterruptible();
    }
}
