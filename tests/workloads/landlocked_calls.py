#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes system calls that Landlock judges, each while it is away; confines itself further on the way.

  landlocked_calls.py AWAY...      as home_calls.py, whose driver this is
"""
import ctypes
import os
import shutil
import struct
import sys

import home_calls

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_FILE, MAKE_REG = (1 << bit for bit in (0, 1, 2, 3, 5, 8))
ALL = (1 << 16) - 1
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
PATH_BENEATH = 1
PR_SET_NO_NEW_PRIVS = 38
PLACE = "landlocked.tmp"
CALLS = {}
# Opened before and after the process confined itself.
FREE, BOUND = 20, 21

libc = ctypes.CDLL(None, use_errno=True)


def system_call(*arguments) -> int:
    result = libc.syscall(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def confine(rules) -> None:
    """From here on only what the rules allow: (path, rights)."""
    attributes = struct.pack("=Q", ALL)
    ruleset = system_call(CREATE_RULESET, attributes, len(attributes), 0)
    for path, rights in rules:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        system_call(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", rights, fd), 0)
        os.close(fd)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    system_call(RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


call = home_calls.registrar(CALLS)
call(home_calls.stay)


@call
def look(_):
    """Landlock does not judge this."""
    return os.path.exists(PLACE), os.stat("/usr").st_mode, os.access("/", os.R_OK)


@call
def write_where_it_may(_):
    with open(f"{PLACE}/new", "w", encoding="utf-8") as f:
        return f.write("allowed")


@call
def write_where_it_may_not(_):
    with open("landlocked.other", "w", encoding="utf-8") as f:
        return f.write("never")


@call
def read(_):
    with open(f"{PLACE}/free", encoding="utf-8") as f:
        return f.read()


@call
def write_what_was_open(_):
    return os.write(FREE, b"more"), os.write(BOUND, b"more")


@call
def truncate_what_was_open_before(_):
    os.ftruncate(FREE, 3)
    return os.fstat(FREE).st_size


@call
def truncate_what_was_opened_since(_):
    os.ftruncate(BOUND, 3)
    return "truncated"


@call
def remove_where_it_may_not(_):
    os.unlink("landlocked_calls.py")


@call
def make_directory(_):
    os.mkdir(f"{PLACE}/directory")


@call
def null_device(_):
    with open("/dev/null", "wb") as f:
        return f.write(b"never")


@call
def confine_further(_):
    confine([])
    return "confined"


@call
def stay_again(_):
    return sum(range(1000))


@call
def read_now(_):
    with open(f"{PLACE}/free", encoding="utf-8") as f:
        return f.read()


@call
def write_what_is_still_open(_):
    return os.write(FREE, b"and more"), os.write(BOUND, b"and more"), os.fstat(FREE).st_size


@call
def end(_):
    return "the end"


def main() -> int:
    if sys.argv[1:] == ["--program"]:
        shutil.rmtree(PLACE, ignore_errors=True)
        os.mkdir(PLACE)
        os.dup2(os.open(f"{PLACE}/free", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), FREE)
        os.write(FREE, b"before")
        confine([("/", READ_FILE | READ_DIR | EXECUTE), (PLACE, WRITE_FILE | MAKE_REG | REMOVE_FILE)])
        os.dup2(os.open(f"{PLACE}/bound", os.O_WRONLY | os.O_CREAT), BOUND)
    return home_calls.main(__file__, CALLS)


if __name__ == "__main__":
    sys.exit(main())
