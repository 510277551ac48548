"""Run a box: `python -m examples.settopbox --port 9301 --name stb-1`. SIGTERM and Ctrl-C stop it cleanly."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time

from examples.settopbox.box import Box
from examples.settopbox.server import SetTopBoxServer


def main() -> int:
    """Serve until told to stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.settopbox", description="A virtual set-top box")
    parser.add_argument("--port", type=int, default=9301, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--name", default="stb-1", help="what the box calls itself")
    parser.add_argument("--boot-seconds", type=float, default=3.0, help="how long the box takes to boot")
    parser.add_argument("--verbose", action="store_true", help="one line for each request")
    arguments = parser.parse_args()

    box = Box(name=arguments.name, now=time.monotonic(), boot_seconds=arguments.boot_seconds)
    try:
        server = SetTopBoxServer(box, arguments.port, verbose=arguments.verbose)
    except (OSError, OverflowError) as error:
        print(f"{arguments.name} cannot listen on 127.0.0.1:{arguments.port}: {error}", file=sys.stderr)
        return 1

    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, lambda *_: stopping.set())
    # In a thread of its own: `shutdown` waits for `serve_forever` and must not be called from within it.
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, name="serving")
    serving.start()
    print(f"{arguments.name} listens on {server.url}", flush=True)
    stopping.wait()
    server.shutdown()
    serving.join()
    server.server_close()
    print(f"{arguments.name} has stopped", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
