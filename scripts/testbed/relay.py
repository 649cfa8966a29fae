# SPDX-License-Identifier: GPL-2.0
"""A slow, lossy or narrow cable: carries frames between a machine's tap and the bridge.

One process per shaped link, started and ended by links.py. Frames keep their virtio
header on the way, so that large segments and unfinished checksums pass as they are;
loss and delay then apply to a segment as the machine sent it.

usage: python3 -m testbed.relay TAP PORT DELAY_MS LOSS_PERCENT RATE_MBIT
"""

import fcntl
import heapq
import os
import random
import select
import socket
import struct
import sys
import time

TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
TUNSETVNETHDRSZ = 0x400454D8
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 = 1, 2, 4
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
ETH_P_ALL = 3
HEADER = 10  # struct virtio_net_hdr
QUEUE_SECONDS = 1.0  # what waits longer for its turn at the given rate is dropped


class Direction:
    """Frames on their way one way, by the time at which they are due."""

    def __init__(self, delay: float, loss: float, rate: float) -> None:
        self.delay, self.loss, self.rate = delay, loss, rate
        self.free_at = 0.0
        self.queue: list[tuple[float, int, bytes]] = []
        self.count = 0

    def put(self, frame: bytes, now: float) -> None:
        if random.random() < self.loss:
            return
        start = max(now, self.free_at)
        if start - now > QUEUE_SECONDS:
            return
        if self.rate:
            self.free_at = start = start + (len(frame) - HEADER) * 8 / self.rate
        self.count += 1
        heapq.heappush(self.queue, (start + self.delay, self.count, frame))

    def due(self, now: float):
        while self.queue and self.queue[0][0] <= now:
            yield heapq.heappop(self.queue)[2]

    def next_due(self) -> float | None:
        return self.queue[0][0] if self.queue else None


def open_port(name: str) -> int:
    """The second tap, whose other side becomes a port of the bridge."""
    port = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(port, TUNSETIFF, struct.pack("16sH22x", name.encode(),
                                             IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    fcntl.ioctl(port, TUNSETVNETHDRSZ, struct.pack("i", HEADER))
    fcntl.ioctl(port, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)
    return port


def open_tap(name: str) -> int:
    """A packet socket on the machine's tap, without the echo of what is sent on it."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind((name, ETH_P_ALL))
    sock.setblocking(False)
    return sock.detach()


def main() -> None:
    tap, port = open_tap(sys.argv[1]), open_port(sys.argv[2])
    figures = (float(sys.argv[3]) / 1000, float(sys.argv[4]) / 100, float(sys.argv[5]) * 1e6)
    ways = {tap: (Direction(*figures), port), port: (Direction(*figures), tap)}
    print("ready", flush=True)
    while True:
        times = [t for t in (way.next_due() for way, _ in ways.values()) if t is not None]
        wait = max(0.0, min(times) - time.monotonic()) if times else None
        readable, _, _ = select.select(list(ways), [], [], wait)
        now = time.monotonic()
        for source in readable:
            for _ in range(64):
                try:
                    frame = os.read(source, 70_000)
                except BlockingIOError:
                    break
                except OSError:
                    break  # the interface is down for the moment
                ways[source][0].put(frame, now)
        for way, target in ways.values():
            for frame in way.due(now):
                try:
                    os.write(target, frame)
                except OSError:
                    pass  # no room or no link: lost, as on a real cable


if __name__ == "__main__":
    main()
