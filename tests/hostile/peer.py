#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A hostile peer: talks to a node as no good node would, and checks that it is refused and the node lives on.

    peer.py ADDRESS [--port 7227] [--cluster NAME] [--key FILE] [--node N] [--seed S] [ATTACK...]

An implementation of the protocol of its own (see docs/developers/wire-protocol.md), with nothing but the standard library, so
that it also shows that the description is complete. With the key it also attacks as a member gone mad.
Without ATTACK all are run.
One line for each, then `N passed, M failed`; the exit status is 1 if one failed.
"""
import argparse
import contextlib
import hashlib
import hmac
import os
import pathlib
import random
import socket
import struct
import sys
import time

HELLO = struct.Struct('<8sHBBI32s32sQ')
FRAME = struct.Struct('<IHHIIQ')
VERDICT = struct.Struct('<HHIQ')
DEAD = struct.Struct('<QIB3x')
FEATURES = 560
MAGIC = b'BANYAN\r\n'
FRAME_MAGIC = int.from_bytes(b'BNYF', 'little')
VERSION = 2
CONTROL, BULK = 1, 2
REPLY, ERROR, REQUEST, OPTIONAL = 1, 2, 4, 0x8000
MAX_PAYLOAD = 131072
HEARTBEAT, MEMBERS, LEAVE, DEAD_OP = 1, 2, 3, 4
# A node gives a whole handshake 5 s.
PATIENCE = 9


class Failed(Exception):
    """The node did what it must not."""


def need(condition, words):
    if not condition:
        raise Failed(words)


class Peer:
    """One connection to the node."""

    def __init__(self, options, key=None, node=None, role=CONTROL, tag=0, cluster=None, version=VERSION):
        self.options = options
        self.key = options.key if key is None else key
        self.node = node or options.node
        self.role, self.tag, self.version = role, tag, version
        self.cluster = (cluster or options.cluster).encode()
        self.nonce = os.urandom(32)
        self.theirs = None
        self.epoch = 1
        self.socket = socket.create_connection((options.address, options.port), timeout=PATIENCE)

    def close(self):
        self.socket.close()

    def send(self, data):
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)

    def read(self, count):
        """Exactly so many bytes, or what came before the node closed the connection."""
        data = b''
        while len(data) < count:
            try:
                more = self.socket.recv(count - len(data))
            except ConnectionError:
                break
            if not more:
                break
            data += more
        return data

    def closed(self, words='the node keeps the connection open', within=PATIENCE):
        """Waits until the node closes; returns what it still sent."""
        end, data = time.monotonic() + within, b''
        while time.monotonic() < end:
            self.socket.settimeout(max(0.05, end - time.monotonic()))
            try:
                more = self.socket.recv(65536)
            except TimeoutError:
                break
            except ConnectionError:
                return data
            if not more:
                return data
            data += more
        raise Failed(words)

    def hello(self):
        return HELLO.pack(MAGIC, self.version, self.role, self.node, 0, self.cluster, self.nonce, self.tag)

    def proof(self, label, client, server):
        return hmac.new(self.key, label + client + server, hashlib.sha256).digest()

    def features(self, incarnation=None):
        incarnation = incarnation or time.time_ns()
        head = struct.pack('<HHHHI', VERSION, 1, 1, 7227, int.from_bytes(socket.inet_aton('10.255.255.1'), 'little'))
        head += struct.pack('<HBBQQQII', 1, self.node, 0, incarnation, 1 << 20, 3, 576, 0)
        self.incarnation = incarnation
        return head.ljust(FEATURES, b'\0')

    def greet(self):
        """Hellos and proofs with the right key; returns everything that was sent."""
        ours = self.hello()
        self.send(ours)
        self.theirs = self.read(HELLO.size)
        need(len(self.theirs) == HELLO.size, 'no hello')
        proof = self.proof(b'banyan1 client', ours, self.theirs)
        self.send(proof)
        answer = self.read(32)
        need(answer == self.proof(b'banyan1 server', ours, self.theirs), 'no good proof')
        return ours + proof

    def verdict(self):
        """Accepts; returns the node's refusal code, 0 = accepted."""
        self.send(VERDICT.pack(0, 0, 0, 0))
        answer = self.read(VERDICT.size)
        need(len(answer) == VERDICT.size, 'no verdict')
        return VERDICT.unpack(answer)[0]

    def join(self):
        """Becomes a member."""
        self.greet()
        self.send(self.features())
        need(len(self.read(FEATURES)) == FEATURES, 'no features')
        code = self.verdict()
        need(code == 0, f'refused as member with code {code}')
        return self

    def frame(self, op, payload=b'', flags=0, number=0, length=None, magic=FRAME_MAGIC):
        length = len(payload) if length is None else length
        self.send(FRAME.pack(magic, op, flags, length, self.epoch, number) + payload)

    def reply(self, number, within=PATIENCE):
        """Reads frames until the answer to this request; returns its flags and payload."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            head = self.read(FRAME.size)
            need(len(head) == FRAME.size, 'the connection ended instead of an answer')
            magic, _, flags, length, self.epoch, got = FRAME.unpack(head)
            need(magic == FRAME_MAGIC and length <= MAX_PAYLOAD, 'a bad frame from the node')
            payload = self.read(length)
            if flags & REPLY and got == number:
                return flags, payload
            self.frame(HEARTBEAT, bytes(48))
        raise Failed('no answer')

    def leave(self):
        self.frame(LEAVE, struct.pack('<Q', self.incarnation))
        # The node must have read it before the next attack comes with the same id.
        with contextlib.suppress(Failed):
            self.closed(within=3)
        self.close()


def garbage(options):
    """Random bytes, from one to many: closed, and not a byte in answer."""
    for count in (1, 24, 87, 88, 89, 200, 5000, 100000):
        peer = Peer(options)
        peer.send(options.random.randbytes(count))
        if count < HELLO.size:
            peer.socket.shutdown(socket.SHUT_WR)
        need(peer.closed() == b'', f'an answer to {count} random bytes')
        peer.close()


def half_hello(options):
    """Half a hello, then silence; and one byte at a time: the node does not wait for ever."""
    for slow in (False, True):
        peer = Peer(options)
        data = peer.hello()[:60]
        start = time.monotonic()
        if slow:
            for byte in data:
                peer.send(bytes([byte]))
                time.sleep(0.2)
                if time.monotonic() - start > PATIENCE:
                    break
        else:
            peer.send(data)
        need(peer.closed() == b'', 'an answer to half a hello')
        peer.close()


def half_handshake(options):
    """A good hello, then silence or the end."""
    for end in (False, True):
        peer = Peer(options)
        peer.send(peer.hello())
        need(len(peer.read(HELLO.size)) == HELLO.size, 'no hello')
        if end:
            peer.socket.shutdown(socket.SHUT_WR)
        need(peer.closed() == b'', 'more than a hello for a stranger')
        peer.close()


def other_cluster(options):
    """Another cluster, another version, the node's own id: a hello so that both can say why, then the end."""
    peer = Peer(options)
    peer.send(peer.hello())
    theirs = HELLO.unpack(peer.read(HELLO.size))
    peer.close()
    for change in ({'cluster': 'another'}, {'version': 77}, {'node': theirs[3]}):
        peer = Peer(options, **change)
        peer.send(peer.hello() + bytes(32))
        need(len(peer.closed()) in (0, HELLO.size), f'more than a hello with {change}')
        peer.close()
    for node, role in ((0, CONTROL), (200, CONTROL), (options.node, 9)):
        peer = Peer(options)
        data = bytearray(peer.hello())
        data[10], data[11] = role, node
        peer.send(bytes(data) + bytes(32))
        need(len(peer.closed()) in (0, HELLO.size), f'more than a hello with node {node}, role {role}')
        peer.close()


