// SPDX-License-Identifier: GPL-2.0

//! Arguments of the device's ioctls: size-first structs, copied by the rule of `banyan_wire::uapi`.

use banyan_wire::Wire;
use kernel::{
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// Longest argument that is looked at.
const MOST: usize = 4096;

fn wire_error(_: banyan_wire::WireError) -> Error {
    EINVAL
}

/// Reads a struct whose first field is its size.
///
/// # Errors
///
/// `EFAULT`; `EINVAL` if it is shorter than this kernel's or a field has a value without meaning; `E2BIG` if it is longer and the
/// rest is not zero.
pub fn read<T: Wire>(address: usize) -> Result<T> {
    let mut size = [0; 4];
    UserSlice::new(UserPtr::from_addr(address), size.len())
        .reader()
        .read_slice(&mut size)?;
    let size = u32::from_ne_bytes(size) as usize;
    if size < T::SIZE {
        return Err(EINVAL);
    }
    if size > MOST {
        return Err(E2BIG);
    }
    let mut bytes = KVec::from_elem(0u8, size, GFP_KERNEL)?;
    UserSlice::new(UserPtr::from_addr(address), size)
        .reader()
        .read_slice(&mut bytes)?;
    let (known, rest) = bytes.split_at_checked(T::SIZE).ok_or(EINVAL)?;
    if rest.iter().any(|byte| *byte != 0) {
        return Err(E2BIG);
    }
    T::decode(known).map_err(wire_error)
}

/// Writes a struct back to where it was read from.
///
/// # Errors
///
/// `EFAULT`.
pub fn write<T: Wire>(address: usize, value: &T) -> Result {
    let mut bytes = KVec::from_elem(0u8, T::SIZE, GFP_KERNEL)?;
    value.encode(&mut bytes).map_err(wire_error)?;
    UserSlice::new(UserPtr::from_addr(address), bytes.len())
        .writer()
        .write_slice(&bytes)
}

/// Writes as many of `values` as there is room for to the array at `address`. Returns how many there are.
///
/// # Errors
///
/// `EFAULT`. The caller answers `ENOSPC` if there are more than `room`.
pub fn write_array<T: Wire>(
    address: u64,
    room: usize,
    values: impl Iterator<Item = T>,
) -> Result<usize> {
    let mut bytes = KVec::from_elem(0u8, T::SIZE, GFP_KERNEL)?;
    let mut count = 0;
    for value in values {
        if count < room {
            value.encode(&mut bytes).map_err(wire_error)?;
            let offset = count.checked_mul(T::SIZE).ok_or(EOVERFLOW)?;
            let to = (address as usize).checked_add(offset).ok_or(EFAULT)?;
            UserSlice::new(UserPtr::from_addr(to), bytes.len())
                .writer()
                .write_slice(&bytes)?;
        }
        count += 1;
    }
    Ok(count)
}
