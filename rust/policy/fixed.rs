// SPDX-License-Identifier: GPL-2.0

//! Numbers with a fraction, for costs: the kernel has no floating point. Values; nobody owns them.

/// `a · b / c` without loss in between, rounded down; the greatest number if it does not fit or `c` is 0.
pub const fn scale(a: u64, b: u64, c: u64) -> u64 {
    // Two u64 always fit into the product.
    match (a as u128).wrapping_mul(b as u128).checked_div(c as u128) {
        Some(n) if n <= u64::MAX as u128 => n as u64,
        _ => u64::MAX,
    }
}

/// A number from 0 to 2^48 in steps of 1/65536. Sums and products stop at the greatest, differences at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fixed(u64);

/// 2^(2^-i) for i from 1 to 16, in steps of 2^-32.
const ROOTS: [u64; 16] = [
    0x16a09e668,
    0x1306fe0a3,
    0x1172b83c8,
    0x10b5586d0,
    0x1059b0d31,
    0x102c9a3e7,
    0x10163daa0,
    0x100b1afa6,
    0x10058c86e,
    0x1002c605e,
    0x100162f39,
    0x1000b175f,
    0x100058ba0,
    0x10002c5cc,
    0x1000162e5,
    0x10000b172,
];

impl Fixed {
    /// Bits of the fraction.
    const BITS: u32 = 16;
    /// 0.
    pub const ZERO: Self = Self(0);
    /// 1.
    pub const ONE: Self = Self(1 << Self::BITS);
    /// The greatest number, which stands for "too much" too.
    pub const MAX: Self = Self(u64::MAX);

    /// A whole number.
    pub const fn whole(n: u32) -> Self {
        Self((n as u64) << Self::BITS)
    }

    /// `a / b`; [`Fixed::MAX`] if `b` is 0.
    pub const fn ratio(a: u64, b: u64) -> Self {
        Self(scale(a, 1 << Self::BITS, b))
    }

    /// In steps of 1/65536, as it is stored: to be shown.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The whole number below.
    pub const fn floor(self) -> u64 {
        self.0 >> Self::BITS
    }

    /// Sum.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Difference, not below 0.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Product, rounded down.
    #[must_use]
    pub const fn times(self, other: Self) -> Self {
        let wide = (self.0 as u128).wrapping_mul(other.0 as u128) >> Self::BITS;
        Self(if wide > u64::MAX as u128 {
            u64::MAX
        } else {
            wide as u64
        })
    }

    /// So many hundredths of it.
    #[must_use]
    pub const fn percent(self, percent: u32) -> Self {
        Self(scale(self.0, percent as u64, 100))
    }

    /// `2^self`; [`Fixed::MAX`] from 2^47 on. Wrong by at most 2^-15 of itself.
    #[must_use]
    pub fn exp2(self) -> Self {
        let whole = self.floor();
        if whole >= 47 {
            return Self::MAX;
        }
        let mut result: u64 = 1 << 32;
        for (bit, &root) in (0..Self::BITS).rev().zip(&ROOTS) {
            if (self.0 >> bit) & 1 == 1 {
                // Both are below 2^33.
                result = (u128::from(result).wrapping_mul(root.into()) >> 32) as u64;
            }
        }
        // From steps of 2^-32 to steps of 2^-16, times 2^whole; the result is below 2^33 · 2^46.
        let wide = u128::from(result) << whole;
        Self((wide >> 16) as u64)
    }

    /// The binary logarithm of a whole number; 0 of 0 and 1. Too small by at most 2^-15.
    pub fn log2(n: u32) -> Self {
        let Some(whole) = n.checked_ilog2() else {
            return Self::ZERO;
        };
        // The mantissa, from 1 to 2, in steps of 2^-31; each squaring yields one bit of the fraction.
        let mut mantissa = u64::from(n) << 31_u32.saturating_sub(whole);
        let mut fraction = 0_u64;
        for _ in 0..Self::BITS {
            mantissa = scale(mantissa, mantissa, 1 << 31);
            fraction <<= 1;
            if mantissa >= 1 << 32 {
                mantissa >>= 1;
                fraction |= 1;
            }
        }
        Self((u64::from(whole) << Self::BITS) | fraction)
    }

    /// `n^self`.
    #[must_use]
    pub fn power_of(self, n: u32) -> Self {
        Self::log2(n).times(self).exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(x: Fixed) -> f64 {
        x.raw() as f64 / 65536.0
    }

    #[test]
    fn powers_are_near_those_of_floating_point() {
        for n in [1_u32, 2, 3, 7, 64, 127, 1_000, 10_000] {
            for percent in [0_u64, 1, 10, 33, 50, 99, 100, 101, 150, 200, 300] {
                let ours = float(Fixed::ratio(percent, 100).power_of(n));
                let true_one = f64::from(n).powf(percent as f64 / 100.0);
                assert!(
                    (ours / true_one - 1.0).abs() < 0.003,
                    "{n}^{percent}%: {ours} {true_one}"
                );
            }
        }
    }

    #[test]
    fn logarithms() {
        assert_eq!(Fixed::log2(0), Fixed::ZERO);
        assert_eq!(Fixed::log2(1), Fixed::ZERO);
        assert_eq!(Fixed::log2(1 << 31), Fixed::whole(31));
        for n in 2_u32..5_000 {
            assert!(
                (float(Fixed::log2(n)) - f64::from(n).log2()).abs() < 1.0 / 16384.0,
                "{n}"
            );
        }
    }

    #[test]
    fn the_edges_hold() {
        assert_eq!(Fixed::ratio(1, 0), Fixed::MAX);
        assert_eq!(scale(u64::MAX, u64::MAX, 1), u64::MAX);
        assert_eq!(scale(u64::MAX, u64::MAX, u64::MAX), u64::MAX);
        assert_eq!(Fixed::MAX.plus(Fixed::ONE), Fixed::MAX);
        assert_eq!(Fixed::ZERO.minus(Fixed::ONE), Fixed::ZERO);
        assert_eq!(Fixed::MAX.exp2(), Fixed::MAX);
        assert_eq!(Fixed::whole(46).exp2().floor(), 1 << 46);
        assert_eq!(Fixed::whole(u32::MAX).power_of(u32::MAX), Fixed::MAX);
        assert_eq!(
            Fixed::whole(3).times(Fixed::ratio(1, 2)),
            Fixed::ratio(3, 2)
        );
        assert_eq!(Fixed::whole(8).percent(125), Fixed::whole(10));
    }
}
