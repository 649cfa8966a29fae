#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Moves processes of this node about at random, several at once and back to back, while signals of every sort rain on them.

  storm.py --count PROCESSES --moves N --seed S [--kills K] DIRECTORY

Runs ./storm so often, half of them with a pipe and half with a file as output. Signals are sent to the
processes of this node (wherever they run) and to the guests that are at this node; one such program runs
on each node. When N moves have succeeded and none is under way, it prints a line of JSON with the pids, and
waits for a line of input. Then it ends the processes and prints a second line of JSON: what was wrong
(nothing, it is hoped), signals sent to guests here by pid, and how often each answer of banyanctl came.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

HOME, AWAY = signal.SIGRTMIN + 1, signal.SIGRTMIN + 2
AT_ONCE = 3
NODES = ("1", "2", "3")


class Worker:
    """One process, from its start to its end."""

    def __init__(self, number: int, place: Path) -> None:
        self.output = bytearray()
        self.sent = 0
        self.killed = False
        self.file = place / f"storm.{os.uname().nodename}.{number}" if number % 2 else None
        if self.file:
            with open(self.file, "wb") as output:
                self.process = subprocess.Popen(["./storm"], cwd=place, stdin=subprocess.DEVNULL, stdout=output)
        else:
            self.process = subprocess.Popen(["./storm"], cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            self.reader = threading.Thread(target=self.drain, daemon=True)
            self.reader.start()
        self.pid = self.process.pid

    def drain(self) -> None:
        while data := os.read(self.process.stdout.fileno(), 65536):
            self.output += data

    def send(self, number: int) -> None:
        """Sends a signal, as the parent: it is not yet waited for, so the pid is its own."""
        os.kill(self.pid, number)
        self.sent += number == HOME

    def end(self, limit: float):
        """What was wrong with it, or None; and what it has written."""
        try:
            status = self.process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            state = subprocess.run(["ps", "-o", "stat=,wchan=,rss=", "-p", str(self.pid)],
                                   capture_output=True, text=True, check=False)
            self.process.kill()
            return f"does not end: {state.stdout.strip()}", b""
        if self.file:
            data = self.file.read_bytes()
        else:
            self.reader.join(10)
            if self.reader.is_alive():
                return "its pipe is not closed", b""
            data = bytes(self.output)
        wanted = -signal.SIGKILL if self.killed else 7
        return (None if status == wanted else f"status {status}, not {wanted}"), data


class Storm:
    """All of them."""

    def __init__(self, args) -> None:
        self.args = args
        self.chance = random.Random(args.seed)
        self.started = 0
        self.workers: list[Worker] = []
        self.ended: list[Worker] = []
        self.moves: list[tuple[subprocess.Popen, int]] = []
        self.moved = 0
        self.answers: dict[str, int] = {}
        self.away: dict[int, int] = {}
        self.wrong: list[str] = []
        self.later: list[tuple[float, object]] = []
        self.guests: list[int] = []
        self.kills = args.kills

    def start(self) -> None:
        self.started += 1
        self.workers.append(Worker(self.started, Path(self.args.directory)))

    def collect(self) -> None:
        """Takes in answers of moves that have ended."""
        for entry in list(self.moves):
            move, pid = entry
            if move.poll() is None:
                continue
            self.moves.remove(entry)
            if move.returncode == 0:
                self.moved += 1
                continue
            said = move.stderr.read()
            found = re.search(r"\[([a-z0-9-]+),", said)
            name = found[1] if found else said.strip()[:200] or f"status {move.returncode}"
            if "there is no such process" in said and any(worker.pid == pid for worker in self.ended):
                name = "killed"
            self.answers[name] = self.answers.get(name, 0) + 1

    def migrate(self) -> None:
        if len(self.moves) >= AT_ONCE:
            return
        worker = self.chance.choice(self.workers)
        move = subprocess.Popen(["banyanctl", "migrate", "--wait", str(worker.pid), self.chance.choice(NODES)],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.moves.append((move, worker.pid))

    def look(self) -> None:
        """Which guests are here."""
        done = subprocess.run(["banyanctl", "ps", "--json"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            said = json.loads(done.stdout)
            rows = said if isinstance(said, list) else said["processes"]
            self.guests = [row["pid"] for row in rows if row.get("state") == "guest"]

    def to_guest(self, pid: int, number: int) -> None:
        """A signal to a guest here, if it still is."""
        try:
            if Path(f"/proc/{pid}/comm").read_text() != "storm\n":
                return
            os.kill(pid, number)
        except (FileNotFoundError, ProcessLookupError):
            return
        if number == AWAY:
            self.away[pid] = self.away.get(pid, 0) + 1

    def rain(self) -> None:
        kind = self.chance.choice(("home", "home", "other", "guest", "guest", "stop", "stop guest", "kill"))
        worker = self.chance.choice(self.workers)
        guest = self.chance.choice(self.guests) if self.guests else None
        soon = time.monotonic() + self.chance.uniform(0, 0.8)
        if kind == "home":
            for _ in range(self.chance.randint(1, 4)):
                worker.send(HOME)
        elif kind == "other":
            worker.send(self.chance.choice((signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT, signal.SIGWINCH)))
        elif kind == "stop":
            worker.send(signal.SIGSTOP)
            self.later.append((soon, lambda: worker.killed or worker.send(signal.SIGCONT)))
        elif kind == "guest" and guest:
            self.to_guest(guest, AWAY)
        elif kind == "stop guest" and guest:
            self.to_guest(guest, signal.SIGSTOP)
            self.later.append((soon, lambda: self.to_guest(guest, signal.SIGCONT)))
        elif kind == "kill" and self.kills and self.chance.random() < 0.2:
            self.kills -= 1
            worker.killed = True
            worker.send(signal.SIGKILL)
            self.workers.remove(worker)
            self.ended.append(worker)
            self.start()

    def due(self, all_of_it: bool = False) -> None:
        now = time.monotonic()
        for entry in list(self.later):
            if all_of_it or entry[0] <= now:
                self.later.remove(entry)
                entry[1]()

    def blow(self) -> None:
        deadline = time.monotonic() + self.args.limit
        for _ in range(self.args.count):
            self.start()
        time.sleep(0.5)
        looked = 0.0
        while self.moved < self.args.moves and time.monotonic() < deadline:
            if time.monotonic() > looked + 1:
                self.look()
                looked = time.monotonic()
            (self.migrate if self.chance.random() < 0.6 else self.rain)()
            self.due()
            self.collect()
            time.sleep(self.chance.uniform(0, 0.2))
        if self.moved < self.args.moves:
            self.wrong.append(f"only {self.moved} moves within {self.args.limit} s")
        self.due(all_of_it=True)
        deadline = time.monotonic() + 90
        while self.moves and time.monotonic() < deadline:
            self.collect()
            time.sleep(0.2)
        for move, pid in self.moves:
            self.wrong.append(f"a move of {pid} does not end")
            move.kill()
        for worker in self.workers:
            worker.send(signal.SIGCONT)

    def finish(self) -> None:
        outputs = []
        for worker in self.workers:
            worker.send(signal.SIGTERM)
        for worker in self.ended + self.workers:
            wrong, data = worker.end(30)
            if wrong:
                self.wrong.append(f"{worker.pid}: {wrong}")
            outputs.append((worker, data))
        steps = 1 + max(data.count(b"\n") for _, data in outputs)
        wanted = subprocess.run(["./storm", str(steps)], cwd=self.args.directory, capture_output=True, check=False).stdout
        counted = {}
        for worker, data in outputs:
            lines = data
            if not worker.killed:
                lines, _, last = data[:-1].rpartition(b"\n")
                found = re.fullmatch(rb"end home=(\d+) away=(\d+) other=(\d+)", last)
                if not found:
                    self.wrong.append(f"{worker.pid}: its last words are {last[:100]!r}")
                    continue
                counted[worker.pid] = int(found[2])
                if int(found[1]) != worker.sent:
                    self.wrong.append(f"{worker.pid}: {int(found[1])} of {worker.sent} signals sent at home came")
            if not wanted.startswith(lines):
                at = next(i for i, (a, b) in enumerate(zip(lines + b"\0", wanted + b"\1")) if a != b)
                around = lines[max(0, at - 60):at + 60]
                self.wrong.append(f"{worker.pid}: output is wrong at {at} of {len(lines)}: {around!r}")
        print(json.dumps({"wrong": self.wrong, "away": self.away, "counted": counted, "moved": self.moved,
                          "answers": self.answers}), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--moves", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--limit", type=float, default=120, help="longest time for the moves, seconds")
    parser.add_argument("directory")
    storm = Storm(parser.parse_args())
    storm.blow()
    print(json.dumps({"pids": [worker.pid for worker in storm.workers],
                      "gone": [worker.pid for worker in storm.ended]}), flush=True)
    sys.stdin.readline()
    storm.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
