"""Becomes another program that dies with its parent. Started by path, `python -I -S launch.py …`; stdlib only.

Arguments: the parent's pid, the signal that the program gets when the parent dies, uid, gid (`-` leaves both), the
program and its arguments. A program of its own instead of a function run between fork and exec: that may deadlock in a
parent that has threads. The order matters: the kernel forgets the death signal when the user changes, and keeps it over
a plain exec.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Replaces this process; returns only with an exception."""
    parent, death_signal, uid, gid, *command = arguments
    if uid != "-":
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
        os.umask(0o077)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != int(parent):
        sys.exit(1)  # it died before the kernel knew what to send
    # The interpreter ignores two, nohup and a shell's background jobs others; an ignored one stays ignored over exec.
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execv(command[0], command)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main(sys.argv[1:])
