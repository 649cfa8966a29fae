#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Moves a program to another node, in turn by Banyan and by criu, with iperf3 before and after; the source's side.

  mover.py NODE ADDRESS PORT MIB ROUNDS

Prints one line of JSON for each round. All times are seconds on this node's clock, which sees both ends: a move has ended when
the target has said so. Every program that was moved is asked to check its memory, and the round fails if that is not as it was.
"""

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

TOUCH = str(Path(__file__).resolve().parent / "touch")
IMAGES = Path("/dev/shm/bench-criu")
READY = Path("/tmp/bench-ready")
INTACT = 42
IPERF_SECONDS = 2


class Program:
    """touch, running and with its memory filled. Left behind by an error it is killed."""

    def __init__(self, mib: int) -> None:
        self.mib = mib

    def __enter__(self) -> subprocess.Popen:
        READY.unlink(missing_ok=True)
        self.process = subprocess.Popen([TOUCH, str(self.mib), str(READY)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 60
        while not READY.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("touch does not begin")
            time.sleep(0.1)
        time.sleep(0.2)
        return self.process

    def __exit__(self, *_error) -> None:
        self.process.kill()
        self.process.wait()


def iperf(address: str) -> float:
    """Bytes per second that arrive at the other node."""
    done = subprocess.run(["iperf3", "--client", address, "--time", str(IPERF_SECONDS), "--json"],
                          capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 8


def banyan(node: str, mib: int) -> dict:
    """One move by banyanctl."""
    with Program(mib) as program:
        begin = time.monotonic()
        done = subprocess.run(["banyanctl", "migrate", "--wait", "--json", str(program.pid), node],
                              capture_output=True, text=True, check=False, timeout=120)
        whole = time.monotonic() - begin
        if done.returncode:
            raise RuntimeError(f"banyanctl: {done.stdout}{done.stderr}")
        answer = json.loads(done.stdout)
        os.kill(program.pid, signal.SIGUSR1)
        if program.wait(timeout=60) != INTACT:
            raise RuntimeError(f"the program moved by Banyan ended with {program.returncode}")
    return {"whole": whole, "move": answer["total_us"] / 1e6, "freeze": answer["freeze_us"] / 1e6, "bytes": answer["bytes"]}


def varints(data: bytes) -> dict[int, int | bytes]:
    """Fields of one protobuf message that has numbers and messages only."""
    fields: dict[int, int | bytes] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            value |= (data[at] & 0x7f) << shift
            shift += 7
            at += 1
            if not data[at - 1] & 0x80:
                return value

    while at < len(data):
        tag = number()
        value = number()
        if tag & 7 == 2:
            fields[tag >> 3] = data[at:at + value]
            at += value
        else:
            fields[tag >> 3] = value
    return fields


def stood_still(stats: Path) -> float:
    """Seconds for which criu's dump kept the process frozen, by criu's own count: `stats-dump`, of its images/stats.proto."""
    data = stats.read_bytes()
    # Two magic numbers, the length, the message; in it field 1 is about the dump, with freezing_time and frozen_time first.
    (size,) = struct.unpack_from("<I", data, 8)
    dump = varints(varints(data[12:12 + size])[1])
    return (dump[1] + dump[2]) / 1e6


def criu(address: str, port: int, mib: int) -> dict:
    """One move by criu: dump to tmpfs, copy over TCP, restore."""
    shutil.rmtree(IMAGES, ignore_errors=True)
    IMAGES.mkdir(mode=0o700)
    with Program(mib) as program:
        begin = time.monotonic()
        done = subprocess.run(["criu", "dump", "--tree", str(program.pid), "--images-dir", str(IMAGES), "--log-file", "dump.log"],
                              check=False, timeout=120)
        dumped = time.monotonic()
        if done.returncode:
            raise RuntimeError("criu dump: " + (IMAGES / "dump.log").read_text(errors="replace")[-2000:])
        with socket.create_connection((address, port)) as sock, sock.makefile("rwb") as stream:
            files = sorted(IMAGES.glob("*.img")) + [IMAGES / "stats-dump"]
            request = {"pid": program.pid, "files": [(file.name, file.stat().st_size) for file in files]}
            stream.write(json.dumps(request).encode() + b"\n")
            stream.flush()
            for file in files:
                with open(file, "rb") as opened:
                    sock.sendfile(opened)
            answer = json.loads(stream.readline())
            end = time.monotonic()
            frozen = stood_still(IMAGES / "stats-dump")
            shutil.rmtree(IMAGES)
            if answer["status"]:
                raise RuntimeError(f"criu restore: status {answer['status']}")
            stream.write(b"\n")
            stream.flush()
            status = json.loads(stream.readline())["exit"]
    if status != INTACT:
        raise RuntimeError(f"the program moved by criu ended with {status}")
    return {"whole": end - begin, "dump": dumped - begin, "frozen": frozen, "restore": answer["restore"],
            "copy": end - dumped - answer["restore"], "freeze": end - dumped + frozen}


def main() -> int:
    node, address, port, mib, rounds = sys.argv[1:6]
    before = iperf(address)
    for _ in range(int(rounds)):
        result = {"mib": int(mib), "banyan": banyan(node, int(mib))}
        after = iperf(address)
        result["iperf"] = (before + after) / 2
        result["criu"] = criu(address, int(port), int(mib))
        print(json.dumps(result), flush=True)
        before = iperf(address)
    return 0


if __name__ == "__main__":
    sys.exit(main())
