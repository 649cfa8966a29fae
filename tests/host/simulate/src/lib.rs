// SPDX-License-Identifier: GPL-2.0

//! What the simulator is made of: workloads, machines, the cluster that runs the policies, the bound, the report.

pub mod bound;
pub mod cluster;
pub mod machine;
pub mod outcome;
pub mod report;
pub mod spread;
pub mod trace;
pub mod workload;
