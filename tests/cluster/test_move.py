# SPDX-License-Identifier: GPL-2.0
"""Real programs move between the nodes while they run, and give what they give unmoved."""

import json
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PLACE = "/home/moves"


@pytest.fixture(scope="module")
def bench(cluster):
    """The workloads on the shared /home: the scripts as they are, the C programs compiled on node 1."""
    cluster.sh(1, f"rm -rf {PLACE}; mkdir -p {PLACE}")
    files = [str(f) for f in sorted((TESTS / "workloads").iterdir()) if f.suffix in (".py", ".c")]
    assert cluster.copy(files, f"1:{PLACE}/") == 0
    cluster.sh(1, f"cd {PLACE} && for f in *.c; do gcc -O2 -o ${{f%.c}} $f -lm -lrt || exit 1; done; sync", timeout=110)
    cluster.until("all nodes are in", limit=60, condition=lambda: all(
        cluster.sh(n, "banyanctl nodes --json | grep -c '\"up\"' || true") == str(len(cluster.nodes))
        for n in cluster.nodes))
    return PLACE


def roam(cluster, bench, output, command, moves=10, pause=0.5, seed=1, node=1, limit=100):
    line = cluster.sh(node, f"cd {bench} && python3 roam.py --moves {moves} --pause {pause} --seed {seed} --limit {limit} "
                            f"{output} -- {command}", timeout=limit + 30)
    result = json.loads(line.splitlines()[-1])
    assert not result["answers"], f"moves were refused: {result}"
    return result


def same_as_unmoved(cluster, bench, name, command, moves=10, **how):
    """Runs a program unmoved and moved; output and status must be equal. Returns how often it moved."""
    plain = roam(cluster, bench, f"{name}.plain", command, moves=0)
    moved = roam(cluster, bench, f"{name}.moved", command, moves=moves, **how)
    sums = cluster.sh(1, f"cd {bench} && sha256sum < {name}.plain && sha256sum < {name}.moved").split()
    assert sums[0] == sums[2], cluster.sh(1, f"cd {bench} && diff {name}.plain {name}.moved | head -20", check=False)
    assert moved["status"] == plain["status"]
    return moved["moves"]


@pytest.mark.limit(240)
def test_counter_goes_round(cluster, bench):
    moves = same_as_unmoved(cluster, bench, "counter", "./counter 80 4", moves=10)
    assert moves >= 8


def test_home_sees_it_while_it_is_away(cluster, bench):
    script = (f"cd {bench} && ./counter 60 1 >seen & P=$!; sleep 0.5; banyanctl migrate --wait $P 2 >&2; sleep 1.2; "
              "ps -o stat=,comm=,args= -p $P; banyanctl where $P; kill -TERM $P; wait $P; echo status $?")
    out = cluster.sh(1, script)
    assert "counter" in out and "./counter 60 1" in out
    assert out.endswith("status 143")


@pytest.mark.parametrize("signal,status", [("TERM", 143), ("KILL", 137), ("INT", 130)])
def test_signals_reach_it(cluster, bench, signal, status):
    script = (f"cd {bench} && (trap - INT; exec ./counter 300 1 >/dev/null) & P=$!; sleep 0.5; "
              f"banyanctl migrate --wait $P 2 >&2 || exit 99; sleep 0.3; kill -{signal} $P; wait $P; echo $?")
    expected = status if signal != "INT" else None
    out = cluster.sh(1, script)
    # A background job of a shell without job control ignores SIGINT: then it goes on, and is ended below.
    if expected is not None:
        assert out == str(expected)
    for node in cluster.nodes:
        cluster.until("no counter is left", limit=10, condition=lambda n=node: not cluster.sh(
            n, "pgrep -x counter || true") or signal == "INT")
    cluster.sh(1, "pkill -KILL -x counter || true")


def test_job_control(cluster, bench):
    script = (f"cd {bench} && ./counter 100 1 >jobs.out & P=$!; sleep 0.5; banyanctl migrate --wait $P 2 >&2 || exit 99; "
              "kill -STOP $P; sleep 1; A=$(wc -l <jobs.out); ps -o stat= -p $P; sleep 1.5; B=$(wc -l <jobs.out); "
              "[ $A = $B ] && echo held; kill -CONT $P; sleep 2; C=$(wc -l <jobs.out); [ $C -gt $B ] && echo goes on; "
              "kill -KILL $P; wait $P; echo $?")
    out = cluster.sh(1, script).splitlines()
    assert out[0].startswith("T"), out
    assert out[1:] == ["held", "goes on", "137"]


def test_time_goes_on(cluster, bench):
    """The clock is checked by the program itself at every step; a sleep that is moved lasts as long as it should."""
    out = cluster.sh(1, "sleep 6 & P=$!; S=$(date +%s%N); sleep 0.3; for n in 2 3 1 2; do banyanctl migrate --wait $P $n >&2 || "
                        "exit 99; done; wait $P; E=$(date +%s%N); echo $(( (E - S) / 1000000 ))", timeout=40)
    assert 5900 <= int(out) <= 12000


def test_refused_with_a_reason_and_unharmed(cluster, bench):
    script = ("python3 -c 'import socket,time; s=socket.socket(); time.sleep(4); print(\"fine\")' >refused.out & P=$!; "
              "sleep 2; banyanctl migrate --wait $P 2; echo $?; banyanctl explain --json $P 2; wait $P; cat refused.out")
    out = cluster.sh(1, f"cd {bench} && {script}", timeout=60)
    assert "socket" in out and out.endswith("fine")


PROGRAMS = {
    "xz": "sh -c 'head -c 3000000 /usr/bin/python3.13 > xz.in; exec xz -T1 -6 -k -c xz.in'",
    "bc": "sh -c 'exec bc -l pi.bc'",
    "lua": "lua5.4 work.lua",
    "python": "python3 work.py",
    "sqlite": "sqlite3 work.db '.read work.sql'",
}


@pytest.mark.limit(300)
@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_real_programs(cluster, bench, name):
    cluster.sh(1, f"""cd {bench}; rm -f work.db
echo 'scale=700; 4*a(1); quit' > pi.bc
cat > work.lua <<'X'
local s, t = 0, {{}}
for i = 1, 2500000 do s = (s * 31 + i) % 1000003; t[i % 1000] = s end
print(s, #t, math.sin(s))
X
cat > work.py <<'X'
import hashlib, math
h, big, f = hashlib.sha256(), 1, 0.0
for i in range(1, 1200):
    big = big * i % (2 ** 4423 - 1)
    f += math.sin(i) * math.sqrt(i)
    h.update(str(big).encode() + bytes(5000))
print(h.hexdigest(), f)
X
cat > work.sql <<'X'
drop table if exists t;
create table t(a integer primary key, b text);
with recursive c(x) as (select 1 union all select x+1 from c where x < 60000) insert into t select x, hex(x*x) from c;
create index i on t(b);
select count(*), sum(length(b)), max(b) from t;
pragma integrity_check;
X
""")
    moves = same_as_unmoved(cluster, bench, name, PROGRAMS[name], moves=10, pause=0.3)
    assert moves >= 3, f"it moved only {moves} times"


def test_no_process_is_left(cluster, bench):
    for node in cluster.nodes:
        cluster.until("no deputy or guest is left", limit=10, condition=lambda n=node: cluster.sh(
            n, "banyanctl ps --json") in ("[]", '{"processes": []}', '{"processes":[]}'))

