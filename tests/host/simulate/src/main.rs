// SPDX-License-Identifier: GPL-2.0

//! `make simulate`: runs the policies on generated workloads or on a trace, and prints what came of it.

use banyan_policy::Policy;
use banyan_simulate::report::Report;
use banyan_simulate::workload::{generate, Kinds, Mix, Workload};
use banyan_simulate::{spread, trace};
use clap::Parser;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

/// Numbers of nodes for which ages are measured.
const SPREADS: [usize; 7] = [2, 8, 32, 128, 512, 2_048, 10_000];

/// Simulates the scheduler of Banyan: each policy on the same workloads, against round robin and against a bound that no
/// scheduler can beat. docs/developers/scheduling.md says how to read the output.
#[derive(Parser)]
#[command(name = "simulate")]
struct Args {
    /// Nodes of a generated cluster
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(2..=10_000))]
    nodes: u16,
    /// Seconds in which processes are started
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    seconds: u64,
    /// Work that is started, in percent of what all CPUs can do
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=200))]
    load: u32,
    /// Machines that lose their power in that time, and come back a minute later
    #[arg(long, default_value_t = 2)]
    losses: usize,
    /// How much the machines differ
    #[arg(long, default_value = "unequal", value_parser = clap::builder::PossibleValuesParser::new(Kinds::NAMES))]
    machines: String,
    /// First seed; the same seed gives the same run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Workloads, with consecutive seeds, whose processes count together
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: u64,
    /// Only these policies
    #[arg(long, value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(Policy::NAMES))]
    policy: Vec<String>,
    /// Replay this trace instead of generated workloads
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Write the (first) workload as a trace
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Do not measure how ages grow with the number of nodes
    #[arg(long)]
    no_ages: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write JSON to this file too
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// End with status 1 if a goal is missed
    #[arg(long)]
    check: bool,
}

fn workloads(args: &Args) -> Result<Vec<(u64, Workload)>, String> {
    if let Some(path) = &args.trace {
        let text = fs::read_to_string(path).map_err(|error| told(path, &error))?;
        let workload = trace::read(&text).map_err(|what| format!("{}: {what}", path.display()))?;
        return Ok(vec![(args.seed, workload)]);
    }
    let mix = Mix {
        nodes: args.nodes.into(),
        seconds: args.seconds,
        load: args.load,
        kinds: Kinds::named(&args.machines).unwrap_or(Kinds::Unequal),
        losses: args.losses,
    };
    let seeds = args.seed..args.seed.saturating_add(args.seeds);
    Ok(seeds.map(|seed| (seed, generate(&mix, seed))).collect())
}

fn told(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn run(args: &Args) -> Result<bool, String> {
    let workloads = workloads(args)?;
    if let (Some(path), Some((_, first))) = (&args.record, workloads.first()) {
        fs::write(path, trace::write(first)).map_err(|error| told(path, &error))?;
    }
    let names = if args.policy.is_empty() {
        Policy::NAMES.map(String::from).to_vec()
    } else {
        args.policy.clone()
    };
    let shown = io::stderr().is_terminal();
    let mut tell = |what: &str| {
        if shown {
            eprint!("\r\x1b[K{what}");
        }
    };
    let mut report = Report::make(&workloads, &names, &mut tell);
    if !args.no_ages {
        for nodes in SPREADS {
            tell(&format!("ages, {nodes} nodes"));
            report.spreads.push(spread::measure(nodes, args.seed));
        }
    }
    if shown {
        eprint!("\r\x1b[K");
    }
    let json = format!("{:#}\n", report.json());
    if let Some(path) = &args.out {
        fs::write(path, &json).map_err(|error| told(path, &error))?;
    }
    print!("{}", if args.json { json } else { report.text() });
    Ok(report.goals().iter().all(|(_, reached)| *reached))
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(reached) if reached || !args.check => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(what) => {
            eprintln!("simulate: {what}");
            ExitCode::from(2)
        }
    }
}
