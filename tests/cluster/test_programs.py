# SPDX-License-Identifier: GPL-2.0
"""Bigger programs: a compiler under its driver, a user of wide vector registers, and editors on a terminal.

Each runs once unmoved and once moved at least ten times round three nodes; output and exit status must be equal.
"""

import json

import pytest
from test_move import bench, roam, same_as_unmoved  # noqa: F401

# Makes big.c: enough for the compiler to be busy for a while.
BIG = r"""python3 - >big.c <<'X'
print("#include <stdio.h>\n#include <string.h>\n#include <math.h>")
for i in range(60):
    print(f'''static double f{i}(double x, const char *s, int n)
{{
        double a[16] = {{ {i}, x }};
        for (int i = 0; i < n; i++)
                switch (s[i] ^ {i % 7}) {{
                case 1: a[i & 15] += sqrt(x) * {i}; break;
                case {10 + i % 90}: a[(i + {i}) & 15] -= x / (n + 1); break;
                default: a[3] *= strlen(s + i);
                }}
        return a[n & 15] + a[{i % 16}];
}}''')
print("int main(void)\n{\n\tdouble s = 0;\n" + "".join(f"\ts += f{i}({i}, \"{i}\", {i % 5});\n" for i in range(60))
      + "\tprintf(\"%f\\n\", s);\n\treturn 0;\n}")
X"""


@pytest.mark.limit(300)
@pytest.mark.parametrize("how", ["-pipe", pytest.param("", marks=pytest.mark.full)])
def test_compiler(cluster, bench, how):  # noqa: F811
    """cc1 moves, the child of gcc. It writes to a pipe, or to a temporary file on the local /tmp of its home."""
    cluster.sh(1, f"cd {bench}; " + BIG)
    moves = same_as_unmoved(cluster, bench, "cc1", f"sh -c 'gcc {how} -O1 -c big.c -o big.o && cat big.o'",
                            moves=14, pause=0.4, child="cc1", limit=180)
    assert moves >= 10, f"it moved only {moves} times"


@pytest.mark.limit(300)
def test_vector_registers(cluster, bench):  # noqa: F811
    """OpenSSL's SHA-256 and ChaCha20 work in the AVX registers nearly all of the time."""
    flags = cluster.sh(1, "grep -m1 ^flags /proc/cpuinfo").split()
    assert "avx" in flags, "the machine has no wide vector registers"
    # A password that takes long to try: SHA-256 over and over, then a cipher in the same registers.
    command = "openssl enc -chacha20 -pbkdf2 -iter 1500000 -md sha256 -S 0123456789abcdef -k word -in /usr/bin/python3.13"
    moves = same_as_unmoved(cluster, bench, "vector", command, moves=12, pause=0.2, limit=120)
    assert moves >= 10, f"it moved only {moves} times"


@pytest.mark.full
@pytest.mark.limit(600)
def test_video(cluster, bench):  # noqa: F811
    """ffmpeg: two hundred libraries, vector code by hand. It moves while it starts and ends; else it has threads, and stays."""
    command = ("ffmpeg -nostdin -v error -threads 1 -filter_threads 1 -f lavfi -i testsrc2=size=320x240:rate=25:duration=6 "
               "-c:v mpeg4 -threads 1 -bitexact -f avi pipe:1")
    same_as_unmoved(cluster, bench, "ffmpeg", command, moves=12, pause=0.5, limit=240, but=("threads", "changed"))


KEYS = {
    # A line is typed at once; the last one ends the program. vim is not among them: its timer is a thread of the C library.
    "less": ("less less.txt", [" ", " ", "b", r"/line 77\r", "n", "G", "g", "40g", "jj", "kkk", "dd", "u", r"?line 5\r", "q"]),
}

# Reasons that are gone a moment later, on a machine that is busy.
PASSING = ("busy", "changed", "in-kernel")


def on_terminal(cluster, bench, name, moves):  # noqa: F811
    """Returns what keys.py says, and the screens."""
    command, keys = KEYS[name]
    typed = "\n".join(keys)
    cluster.sh(1, f"cd {bench}; seq -f 'this is line %g of many' 300 >less.txt; "
                  f"cat >{name}.keys <<'X'\n{typed}\nX")
    line = cluster.sh(1, f"cd {bench} && python3 keys.py --moves {moves} {name}.keys {name}.screens -- {command}", timeout=200)
    result = json.loads(line.splitlines()[-1])
    assert all(any(f"[{name}," in words for name in PASSING) for words in result["answers"]), f"moves were refused: {result}"
    return result, cluster.sh(1, f"cd {bench}; cat -v {name}.screens")


@pytest.mark.limit(400)
@pytest.mark.parametrize("name", ["less"])
def test_on_a_terminal(cluster, bench, name):  # noqa: F811
    """Keys go to the terminal at home; after each, screen and settings are those of a run that was not moved."""
    plain, wanted = on_terminal(cluster, bench, name, 0)
    assert wanted.count("\n== ") >= len(KEYS[name][1]) - 1 and len(wanted) > 5000, "the screens are empty"
    moved, screens = on_terminal(cluster, bench, name, 12)
    assert screens == wanted
    assert moved["status"] == plain["status"] == 0
    assert moved["moves"] >= 10
