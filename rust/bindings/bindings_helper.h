/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The headers from which the bindings of crate banyan_bindings are generated; bindgen_parameters chooses what of them. A macro
 * that bindgen cannot see gets a line at the end: BANYAN_CONST_HELPER_X becomes the constant X.
 */
#include <linux/hrtimer_types.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/net.h>
#include <linux/pkeys.h>
#include <linux/reboot.h>
#include <linux/regset.h>
#include <linux/socket.h>
#include <linux/tcp.h>
#include <net/sock.h>
#include <net/tcp.h>
#include <asm/prctl.h>

#include "helpers.h"


const __u32 BANYAN_CONST_HELPER_MSG_SPLICE_PAGES = MSG_SPLICE_PAGES;

/* Flags of mappings that kernel::bindings does not show. */
const unsigned long BANYAN_CONST_HELPER_AREA_GROWSDOWN = VM_GROWSDOWN;
const unsigned long BANYAN_CONST_HELPER_AREA_LOCKED = VM_LOCKED;
const unsigned long BANYAN_CONST_HELPER_AREA_UFFD = VM_UFFD_MISSING | VM_UFFD_WP | VM_UFFD_MINOR | VM_UFFD_RWP;
const unsigned long BANYAN_CONST_HELPER_AREA_SEALED = VM_SEALED;
const unsigned long BANYAN_CONST_HELPER_AREA_SHADOW_STACK = VM_SHADOW_STACK;
const unsigned long BANYAN_CONST_HELPER_AREA_PKEYS = ARCH_VM_PKEY_FLAGS;
const unsigned long BANYAN_CONST_HELPER_AREA_SEQ_READ = VM_SEQ_READ;
const unsigned long BANYAN_CONST_HELPER_AREA_RAND_READ = VM_RAND_READ;
const unsigned long BANYAN_CONST_HELPER_AREA_MAYBE_GUARD = VM_MAYBE_GUARD;
const unsigned long BANYAN_CONST_HELPER_AREA_DROPPABLE = VM_DROPPABLE;
/* All that is carried, or follows from what is carried. That a mapping was written since somebody asked is not worth keeping. */
const unsigned long BANYAN_CONST_HELPER_AREA_CARRIED = VM_READ | VM_WRITE | VM_EXEC | VM_SHARED | VM_MAYREAD | VM_MAYWRITE |
	VM_MAYEXEC | VM_MAYSHARE | VM_GROWSDOWN | VM_MAYBE_GUARD | VM_SEQ_READ | VM_RAND_READ | VM_DONTCOPY | VM_ACCOUNT |
	VM_NORESERVE | VM_WIPEONFORK | VM_DONTDUMP | VM_SOFTDIRTY | VM_HUGEPAGE | VM_NOHUGEPAGE | VM_MERGEABLE | VM_DROPPABLE;
