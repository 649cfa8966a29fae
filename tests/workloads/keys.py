#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Runs a full-screen program on a terminal of its own, types, and moves it about between the keys.

  keys.py [--moves N] [--nodes A,B,C] [--seed S] KEYS OUTPUT -- COMMAND...

KEYS is a file: each line is what is typed at once, with Python's escapes; the program is given time to answer until it
has been silent for a while. Then Ctrl-L lets it paint its screen anew; OUTPUT gets these screens, and the terminal's settings
with each. Moves it at most N times, each time in the middle of a line of KEYS. Prints one line of JSON as roam.py does.
"""

import argparse
import fcntl
import json
import os
import pty
import random
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

SIZE = struct.pack("HHHH", 24, 80, 0, 0)


class Terminal:
    """The program and the other end of its terminal."""

    def __init__(self, command: list[str]) -> None:
        self.screen = bytearray()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "vt100"
            os.execvp(command[0], command)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, SIZE)

    def listen(self, quiet: float, limit: float = 30) -> bool:
        """Reads until nothing has come for a while; says whether the program is still there."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            if not select.select([self.fd], [], [], quiet)[0]:
                return True
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return False
            if not data:
                return False
            self.screen += data
        return True

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=10)
    parser.add_argument("--nodes", default="1,2,3")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quiet", type=float, default=1.0, help="how long it must be silent to have answered, seconds")
    parser.add_argument("keys")
    parser.add_argument("output")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    command = [word for i, word in enumerate(args.command) if i or word != "--"]
    chance = random.Random(args.seed)
    answers: dict[str, int] = {}
    moved = 0
    here = None

    terminal = Terminal(command)
    alive = terminal.listen(3.0)
    lines = Path(args.keys).read_text().splitlines()
    screens = b""
    for number, line in enumerate(lines, 1):
        keys = line.encode().decode("unicode_escape").encode("latin-1")
        # Half of it before the move, so that it also moves with input waiting.
        half = chance.randint(0, len(keys)) if args.moves else 0
        terminal.type(keys[:half])
        if moved < args.moves and alive:
            target = chance.choice([node for node in args.nodes.split(",") if node != here])
            done = subprocess.run(["banyanctl", "migrate", "--wait", str(terminal.pid), target],
                                  capture_output=True, text=True, check=False)
            if done.returncode == 0:
                moved, here = moved + 1, target
            elif "already" in done.stderr:
                here = target
            else:
                words = (done.stderr.splitlines() or [f"status {done.returncode}"])[0].replace(str(terminal.pid), "PID")
                answers[words] = answers.get(words, 0) + 1
        terminal.type(keys[half:])
        alive = terminal.listen(args.quiet)
        terminal.screen.clear()
        if number < len(lines) and alive:
            terminal.type(b"\x0c")
            alive = terminal.listen(args.quiet)
        screens += f"\n== {number} {termios.tcgetattr(terminal.fd)[:4]}\n".encode() + terminal.screen
    deadline = time.monotonic() + 20
    status = None
    while status is None and time.monotonic() < deadline:
        terminal.listen(0.2, 1)
        pid, raw = os.waitpid(terminal.pid, os.WNOHANG)
        status = os.waitstatus_to_exitcode(raw) if pid else None
    if status is None:
        answers["killed: it did not end"] = 1
        os.kill(terminal.pid, 9)
        os.waitpid(terminal.pid, 0)
    Path(args.output).write_bytes(screens)
    print(json.dumps({"status": status, "moves": moved, "answers": answers}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
