# SPDX-License-Identifier: GPL-2.0
"""Real programs move between the nodes while they run, and give what they give unmoved."""

import json

import pytest

PLACE = "/home/moves"


@pytest.fixture(scope="module")
def bench(cluster, workloads):
    """The workloads on the shared /home."""
    new = "/tmp/workloads.new"
    cluster.sh(1, f"rm -rf {new}; mkdir -p {new} {PLACE}")
    assert cluster.copy(workloads, f"1:{new}/") == 0
    # What is there already stays, since the other nodes have cached which file it is.
    cluster.sh(1, f"cd {new} && for f in *; do cmp -s $f {PLACE}/$f || cp $f {PLACE}/; done; rm -rf {new}; sync")
    cluster.until("all nodes are in", limit=60, condition=lambda: all(
        cluster.sh(n, "banyanctl nodes --json | grep -c '\"up\"' || true") == str(len(cluster.nodes))
        for n in cluster.nodes))
    return PLACE


def roam(cluster, bench, output, command, moves=10, pause=0.5, seed=1, node=1, limit=100, but=(), child=None):
    """Runs a program, or the `child` of this name that it starts, and moves it about. `but`: short names of the reasons
    that may keep it from moving at times."""
    child = f"--child {child} " if child else ""
    line = cluster.sh(node, f"cd {bench} && python3 roam.py --moves {moves} --pause {pause} --seed {seed} --limit {limit} "
                            f"{child}{output} -- {command}", timeout=limit + 30)
    result = json.loads(line.splitlines()[-1])
    # It may always be about to end.
    unexpected = [answer for answer in result["answers"] if not any(f"[{name}," in answer for name in (*but, "exiting"))]
    assert not unexpected, f"moves were refused: {result}"
    return result


def same_as_unmoved(cluster, bench, name, command, moves=10, **how):
    """Runs a program unmoved and moved; output and status must be equal. Returns how often it moved."""
    plain = roam(cluster, bench, f"{name}.plain", command, moves=0, limit=how.get("limit", 100))
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


@pytest.mark.parametrize("signal,status", [("TERM", 143), ("KILL", 137), ("USR1", 138), ("ABRT", 134)])
def test_signals_reach_it(cluster, bench, signal, status):
    out = cluster.sh(1, f"cd {bench} && ./counter 300 1 >/dev/null & P=$!; sleep 0.5; "
                        f"banyanctl migrate --wait $P 2 >&2 || exit 99; sleep 0.3; kill -{signal} $P; wait $P; echo $?")
    assert out == str(status)
    for node in cluster.nodes:
        cluster.until("no counter is left", limit=10, condition=lambda n=node: not cluster.sh(n, "pgrep -x counter || true"))


def test_job_control(cluster, bench):
    """What stops the deputy stops the guest, the other way round, and the parent is told."""
    cluster.sh(1, f"cd {bench} && (./counter 300 1 >jobs.out; echo $? >jobs.status) >/dev/null 2>&1 & sleep 0.7; "
                  "pgrep -x counter >/home/moves/jobs.pid")
    pid = cluster.sh(1, f"cat {bench}/jobs.pid")
    cluster.sh(1, f"banyanctl migrate --wait {pid} 2")

    def states():
        return [cluster.sh(node, f"ps -o stat= -p {pid} || true")[:1] for node in (1, 2)]

    for signal, expected in (("STOP", "T"), ("CONT", "S"), ("STOP", "T"), ("CONT", "S")):
        cluster.sh(1, f"kill -{signal} {pid}")
        cluster.until(f"both halves are {expected} after SIG{signal}", lambda e=expected: states() == [e, e], limit=15)
    cluster.sh(1, f"kill -KILL {pid}")
    cluster.until("the parent hears of the end", lambda: cluster.sh(1, f"cat {bench}/jobs.status || true") == "137", limit=15)
    cluster.until("the guest is gone", lambda: cluster.sh(2, f"ps -o pid= -p {pid} || true") == "", limit=15)


