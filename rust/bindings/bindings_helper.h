/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The headers from which the bindings of crate banyan_bindings are generated; bindgen_parameters chooses what of them. A macro
 * that bindgen cannot see gets a line at the end: BANYAN_CONST_HELPER_X becomes the constant X.
 */
#include <linux/hrtimer_types.h>
#include <linux/kthread.h>
#include <linux/net.h>
#include <linux/reboot.h>
#include <linux/socket.h>
#include <linux/tcp.h>
#include <net/sock.h>
#include <net/tcp.h>

#include "helpers.h"


const __u32 BANYAN_CONST_HELPER_MSG_SPLICE_PAGES = MSG_SPLICE_PAGES;
