// SPDX-License-Identifier: GPL-2.0

//! Proofs of a shared key, and random numbers.
//!
//! C headers: [`include/crypto/sha2.h`](srctree/include/crypto/sha2.h),
//! [`include/linux/random.h`](srctree/include/linux/random.h)

use kernel::bindings;

/// Bytes of a SHA-256.
pub const SHA256_LEN: usize = 32;

/// HMAC-SHA-256 of `data` under `key`.
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; SHA256_LEN] {
    let mut mac = [0; SHA256_LEN];
    // SAFETY: Lengths and places are those of the slices.
    unsafe {
        bindings::hmac_sha256_usingrawkey(
            key.as_ptr(),
            key.len(),
            data.as_ptr(),
            data.len(),
            mac.as_mut_ptr(),
        )
    };
    mac
}

/// Fills `bytes` from the kernel's random number generator.
pub fn random(bytes: &mut [u8]) {
    // SAFETY: Length and place are those of the slice.
    unsafe { bindings::get_random_bytes(bytes.as_mut_ptr().cast(), bytes.len()) };
}

/// Random number.
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    random(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// A secret that is wiped when it goes.
#[derive(Clone)]
pub struct Secret<const N: usize>(pub [u8; N]);

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        for byte in &mut self.0 {
            // SAFETY: A valid place of our own. Volatile, so that the write is not left out.
            unsafe { core::ptr::write_volatile(byte, 0) };
        }
    }
}
