/* SPDX-License-Identifier: GPL-2.0 */
/* Sockets: what needs the inside of struct sock. */
#ifndef BANYAN_NET_H
#define BANYAN_NET_H

#include <linux/types.h>

#include "sync.h"

struct iov_iter;
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

/*
 * Moves what a TCP socket has received into what an iterator of kernel memory describes, and the iterator on. Does not wait. Returns the number of
 * bytes; 0 if there is nothing to be had this way, which says nothing of why: ask the socket by sock_recvmsg(). Copies by words, which no CPU does
 * slower than by the kernel's own memcpy(), and which some (emulated ones) do much faster.
 */
int banyan_sock_take(struct socket *sock, struct iov_iter *iter);

/* Sets a stream socket up as Banyan uses it: no Nagle delay; keepalive; gives up on unacknowledged data after user_timeout_ms. */
void banyan_sock_tune(struct socket *sock, unsigned int user_timeout_ms);

/* The most memory that data waiting in either direction may take, instead of what the kernel would let it grow to. */
void banyan_sock_limit(struct socket *sock, int bytes);

/* Whether something was sent that the other end has not yet got. */
bool banyan_sock_unacknowledged(struct socket *sock);

/* Forgets lingering data on close (RST), for peers that are dead. */
void banyan_sock_abort_on_close(struct socket *sock);

/* The IPv4 address of an interface, in network order, for a node that is told none: the first that is global; 0 if there is none. */
__be32 banyan_local_address(void);

#endif
