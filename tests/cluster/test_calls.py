# SPDX-License-Identifier: GPL-2.0
"""System calls of a process that is away do what they would do at home, wherever they are made."""

import json

import pytest
from test_move import bench  # noqa: F401

# What a guest does where it is; the rest of the program's calls take it home.
AWAY = ("stay", "shared_file", "null_device", "own_process", "no_such_descriptor", "proxied_stream")
# The same of one that Landlock confines; the domain stays at home.
LANDLOCKED_AWAY = ("stay", "look", "write_what_was_open", "truncate_what_was_open_before", "stay_again",
                   "write_what_is_still_open")


@pytest.mark.limit(200)
def test_calls_go_home(cluster, bench):  # noqa: F811
    # From the terminal's session, so that there is a group and a session to ask about.
    out = cluster.sh(1, f"cd {bench} && python3 home_calls.py 2 3 || echo differs", timeout=180)
    assert "differs" not in out, out
    places = json.loads(out.splitlines()[-1])
    assert {name for name, place in places.items() if place == "away"} == set(AWAY), places
    assert len(places) > 20


@pytest.mark.limit(200)
def test_landlock_judges_at_home(cluster, bench):  # noqa: F811
    out = cluster.sh(1, f"cd {bench} && python3 landlocked_calls.py 2 3 || echo differs", timeout=180)
    assert "differs" not in out, out
    places = json.loads(out.splitlines()[-1])
    assert {name for name, place in places.items() if place == "away"} == set(LANDLOCKED_AWAY), places
    assert "never" not in cluster.sh(1, f"cat {bench}/landlocked.other 2>&1 || true")


@pytest.mark.limit(100)
def test_a_thread_is_started_at_home(cluster, bench):  # noqa: F811
    program = ("import threading, time\n"
               "print('ready', flush=True); time.sleep(4)\n"
               "t = threading.Thread(target=print, args=('from a thread',)); t.start(); t.join()")
    cluster.sh(1, f"cd {bench}; cat >threads.py <<'X'\n{program}\nX\n"
                  "python3 threads.py >threads.out 2>&1 </dev/null & P=$!; sleep 1; banyanctl migrate --wait $P 3 && wait $P")
    assert cluster.sh(1, f"cat {bench}/threads.out").split("\n") == ["ready", "from a thread"]


@pytest.mark.limit(100)
def test_a_process_whose_threads_have_ended_moves(cluster, bench):  # noqa: F811
    program = ("import threading, time\n"
               "t = threading.Thread(target=print, args=('from a thread',)); t.start(); t.join()\n"
               "print('ready', flush=True); time.sleep(4); print('done')")
    cluster.sh(1, f"cd {bench}; cat >threads.py <<'X'\n{program}\nX\n"
                  "python3 threads.py >threads.out 2>&1 </dev/null & P=$!; "
                  "for i in $(seq 40); do sleep 0.5; grep -q ready threads.out && break; done; "
                  "banyanctl migrate --wait $P 3 && wait $P")
    assert cluster.sh(1, f"cat {bench}/threads.out").split("\n") == ["from a thread", "ready", "done"]


def hooked(cluster, node):
    return cluster.sh(node, "sed -n 's/^hooked //p' /sys/kernel/debug/banyan_migrate/calls") == "1"


def test_hooks_are_on_only_while_there_are_guests(cluster, bench):  # noqa: F811
    pid = cluster.sh(1, f"cd {bench}; ./counter 600 1 >/dev/null 2>&1 & echo $!")
    try:
        cluster.sh(1, f"banyanctl migrate --wait {pid} 2")
        assert hooked(cluster, 2)
        assert cluster.sh(2, "grep -E '^missing ' /sys/kernel/debug/banyan_migrate/calls") == "missing 0"
    finally:
        cluster.sh(1, f"kill {pid}")
    cluster.until("the hooks are off", limit=40, every=1, condition=lambda: not hooked(cluster, 2))
