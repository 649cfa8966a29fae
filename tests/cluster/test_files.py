# SPDX-License-Identifier: GPL-2.0
"""Open files of processes that move: pipes, terminals, regular files; job control; reasons of refusal; the end of an owner."""

import json
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[1] / "workloads" / "files.c"
PLACE = "/home/files"


@pytest.fixture(scope="module")
def place(cluster):
    """A directory on the shared /home with the program in it."""
    cluster.sh(1, f"rm -rf {PLACE}; mkdir -p {PLACE}")
    assert cluster.copy([str(PROGRAM)], f"1:{PLACE}/") == 0
    cluster.sh(1, f"cd {PLACE} && gcc -O1 -o files files.c -lutil && sync", timeout=60)
    cluster.until("all nodes are in", limit=60, condition=lambda: all(
        cluster.sh(n, "banyanctl nodes --json | grep -c '\"up\"' || true") == str(len(cluster.nodes))
        for n in cluster.nodes))
    return PLACE


def passed(output):
    """The last line says how many checks passed; the lines before say which did not."""
    last = output.splitlines()[-1] if output else "nothing"
    assert last.endswith(" 0 failed"), output
    return int(last.split()[0])


@pytest.mark.limit(240)
def test_every_kind_of_file_goes_along(cluster, place):
    # Away, home, away, onward without home between, home, away.
    out = cluster.sh(1, f"cd {place} && ./files roam 2 1 3 2 1 2", timeout=200, check=False)
    assert passed(out) > 300


@pytest.mark.limit(180)
def test_job_control_at_the_terminal(cluster, place):
    out = cluster.sh(1, f"cd {place} && ./files terminal 2 1", timeout=150, check=False)
    assert passed(out) >= 20


@pytest.mark.parametrize("reason,code", [
    ("socket", "import socket; s = socket.socket()"),
    ("epoll", "import select; e = select.epoll()"),
    ("eventfd", "import os; e = os.eventfd(0)"),
    ("timerfd", "import ctypes; ctypes.CDLL(None).timerfd_create(1, 0)"),
    ("local-file", "f = open('/tmp/banyan-files', 'w+')"),
    ("deleted-file", "import os; f = open('gone', 'w'); os.unlink('gone')"),
    ("file-lock", "import fcntl; f = open('locked', 'w'); fcntl.lockf(f, fcntl.LOCK_EX)"),
    ("cwd-not-shared", "import os; os.chdir('/tmp')"),
])
def test_refused_with_the_reason(cluster, place, reason, code):
    script = (f"cd {place} && python3 -c \"{code}; import time; time.sleep(60)\" </dev/null >/dev/null 2>&1 & P=$!; "
              "for i in $(seq 100); do sleep 0.1; banyanctl explain --json $P >/tmp/explained; "
              f"grep -q '\"{reason}\"' /tmp/explained && break; done; cat /tmp/explained; kill $P")
    answer = json.loads(cluster.sh(1, script))
    assert reason in json.dumps(answer)


def test_local_output_stays_at_home(cluster, place):
    script = (f"cd {place} && python3 -c \"import sys, time\nfor i in range(60): print(i, flush=True); time.sleep(0.1)\" "
              "</dev/null >/tmp/banyan-output & P=$!; sleep 1; banyanctl migrate --wait $P 2 >&2 && sleep 1 && "
              "banyanctl migrate --wait $P 1 >&2 && wait $P && seq 0 59 | cmp - /tmp/banyan-output && echo same")
    assert cluster.sh(1, script) == "same"
