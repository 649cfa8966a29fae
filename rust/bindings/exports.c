// SPDX-License-Identifier: GPL-2.0
/*
 * Exports the Rust symbols and C helpers of banyan.ko to the other modules of Banyan. The list is generated (see Kbuild); the
 * types do not matter here, only the names, since the users are compiled against the crates' metadata.
 */
#include <linux/export.h>

#define BANYAN_EXPORT(sym) extern int sym; EXPORT_SYMBOL_GPL(sym);
#include "exports_generated.h"
