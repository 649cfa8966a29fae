/* SPDX-License-Identifier: GPL-2.0 */
/*
 * All C helpers of Banyan, for bindgen: one header for each topic, beside the C file that implements it. Helpers exist for what
 * Rust cannot reach: inline functions, macros, and structs that kernel::bindings knows only by name.
 */
#ifndef BANYAN_HELPERS_H
#define BANYAN_HELPERS_H

#include "calls.h"
#include "deputy.h"
#include "files.h"
#include "groups.h"
#include "ksym.h"
#include "machine.h"
#include "memory.h"
#include "net.h"
#include "parameters.h"
#include "proxyfs.h"
#include "registers.h"
#include "shared_memory.h"
#include "state.h"
#include "sync.h"
#include "timers.h"

#endif
