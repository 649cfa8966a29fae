// SPDX-License-Identifier: GPL-2.0

//! What the property tests share: the simulated cluster.

pub mod sim;
