// SPDX-License-Identifier: GPL-2.0
//! Helpers that several property tests share.