def wrong_key(options):
    """Proofs by another key, of zeros, of random bytes: 32 zeros, then the end."""
    for proof in (None, bytes(32), options.random.randbytes(32)):
        peer = Peer(options, key=os.urandom(32))
        ours = peer.hello()
        peer.send(ours)
        theirs = peer.read(HELLO.size)
        peer.send(proof or peer.proof(b'banyan1 client', ours, theirs))
        need(peer.closed() == bytes(32), 'another answer to a wrong proof than zeros')
        peer.close()


def reflect(options):
    """What the node says, sent back to it, on the same connection and on another one."""
    first = Peer(options)
    first.send(first.hello())
    theirs = first.read(HELLO.size)
    second = Peer(options)
    second.send(theirs + bytes(32))
    need(len(second.closed()) in (0, HELLO.size), 'more than a hello for its own hello')
    first.send(theirs[:32])
    first.closed()
    # Its own nonce under another id.
    third = Peer(options)
    third.nonce = theirs[48:80]
    third.send(third.hello() + bytes(32))
    need(len(third.closed()) <= HELLO.size + 32, 'too much for its own nonce')
    for peer in (first, second, third):
        peer.close()


def replay(options):
    """A whole good handshake, sent again."""
    peer = Peer(options)
    sent = peer.greet()
    peer.close()
    for _ in range(3):
        peer = Peer(options)
        peer.send(sent)
        answer = peer.closed()
        need(len(answer) == HELLO.size + 32 and answer[HELLO.size:] == bytes(32), 'a replayed handshake got further')
        peer.close()


