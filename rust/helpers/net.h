/* SPDX-License-Identifier: GPL-2.0 */
/* Sockets: what needs the inside of struct sock. */
#ifndef BANYAN_NET_H
#define BANYAN_NET_H

#include <linux/types.h>

#include "sync.h"

struct socket;

enum banyan_sock_event {
	BANYAN_SOCK_READABLE,
	BANYAN_SOCK_WRITABLE,
};

/*
 * Waits until a call without blocking would make progress or fail. Returns 0, -ETIMEDOUT after timeout_ms without that,
 * -EINTR on a signal that ends the wait or when the kernel thread is to stop.
 */
int banyan_sock_wait(struct socket *sock, enum banyan_sock_event event, enum banyan_wait how, unsigned int timeout_ms);

/* Sets a stream socket up as Banyan uses it: no Nagle delay; keepalive; gives up on unacknowledged data after user_timeout_ms. */
void banyan_sock_tune(struct socket *sock, unsigned int user_timeout_ms);

/* Forgets lingering data on close (RST), for peers that are dead. */
void banyan_sock_abort_on_close(struct socket *sock);

/* The IPv4 address of an interface, in network order, for a node that is told none: the first that is global; 0 if there is none. */
__be32 banyan_local_address(void);

#endif
