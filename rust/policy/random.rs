// SPDX-License-Identifier: GPL-2.0

//! Numbers for choices that must differ from node to node, not be secret: one [`Random`] per owner of choices.

/// A small generator (xorshift with a multiplied output).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Random(u64);

impl Random {
    /// From a seed; each node's is its own. 0 will do as well.
    pub const fn new(seed: u64) -> Self {
        // Seeds that differ in few bits must not begin alike.
        let mixed = (seed ^ 0x5bd1_e995_97f4_a7c5).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self((mixed ^ (mixed >> 29)) | 1)
    }

    /// 32 bits.
    pub fn draw(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// One of the numbers below `end`; 0 if there is none.
    pub fn below(&mut self, end: u32) -> u32 {
        // The product of two u32 fits.
        (u64::from(self.draw()).wrapping_mul(u64::from(end)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_values_come_about_equally_often() {
        let mut random = Random::new(0);
        let mut seen = [0_u32; 7];
        for _ in 0..7_000 {
            seen[random.below(7) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (800..1_200).contains(n)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }
}
