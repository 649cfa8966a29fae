// SPDX-License-Identifier: GPL-2.0
/* Sockets: what needs the inside of struct sock. */
#include <linux/inetdevice.h>
#include <linux/net.h>
#include <linux/poll.h>
#include <linux/rtnetlink.h>
#include <linux/tcp.h>
#include <net/net_namespace.h>
#include <net/sock.h>

#include "net.h"

int banyan_sock_wait(struct socket *sock, enum banyan_sock_event event, enum banyan_wait how, unsigned int timeout_ms)
{
	__poll_t wanted = EPOLLERR | EPOLLHUP | (event == BANYAN_SOCK_READABLE ? EPOLLIN | EPOLLRDHUP : EPOLLOUT);
	unsigned int state = banyan_wait_state(how);
	long left = msecs_to_jiffies(timeout_ms);
	struct wait_queue_entry entry;
	int ret;

	banyan_wait_init(&entry);
	add_wait_queue(sk_sleep(sock->sk), &entry);
	for (;;) {
		ret = 0;
		/* Asks for a wake-up on write space, too. Without a poll table it adds no waiter of its own. */
		if (sock->ops->poll(NULL, sock, NULL) & wanted)
			break;
		ret = -EINTR;
		if (banyan_wait_must_end(how))
			break;
		ret = -ETIMEDOUT;
		if (!left)
			break;
		left = wait_woken(&entry, state, left);
	}
	remove_wait_queue(sk_sleep(sock->sk), &entry);
	return ret;
}

void banyan_sock_tune(struct socket *sock, unsigned int user_timeout_ms)
{
	tcp_sock_set_nodelay(sock->sk);
	sock_set_keepalive(sock->sk);
	tcp_sock_set_user_timeout(sock->sk, user_timeout_ms);
}

void banyan_sock_abort_on_close(struct socket *sock)
{
	sock_no_linger(sock->sk);
}

__be32 banyan_local_address(void)
{
	struct net_device *dev;
	__be32 address = 0;

	rtnl_lock();
	for_each_netdev(&init_net, dev) {
		const struct in_ifaddr *ifa;
		struct in_device *in_dev = __in_dev_get_rtnl(dev);

		if (!in_dev || (dev->flags & IFF_LOOPBACK) || !(dev->flags & IFF_UP))
			continue;
		in_dev_for_each_ifa_rtnl(ifa, in_dev) {
			if (ifa->ifa_scope == RT_SCOPE_UNIVERSE && !address)
				address = ifa->ifa_local;
		}
	}
	rtnl_unlock();
	return address;
}
