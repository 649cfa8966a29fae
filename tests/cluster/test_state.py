# SPDX-License-Identifier: GPL-2.0
"""What a process has set about itself is the same wherever it is, and what cannot be carried is refused with its reason."""

import json

import pytest
from test_move import bench, roam  # noqa: F401


def said(cluster, bench, name):  # noqa: F811
    return cluster.sh(1, f"tail -n 30 {bench}/{name}")


@pytest.mark.limit(200)
def test_everything_that_can_be_set(cluster, bench):  # noqa: F811
    """Dispositions, masks, timers, limits, credentials ...: see workloads/state.c."""
    # It opens a file of /proc again and again, and cannot move at that moment.
    result = roam(cluster, bench, "state.out", "./state 25", moves=12, pause=0.8, but=("local-file",))
    assert result["status"] == 0, said(cluster, bench, "state.out")
    assert result["moves"] >= 6


@pytest.mark.limit(200)
@pytest.mark.parametrize("seed", [1, 2])
def test_waits_last_as_long_as_they_should(cluster, bench, seed):  # noqa: F811
    result = roam(cluster, bench, "waits.out", "./waits 1.5", moves=25, pause=0.7, seed=seed)
    assert result["status"] == 0, said(cluster, bench, "waits.out")
    assert result["moves"] >= 8


def moved_script(cluster, bench, program, nodes=(2, 3, 1, 2)):  # noqa: F811
    """Runs a Python program that says "ready", moves it about, and returns its wait status."""
    moves = "; ".join(f"banyanctl migrate --wait $P {n} >&2 || exit 99" for n in nodes)
    return int(cluster.sh(1, f"cd {bench}; cat >script.py <<'X'\n{program}\nX\n"
                             f"python3 script.py >script.out 2>&1 </dev/null & P=$!; sleep 2; {moves}; wait $P; echo $?",
                          timeout=100))


def test_a_fatal_signal_that_waits(cluster, bench):  # noqa: F811
    program = """import os, signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(6)
print('alive', signal.sigpending(), flush=True)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
print('not reached')"""
    assert moved_script(cluster, bench, program) == 143
    assert "alive {<Signals.SIGTERM" in said(cluster, bench, "script.out")


def test_real_time_policy_and_affinity(cluster, bench):  # noqa: F811
    program = """import os, sys, time
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(7))
os.sched_setaffinity(0, {0})
time.sleep(6)
sys.exit(0 if os.sched_getscheduler(0) == os.SCHED_FIFO and os.sched_getparam(0).sched_priority == 7
         and os.sched_getaffinity(0) == {0} else 1)"""
    assert moved_script(cluster, bench, program) == 0


def test_cpu_limit_ends_it_where_it_is(cluster, bench):  # noqa: F811
    """The limit counts the time used before the move."""
    program = """import resource
resource.setrlimit(resource.RLIMIT_CPU, (8, 20))
while True:
    pass"""
    assert moved_script(cluster, bench, program, nodes=(2,)) == 128 + 24


REFUSED = {
    "threads": "python3 -c 'import threading,time; threading.Thread(target=time.sleep, args=(60,)).start()'",
    "children": "python3 -c 'import os,time; os.fork(); time.sleep(60)'",
    "seccomp": "python3 -c 'import ctypes,os,time; l=ctypes.CDLL(None); l.prctl(38,1,0,0,0); "
               "f=(ctypes.c_ubyte*8)(6,0,0,0,0,0,255,127); p=ctypes.create_string_buffer(16); "
               "p[0:2]=(1).to_bytes(2,\"little\"); p[8:16]=ctypes.addressof(f).to_bytes(8,\"little\"); "
               "assert l.prctl(22,2,p,0,0)==0; time.sleep(60)'",
    "nested-namespace": "unshare --net sleep 60",
    "timens": "unshare --time --monotonic 5 sh -c 'exec sleep 60'",
    "stopped": "sh -c 'kill -STOP $$'",
    "real-time": "chrt --deadline --sched-runtime 1000000 --sched-deadline 10000000 --sched-period 10000000 0 sleep 60",
}


@pytest.mark.parametrize("reason", sorted(REFUSED))
def test_refused(cluster, bench, reason):  # noqa: F811
    text = cluster.sh(1, f"cd {bench}; {REFUSED[reason]} </dev/null >refused.out 2>&1 & P=$!; "
                         # Until it has got there.
                         "for i in $(seq 40); do sleep 0.5; "
                         f"banyanctl explain --json $P 2 | grep -q '\"{reason}\"' && break; done; "
                         "banyanctl explain --json $P 2; banyanctl migrate --wait $P 2 >&2; "
                         "[ -d /proc/$P ] || echo gone; pkill -KILL -P $P; kill -KILL $P", check=False)
    assert "gone" not in text
    assert reason in json.dumps(text), text
