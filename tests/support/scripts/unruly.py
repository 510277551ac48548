"""A script that does not behave: it notes its execution, then forks, floods, ignores TERM or leaves a daemon."""

import argparse
import os
import pathlib
import signal
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("userinterface", nargs="?")
parser.add_argument("--effects", required=True)
parser.add_argument("--seconds", type=float, default=0)
parser.add_argument("--how", default="", choices=["", "forks", "flood", "deaf", "daemon"])
parser.add_argument("--host")
parser.add_argument("--device")
arguments = parser.parse_args()

with (pathlib.Path(arguments.effects) / "effects.log").open("a") as effects:
    effects.write(f"{os.environ['RIGBEAT_EXECUTION_ID']} {arguments.device}\n")
match arguments.how:
    case "forks":
        # Each lives for a moment and leaves two behind it: never more than some hundred at once.
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if os.fork() == 0:
                os.setsid()
                time.sleep(0.2)
                if os.fork() == 0:
                    time.sleep(0.2)
                os._exit(0)
            time.sleep(0.002)
    case "flood":
        piece = b"x" * 79 + b"\n"
        while True:
            sys.stdout.buffer.write(piece * 1000)
    case "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1)
    case "daemon":
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for descriptor in range(3):
                    os.close(descriptor)
                time.sleep(600)
            os._exit(0)
