// SPDX-License-Identifier: GPL-2.0

//! How long programs of a name live: one [`Lives`] per node, fed at each exit, asked at each placement.

use core::ops::DerefMut;

/// What is known of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    name: u64,
    mean_ms: u64,
    seen: u32,
}

/// The learned lives: a row per name, found by its hash; the memory is the owner's. Of two names that fall on one row
/// the later one has it.
#[derive(Clone, Debug)]
pub struct Lives<T> {
    rows: T,
}

impl<T: DerefMut<Target = [Life]>> Lives<T> {
    /// Lives after which a mean is believed.
    pub const ENOUGH: u32 = 3;

    /// Knows nothing.
    pub fn new(mut rows: T) -> Self {
        rows.fill(Life::default());
        Self { rows }
    }

    fn place(&self, name: u64) -> usize {
        let rows = self.rows.len() as u64;
        name.checked_rem(rows).unwrap_or(0) as usize
    }

    /// A program of this name (hashed) ended after so much CPU time.
    pub fn ended(&mut self, name: u64, cpu_ms: u64) {
        let place = self.place(name);
        let Some(row) = self.rows.get_mut(place) else {
            return;
        };
        if row.name != name || row.seen == 0 {
            *row = Life {
                name,
                mean_ms: cpu_ms,
                seen: 1,
            };
            return;
        }
        row.seen = row.seen.saturating_add(1);
        // The mean of all at first, then one that forgets.
        let weight = u64::from(row.seen.min(16));
        let change = row
            .mean_ms
            .abs_diff(cpu_ms)
            .checked_div(weight)
            .unwrap_or(0);
        row.mean_ms = if cpu_ms > row.mean_ms {
            row.mean_ms.saturating_add(change)
        } else {
            row.mean_ms.saturating_sub(change)
        };
    }

    /// The mean CPU time of programs of this name, if enough of them have ended.
    pub fn mean_ms(&self, name: u64) -> Option<u64> {
        let row = self.rows.get(self.place(name))?;
        (row.name == name && row.seen >= Self::ENOUGH).then_some(row.mean_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_learned_and_forgotten() {
        let mut lives = Lives::new(vec![Life::default(); 4]);
        for _ in 0..2 {
            lives.ended(5, 100);
        }
        assert_eq!(lives.mean_ms(5), None);
        lives.ended(5, 400);
        assert_eq!(lives.mean_ms(5), Some(200));
        for _ in 0..200 {
            lives.ended(5, 1_000);
        }
        assert!(lives.mean_ms(5).unwrap() > 980);
        lives.ended(9, 1);
        assert_eq!(lives.mean_ms(5), None);
        let mut none: Lives<&mut [Life]> = Lives::new(&mut []);
        none.ended(1, 1);
        assert_eq!(none.mean_ms(1), None);
    }
}
