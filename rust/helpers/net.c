// SPDX-License-Identifier: GPL-2.0
/* Sockets: what needs the inside of struct sock. */
#include <linux/inetdevice.h>
#include <linux/iov_iter.h>
#include <linux/net.h>
#include <linux/poll.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>
#include <linux/tcp.h>
#include <net/net_namespace.h>
#include <net/sock.h>
#include <net/tcp.h>

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

static void copy_words(void *to, const void *from, size_t len)
{
	size_t words = len / sizeof(u64);

	asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
	memcpy(to, from, len % sizeof(u64));
}

static size_t take_step(void *to, size_t progress, size_t len, void *priv, void *priv2)
{
	copy_words(to, priv + progress, len);
	return 0;
}

static int take_actor(read_descriptor_t *desc, struct sk_buff *skb, unsigned int offset, size_t len)
{
	struct iov_iter *iter = desc->arg.data;
	struct skb_seq_state state;
	size_t taken = 0;

	len = min(len, iov_iter_count(iter));
	skb_prepare_seq_read(skb, offset, offset + len, &state);
	while (taken < len) {
		const u8 *data;
		unsigned int there = skb_seq_read(taken, &data, &state);

		if (!there)
			break;
		taken += iterate_and_advance_kernel(iter, min_t(size_t, there, len - taken), (void *)data, NULL, take_step);
	}
	skb_abort_seq_read(&state);
	desc->count = iov_iter_count(iter);
	return taken;
}

int banyan_sock_take(struct socket *sock, struct iov_iter *iter)
{
	read_descriptor_t desc = { .arg.data = iter, .count = iov_iter_count(iter) };
	int taken;

	lock_sock(sock->sk);
	taken = tcp_read_sock(sock->sk, &desc, take_actor);
	release_sock(sock->sk);
	return max(taken, 0);
}

void banyan_sock_tune(struct socket *sock, unsigned int user_timeout_ms)
{
	tcp_sock_set_nodelay(sock->sk);
	sock_set_keepalive(sock->sk);
	tcp_sock_set_user_timeout(sock->sk, user_timeout_ms);
}

void banyan_sock_limit(struct socket *sock, int bytes)
{
	struct sock *sk = sock->sk;

	sock_set_rcvbuf(sk, bytes / 2);
	lock_sock(sk);
	sk->sk_userlocks |= SOCK_SNDBUF_LOCK;
	WRITE_ONCE(sk->sk_sndbuf, bytes);
	release_sock(sk);
}

bool banyan_sock_unacknowledged(struct socket *sock)
{
	const struct tcp_sock *tcp = tcp_sk(sock->sk);

	return READ_ONCE(tcp->write_seq) != READ_ONCE(tcp->snd_una);
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