def test_time_goes_on(cluster, bench):
    """The clock is checked by the program itself at every step; a sleep that is moved lasts as long as it should."""
    out = cluster.sh(1, "sleep 6 & P=$!; S=$(date +%s%N); sleep 0.3; for n in 2 3 1 2; do banyanctl migrate --wait $P $n >&2 || "
                        "exit 99; done; wait $P; E=$(date +%s%N); echo $(( (E - S) / 1000000 ))", timeout=40)
    assert 5900 <= int(out) <= 12000


def test_refused_with_a_reason_and_unharmed(cluster, bench):
    cluster.sh(1, "cd /home/moves; (python3 -c 'import socket,time; s=socket.socket(); time.sleep(6); print(\"fine\")' "
                  ">refused.out 2>&1) >/dev/null 2>&1 & sleep 2; pgrep -n python3 >/home/moves/refused.pid")
    pid = cluster.sh(1, f"cat {bench}/refused.pid")
    refusal = cluster.run(1, "banyanctl", "migrate", "--wait", pid, "2", check=False)
    assert refusal.returncode != 0 and "socket" in refusal.stderr
    reasons = json.loads(cluster.sh(1, f"banyanctl explain --json {pid} 2 || true"))
    assert [reason["name"] for reason in reasons["reasons"]] == ["socket"]
    cluster.until("it runs on to its end", lambda: cluster.sh(1, f"cat {bench}/refused.out") == "fine", limit=20)


# What it runs, and the reasons that may keep it from moving at times.
PROGRAMS = {
    # Debian's confines itself by Landlock.
    "xz": ("xz -T1 -6 -c input", ()),
    "gzip": ("gzip -9 -c input", ()),
    "bc": ("bc -l pi.bc", ()),
    "lua": ("lua5.4 work.lua", ()),
    "python": ("python3 work.py", ()),
    # While it holds its locks it stays.
    "sqlite": ("sqlite3 work.db '.read work.sql'", ("file-lock",)),
}


@pytest.mark.limit(300)
@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_real_programs(cluster, bench, name):
    cluster.sh(1, f"""cd {bench}; rm -f work.db
cat /usr/bin/python3.13 /usr/bin/python3.13 >input
echo 'scale=2000; 4*a(1)' > pi.bc; echo quit >> pi.bc
cat > work.lua <<'X'
local s, t = 0, {{}}
for i = 1, 9000000 do s = (s * 31 + i) % 1000003; t[i % 1000] = s end
print(s, #t, math.sin(s))
X
cat > work.py <<'X'
import hashlib, math
h, big, f = hashlib.sha256(), 1, 0.0
for i in range(1, 9000):
    big = big * i % (2 ** 4423 - 1)
    f += math.sin(i) * math.sqrt(i)
    h.update(str(big).encode() + bytes(5000))
print(h.hexdigest(), f)
X
cat > work.sql <<'X'
drop table if exists t;
create table t(a integer primary key, b text);
with recursive c(x) as (select 1 union all select x+1 from c where x < 150000) insert into t select x, hex(x*x) from c;
select count(*), sum(length(b)), max(b), sum(length(b) * a % 7) from t;
with recursive c(x) as (select 1 union all select x+1 from c where x < 1500000) select sum(x * x % 7) from c;
pragma integrity_check;
X
""")
    command, but = PROGRAMS[name]
    moves = same_as_unmoved(cluster, bench, name, command, moves=10, pause=0.3, but=but)
    assert moves >= 2, f"it moved only {moves} times"


def test_no_process_is_left(cluster, bench):
    for node in cluster.nodes:
        cluster.until("no deputy or guest is left", limit=10, condition=lambda n=node: cluster.sh(
            n, "banyanctl ps --json") in ("[]", '{"processes": []}', '{"processes":[]}'))
