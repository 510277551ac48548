"""`python -m tests.faults.build services.scheduler`: a service as it is, but for what a test may tell it at its points.

FAULTS_FOLDER names the folder of the orders, FAULTS_PROCESS the process. The API's children are spawned with this very
module as their main one, so they are of the test build too; of a `__main__.py` they would not be (multiprocessing.spawn
leaves those out).
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from pathlib import Path

from tests.faults.seams import Seams

KINDS = {
    "services.scheduler": ("scheduler",),
    "services.host_runner": ("runner",),
    "services.api": (),  # it only keeps its children
    "services.api.ingest": ("ingest",),
}


def _install(kinds: tuple[str, ...], name: str) -> None:
    seams = Seams(Path(os.environ["FAULTS_FOLDER"]), name)  # noqa: TID251 # the test build's own
    seams.install(kinds)
    if "runner" in kinds:
        seams.install_for_runner()


if __name__ == "__main__":
    _install(KINDS[sys.argv[1]], os.environ["FAULTS_PROCESS"])  # noqa: TID251
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__")
elif __name__ == "__mp_main__":
    child = multiprocessing.current_process().name
    _install(("ingest",) if child == "ingest" else ("web",), f"{os.environ['FAULTS_PROCESS']}/{child}")  # noqa: TID251
