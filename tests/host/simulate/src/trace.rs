// SPDX-License-Identifier: GPL-2.0

//! Recorded workloads: lines of words. `docs/developers/scheduling.md` tells the format.
//!
//! ```text
//! node CPUS MHZ MEMORY_KIB
//! job START_MS HOME WORK_MS RSS_KIB PROGRAM
//! loss AT_MS NODE BACK_MS
//! ```

use crate::workload::{Job, Loss, Machine, Workload};
use std::fmt::Write;
use std::str::{FromStr, SplitWhitespace};

/// Most nodes.
pub const MOST: usize = 10_000;

/// Reads a trace.
///
/// # Errors
/// The first line that is wrong, and how.
pub fn read(text: &str) -> Result<Workload, String> {
    let mut workload = Workload::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("");
        let mut words = line.split_whitespace();
        let Some(kind) = words.next() else { continue };
        let done = match kind {
            "node" => machine(&mut words).map(|machine| workload.machines.push(machine)),
            "job" => job(&mut words).map(|job| workload.jobs.push(job)),
            "loss" => loss(&mut words).map(|loss| workload.losses.push(loss)),
            _ => Err(format!("no line begins with {kind}")),
        };
        done.and_then(|()| {
            words
                .next()
                .map_or(Ok(()), |word| Err(format!("{word} is one word too many")))
        })
        .map_err(|what| format!("line {}: {what}", number + 1))?;
    }
    let nodes = workload.machines.len();
    if !(2..=MOST).contains(&nodes) {
        return Err(format!("{nodes} nodes; there must be 2 to {MOST}"));
    }
    let homes = workload.jobs.iter().map(|job| job.home);
    if let Some(number) = homes
        .chain(workload.losses.iter().map(|loss| loss.machine))
        .find(|&number| number >= nodes)
    {
        return Err(format!("there is no node {}", number + 1));
    }
    workload.jobs.sort_by_key(|job| job.start);
    workload.losses.sort_by_key(|loss| loss.at);
    Ok(workload)
}

/// Writes one that reads as the same.
pub fn write(workload: &Workload) -> String {
    let mut out = String::new();
    for m in &workload.machines {
        let _ = writeln!(out, "node {} {} {}", m.cpus, m.mhz, m.memory_kib);
    }
    for j in &workload.jobs {
        let start = j.start as f64 / 1_000.0;
        let _ = writeln!(
            out,
            "job {start} {} {} {} p{}",
            j.home + 1,
            j.work_ms,
            j.rss_kib,
            j.program
        );
    }
    for l in &workload.losses {
        let _ = writeln!(
            out,
            "loss {} {} {}",
            l.at as f64 / 1_000.0,
            l.machine + 1,
            l.back as f64 / 1_000.0
        );
    }
    out
}

fn word<T: FromStr>(words: &mut SplitWhitespace<'_>, name: &str) -> Result<T, String> {
    let word = words.next().ok_or(format!("{name} is missing"))?;
    word.parse().map_err(|_| format!("{name} cannot be {word}"))
}

fn least<T: PartialOrd + From<u8>>(value: T, name: &str) -> Result<T, String> {
    if value >= T::from(1) {
        Ok(value)
    } else {
        Err(format!("{name} must be at least 1"))
    }
}

/// Milliseconds, perhaps with a fraction, as microseconds.
fn micros(words: &mut SplitWhitespace<'_>, name: &str) -> Result<u64, String> {
    let ms: f64 = word(words, name)?;
    if (0.0..1e12).contains(&ms) {
        Ok((ms * 1_000.0).round() as u64)
    } else {
        Err(format!("{name} is out of range"))
    }
}

/// Nodes are counted from 1, as ids.
fn node(words: &mut SplitWhitespace<'_>, name: &str) -> Result<usize, String> {
    Ok(least(word::<usize>(words, name)? as u64, name)? as usize - 1)
}

fn machine(words: &mut SplitWhitespace<'_>) -> Result<Machine, String> {
    Ok(Machine {
        cpus: least(word(words, "CPUS")?, "CPUS")?,
        mhz: least(word(words, "MHZ")?, "MHZ")?,
        memory_kib: least(word(words, "MEMORY_KIB")?, "MEMORY_KIB")?,
    })
}

fn job(words: &mut SplitWhitespace<'_>) -> Result<Job, String> {
    Ok(Job {
        start: micros(words, "START_MS")?,
        home: node(words, "HOME")?,
        work_ms: least(word(words, "WORK_MS")?, "WORK_MS")?,
        rss_kib: word(words, "RSS_KIB")?,
        program: word::<String>(words, "PROGRAM").map(|name| hash(&name))?,
    })
}

fn loss(words: &mut SplitWhitespace<'_>) -> Result<Loss, String> {
    let loss = Loss {
        at: micros(words, "AT_MS")?,
        machine: node(words, "NODE")?,
        back: micros(words, "BACK_MS")?,
    };
    if loss.back > loss.at {
        Ok(loss)
    } else {
        Err("BACK_MS must be after AT_MS".into())
    }
}

/// Programs are known by their names' hashes; `p` and a number stands for that number.
fn hash(name: &str) -> u64 {
    let own = name
        .strip_prefix('p')
        .and_then(|number| number.parse().ok());
    own.unwrap_or_else(|| {
        name.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{generate, Kinds, Mix};

    #[test]
    fn what_is_written_is_read() {
        let mix = Mix {
            nodes: 9,
            seconds: 20,
            load: 50,
            kinds: Kinds::Unequal,
            losses: 2,
        };
        let workload = generate(&mix, 3);
        assert!(!workload.jobs.is_empty() && !workload.losses.is_empty());
        assert_eq!(read(&write(&workload)).unwrap(), workload);
        assert_eq!(generate(&mix, 3), workload);
        assert_ne!(generate(&mix, 4), workload);
    }

    #[test]
    fn mistakes_are_named() {
        let two = "node 1 3000 100\nnode 2 3000 100 # second\n\n";
        assert_eq!(
            read(&format!("{two}job 1.5 2 10 10 cc1")).unwrap().jobs[0].start,
            1_500
        );
        for (line, what) in [
            ("job 1 3 10 10 cc1", "there is no node 3"),
            ("job 1 0 10 10 cc1", "line 4: HOME must be at least 1"),
            ("job 1 1 x 10 cc1", "line 4: WORK_MS cannot be x"),
            ("job 1 1 1 10", "line 4: PROGRAM is missing"),
            ("node 1 1 1 1", "line 4: 1 is one word too many"),
            ("loss 5 1 5", "line 4: BACK_MS must be after AT_MS"),
            ("nodes", "line 4: no line begins with nodes"),
        ] {
            assert_eq!(read(&format!("{two}{line}")).unwrap_err(), what);
        }
        assert_eq!(
            read("node 1 1 1").unwrap_err(),
            "1 nodes; there must be 2 to 10000"
        );
    }
}