def flood(options):
    """Hundreds of connections that say nothing; when they are gone a good one gets in."""
    peers = []
    for _ in range(300):
        with contextlib.suppress(OSError):
            peers.append(Peer(options))
    for peer in peers:
        peer.close()
    alive(options, tries=10)


def bad_features(options):
    """The right key, then features of random bytes, or half of them, or a verdict out of order."""
    for data in (options.random.randbytes(FEATURES), bytes(FEATURES), bytes(100), VERDICT.pack(0, 0, 0, 0)):
        peer = Peer(options)
        peer.greet()
        peer.send(data)
        if len(data) < FEATURES:
            peer.socket.shutdown(socket.SHUT_WR)
        else:
            peer.send(VERDICT.pack(0, 0, 0, 0))
        peer.closed()
        peer.close()


def stranger_bulk(options):
    """A bulk connection of a node that is no member: refused."""
    peer = Peer(options, role=BULK, tag=(options.node << 56) | 1)
    peer.greet()
    need(peer.verdict() == 9, 'a bulk connection without membership')
    peer.close()


def member_bulk(options):
    """A member opens bulk connections that nobody asked for and sends garbage: closed, the membership stays."""
    member = Peer(options).join()
    for tag in (0, 1, (options.node << 56) | 7, 2**64 - 1):
        peer = Peer(options, role=BULK, tag=tag)
        peer.greet()
        need(peer.verdict() == 0, 'a bulk connection of a member is refused')
        peer.send(options.random.randbytes(3000))
        member.frame(HEARTBEAT, bytes(48))
        with contextlib.suppress(OSError):  # it may have been closed by the node already
            peer.socket.shutdown(socket.SHUT_WR)
        peer.closed()
        peer.close()
        member.frame(HEARTBEAT, bytes(48))
    member.frame(0x3ff, b'', REQUEST, 4711)
    member.reply(4711)
    member.leave()


def bad_frames(options):
    """Headers without sense from a member: the connection ends."""
    cases = (
        {'op': HEARTBEAT, 'payload': bytes(48), 'magic': 0x12345678},
        {'op': 0x150, 'length': MAX_PAYLOAD + 1},
        {'op': 0x150, 'length': 0xffffffff},
        {'op': 0, 'payload': b''},
        {'op': 0x150, 'flags': 0x40},
        {'op': 0x150, 'flags': ERROR, 'number': 1},
        {'op': 0x150, 'flags': REPLY | REQUEST, 'number': 1},
        {'op': 0x150, 'flags': REQUEST, 'number': 0},
        {'op': HEARTBEAT, 'payload': bytes(47)},
        {'op': MEMBERS, 'payload': struct.pack('<II', 1, 0xffffffff)},
        {'op': MEMBERS, 'payload': struct.pack('<II', 1, 128) + bytes(128 * 16)},
        {'op': LEAVE, 'payload': b'short'},
        {'op': DEAD_OP, 'payload': DEAD.pack(1, 1, 0)},
    )
    for case in cases:
        peer = Peer(options).join()
        peer.frame(**case)
        peer.closed(f'the node goes on after {case}')
        peer.close()


def half_frame(options):
    """A header, half of its payload, then silence: declared dead, not waited for."""
    peer = Peer(options).join()
    peer.frame(0x150, bytes(1000), length=100000)
    peer.closed('the node waits for the rest of a frame')
    peer.close()


def strange_replies(options):
    """Answers that nobody asked for are dropped."""
    peer = Peer(options).join()
    for number in (1, 2, 3, 2**64 - 1):
        peer.frame(0x101, options.random.randbytes(100), REPLY, number)
        peer.frame(0x101, struct.pack('<iHH', -5, 7, 0), REPLY | ERROR, number)
        peer.frame(0x101, b'x', REPLY | ERROR, number)
    peer.frame(0x3ff, b'', REQUEST, 77)
    peer.reply(77)
    peer.leave()


