# ruff: noqa: PTH100, PTH104, PTH108, PTH118, PTH120, PTH123 # as in the real one: pathlib takes 5 ms to import
"""The test build of the shim: `python -I -S shim.py FOLDER PROCESS REAL_SHIM` and then what the real one is told.

Standard library only, as the real one. What an order is stands in `orders.py`, which cannot be imported here.
"""

import importlib.machinery
import importlib.util
import json
import os
import runpy
import signal
import sys
import time

folder, runner, real = sys.argv[1:4]
del sys.argv[1:4]
WAIT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support", "wait.py")


def take(point: str) -> None:
    path, taken = f"{folder}/{point}", f"{folder}/{point}.taken-{os.getpid()}"
    try:
        os.rename(path, taken)
    except FileNotFoundError:
        return
    with open(taken, encoding="utf-8") as file:
        order = json.load(file)
    os.unlink(taken)
    if order["passes"] > 0:
        with open(f"{path}.draft", "w", encoding="utf-8") as file:
            json.dump(order | {"passes": order["passes"] - 1}, file)
        os.rename(f"{path}.draft", path)
        return
    note = {"point": point, "process": "shim", "pid": os.getpid(), "action": order["action"], "at": time.time()}
    with open(f"{folder}/done", "a", encoding="utf-8") as book:
        book.write(json.dumps(note) + "\n")
    if order["action"] == "late":
        # By its path: nothing can be imported here (-I -S).
        runpy.run_path(WAIT)["until_after"](order["seconds"])
    else:
        os.kill(os.getpid(), signal.SIGKILL if order["action"] == "die" else signal.SIGSTOP)


class Clock:
    """The module `time`, with a wall clock that a test has set."""

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)

    @staticmethod
    def time() -> float:
        try:
            with open(f"{folder}/clock.{runner}", encoding="utf-8") as file:
                return time.time() + float(file.read())
        except FileNotFoundError:
            return time.time()


loader = importlib.machinery.SourceFileLoader("shim", real)
spec = importlib.util.spec_from_loader("shim", loader)
assert spec is not None
shim = importlib.util.module_from_spec(spec)
loader.exec_module(shim)
shim.time = Clock()  # type: ignore[attr-defined]
mark, report, fork = shim.Record.mark, shim.Shim.report, shim.Tree.fork


def test_mark(self: object, execution: str, cgroup: str) -> bool:
    take("shim.mark.begun")
    is_ours = bool(mark(self, execution, cgroup))
    take("shim.mark.made")
    return is_ours


def test_report(self: object) -> None:
    take("shim.ended")
    report(self)
    take("shim.reported")


def test_fork(self: object) -> int:
    pid = int(fork(self))
    if pid:
        take("shim.forked")
    return pid


shim.Record.mark, shim.Shim.report, shim.Tree.fork = test_mark, test_report, test_fork
os._exit(shim.main(sys.argv))
