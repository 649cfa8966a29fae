#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The target's side of a move by criu: takes the files of a dump over TCP into tmpfs, has criu restore them, and says so.

  receiver.py PORT

One connection for each move. It brings a line of JSON with names and sizes of the files, and the files; it is answered by a
line with criu's status and how long it took. A second line, empty, has the process check its memory: answered by its exit status.
"""

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

IMAGES = Path("/dev/shm/bench-criu")
CHUNK = 1 << 20
PR_SET_CHILD_SUBREAPER = 36


def take(stream, files: list) -> None:
    """The files, as they come, straight into tmpfs."""
    buffer = memoryview(bytearray(CHUNK))
    for name, size in files:
        with open(IMAGES / Path(name).name, "wb", buffering=0) as out:
            while size:
                got = stream.readinto(buffer[:min(size, CHUNK)])
                if not got:
                    raise ConnectionError("the other end went away")
                out.write(buffer[:got])
                size -= got


def serve(connection: socket.socket) -> None:
    shutil.rmtree(IMAGES, ignore_errors=True)
    IMAGES.mkdir(mode=0o700)
    with connection, connection.makefile("rwb", buffering=CHUNK) as stream:
        request = json.loads(stream.readline())
        take(stream, request["files"])
        begin = time.monotonic()
        done = subprocess.run(["criu", "restore", "--restore-detached", "--images-dir", str(IMAGES), "--log-file", "restore.log"],
                              check=False)
        answer = {"status": done.returncode, "restore": time.monotonic() - begin}
        stream.write(json.dumps(answer).encode() + b"\n")
        stream.flush()
        if done.returncode:
            print((IMAGES / "restore.log").read_text(errors="replace")[-2000:], flush=True)
        elif stream.readline():
            os.kill(request["pid"], signal.SIGUSR1)
            # Its parent ended with criu, so it is a child of the subreaper.
            _, status = os.waitpid(request["pid"], 0)
            stream.write(json.dumps({"exit": os.waitstatus_to_exitcode(status)}).encode() + b"\n")
            stream.flush()
    shutil.rmtree(IMAGES, ignore_errors=True)


def main() -> int:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with socket.create_server(("", int(sys.argv[1]))) as listener:
        while True:
            connection, _ = listener.accept()
            try:
                serve(connection)
            except (OSError, ValueError) as error:
                print(f"receiver: {error}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
