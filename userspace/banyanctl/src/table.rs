// SPDX-License-Identifier: GPL-2.0
//! A table of text for people: columns as wide as their widest cell, numbers to the right; and figures in short words.
//!
//! One [`Table`] per printed list, owned by the command that prints it.

use std::fmt;

/// How a column is aligned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Align {
    Left,
    Right,
}

/// Rows under a headline.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Appends a row; cells that are missing stay empty.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    fn width(&self, column: usize, title: &str) -> usize {
        self.rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .fold(title.chars().count(), usize::max)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(i, (title, _))| self.width(i, title))
            .collect();
        let title = self
            .columns
            .iter()
            .map(|(title, _)| (*title).to_owned())
            .collect();
        for row in std::iter::once(&title).chain(&self.rows) {
            let mut line = String::new();
            for (((_, align), width), cell) in self.columns.iter().zip(&widths).zip(row.iter()) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                match align {
                    Align::Left => line.push_str(&format!("{cell:<width$}")),
                    Align::Right => line.push_str(&format!("{cell:>width$}")),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// KiB in the largest unit that keeps at least two digits: `812 KiB`, `1.5 GiB`.
pub fn size(kib: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = kib as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 100.0 {
        format!("{value:.0} {}", units[unit])
    } else {
        format!("{value:.1} {}", units[unit])
    }
}

/// Seconds as `45s`, `12m`, `3h05m`, `2d4h`.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..=86399 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// Microseconds as `850 us`, `12.4 ms`, `1.25 s`.
pub fn span(micros: u64) -> String {
    match micros {
        0..=999 => format!("{micros} us"),
        1000..=999_999 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[
            ("NAME", Align::Left),
            ("CPUS", Align::Right),
            ("STATE", Align::Left),
        ]);
        table.row(vec!["a".into(), "128".into(), "up".into()]);
        table.row(vec!["longer".into(), "4".into(), "suspect".into()]);
        assert_eq!(
            table.to_string(),
            "NAME    CPUS  STATE\na        128  up\nlonger     4  suspect\n"
        );
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(size(812), "812 KiB");
        assert_eq!(size(786_432), "768 MiB");
        assert_eq!(size(1_572_864), "1.5 GiB");
        assert_eq!(size(u64::MAX), "17179869184 TiB");
        assert_eq!(duration(59), "59s");
        assert_eq!(duration(61), "1m01s");
        assert_eq!(duration(3 * 3600 + 5 * 60), "3h05m");
        assert_eq!(duration(2 * 86400 + 4 * 3600), "2d4h");
        assert_eq!(span(850), "850 us");
        assert_eq!(span(12_400), "12.4 ms");
        assert_eq!(span(1_250_000), "1.25 s");
    }
}