def random_messages(options):
    """Every message number with payloads of every size, as message and as request: no end of the node."""
    peer = Peer(options).join()
    rng = options.random
    sizes = (0, 1, 4, 8, 12, 16, 24, 32, 56, 80, 152, 192, 500, 5000)
    for op in (*range(0x101, 0x110), *range(0x201, 0x20c), *range(0x301, 0x30c), 0x3ff):
        for size in sizes:
            for fill in (rng.randbytes(size), bytes(size), b'\x01\0\0\0\0\0\0\0' * (size // 8)):
                peer.frame(op, fill, OPTIONAL)
                peer.frame(op, fill)
                peer.frame(HEARTBEAT, bytes(48))
    peer.frame(0x3ff, b'', REQUEST, 5)
    peer.reply(5)
    number = 1000
    for op in (*range(0x101, 0x110), *range(0x201, 0x20c), *range(0x301, 0x30c), 0x3ff):
        for size in sizes:
            number += 1
            peer.frame(op, rng.randbytes(size), REQUEST, number)
            peer.frame(HEARTBEAT, bytes(48))
    peer.frame(0x3ff, b'', REQUEST, 6)
    peer.reply(6)
    peer.leave()


def epochs(options):
    """The highest epoch and unknown members: the node keeps its wits."""
    peer = Peer(options).join()
    entries = b''.join(struct.pack('<BBHIQ', node, state, 1, 0x010000ff, 2**64 - 1)
                       for node, state in ((100, 2), (101, 4), (102, 5), (103, 1)))
    peer.epoch = 2**32 - 2
    peer.frame(MEMBERS, struct.pack('<II', 2**32 - 2, 4) + entries)
    peer.frame(HEARTBEAT, bytes(48))
    peer.frame(0x3ff, b'', REQUEST, 9)
    peer.reply(9)
    peer.leave()


def alive(options, tries=3):
    """A good peer is still let in and answered."""
    for left in reversed(range(tries)):
        try:
            peer = Peer(options)
            if options.key:
                peer.join()
                peer.frame(0x3ff, b'', REQUEST, 1)
                flags, _ = peer.reply(1)
                need(flags & ERROR, 'an answer to an unknown request')
                peer.leave()
            else:
                peer.send(peer.hello())
                need(len(peer.read(HELLO.size)) == HELLO.size, 'no hello')
                peer.close()
            return
        except (Failed, OSError):
            if not left:
                raise
            time.sleep(1)


STRANGER = (garbage, half_hello, half_handshake, other_cluster, wrong_key, reflect, flood, alive)
MEMBER = (replay, bad_features, stranger_bulk, member_bulk, bad_frames, half_frame, strange_replies, random_messages, alive)
LAST = (epochs, alive)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('address')
    parser.add_argument('attack', nargs='*')
    parser.add_argument('--port', type=int, default=7227)
    parser.add_argument('--cluster', default='banyan')
    parser.add_argument('--key', type=pathlib.Path)
    parser.add_argument('--node', type=int, default=119)
    parser.add_argument('--seed', type=int, default=time.time_ns())
    options = parser.parse_intermixed_args()
    if options.key:
        raw = options.key.read_bytes()
        options.key = raw if len(raw) == 32 else bytes.fromhex(raw.decode().strip())
    else:
        options.key = b''
    options.random = random.Random(options.seed)
    print(f'seed {options.seed}')
    attacks = [*STRANGER, *((*MEMBER, *LAST) if options.key else ())]
    if options.attack:
        known = {attack.__name__: attack for attack in (*STRANGER, *MEMBER, *LAST)}
        attacks = [known[name] for name in options.attack if name in known]
        if len(attacks) < len(options.attack):
            parser.error(f'the attacks are {" ".join(known)}')
    passed = failed = 0
    for attack in attacks:
        start = time.monotonic()
        try:
            attack(options)
            passed += 1
            verdict = 'ok'
        except (Failed, OSError) as error:
            failed += 1
            verdict = f'not ok: {error or type(error).__name__}'
        print(f'{attack.__name__}: {verdict} ({time.monotonic() - start:.1f} s)', flush=True)
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
