# SPDX-License-Identifier: GPL-2.0
"""Outlives the supervisor by a moment, to remove the state directory.

One per cluster, outside its namespaces. If it is killed itself, the kernel ends the
supervisor (parent death signal) and with it every process of the cluster; only the
state directory then stays, until the next `up` or `down`. Its standard input is a pipe
from `up`: if that closes before `up` has written "up" to it, `up` has died, and the
half-made cluster goes too.

usage: python3 -m testbed.keeper STATE_DIR COMMAND...
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> int:
    state = Path(sys.argv[1])
    (state / "keeper").write_text(str(os.getpid()))
    child = subprocess.Popen(sys.argv[2:], preexec_fn=die_with_parent, stdin=subprocess.DEVNULL)

    def watch() -> None:
        # os.read, for a thread in a buffered read would trouble the interpreter's end.
        if os.read(0, 16) != b"up":
            child.kill()

    threading.Thread(target=watch, daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: child.kill())
    status = child.wait()
    shutil.rmtree(state, ignore_errors=True)
    try:
        state.parent.rmdir()
    except OSError:
        pass
    return status


if __name__ == "__main__":
    sys.exit(main())
