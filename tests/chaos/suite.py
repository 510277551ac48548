"""Runs rows with a seed, checks the invariants after each, and keeps what came of it, so that a suite resumes."""

from __future__ import annotations

import contextlib
import json
import random
import re
import shutil
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psycopg

from libs.stack.errors import StackError
from tests.chaos.row import Row
from tests.chaos.scene import Scene, watched
from tests.chaos.stage import Stage

KEPT_LOGS = Path("chaos")


@dataclass(frozen=True)
class Result:
    """What came of a row. `broken`: the sentences of what did not hold; none: it is green."""

    row: str
    seed: int
    invariants: str
    seconds: float
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything held."""
        return not self.broken


def run_row(stage: Stage, row: Row, seed: int) -> Result:
    """Do what the row does, let all come to rest, check."""
    scene = Scene(stage, row.name, random.Random(f"{seed} {row.name}"))
    began = time.monotonic()
    watcher = watched(stage)
    found: list[str] = []
    try:
        row.act(scene)
        scene.heal()
        scene.rest()
        scene.every_host_runs()
        scene.rest()
        found += scene.broken()
    except Exception as error:  # noqa: BLE001 # whatever a row meets is its result
        words = str(error) or type(error).__name__
        at = traceback.extract_tb(error.__traceback__)
        where = next(
            (f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(at) if "chaos" in frame.filename), ""
        )
        found.append(
            words if re.match("I[1-7]:", words) else f"{row.name} at {where}: {type(error).__name__}: {words[:600]}"
        )
        try:
            scene.heal()
        except Exception:  # noqa: BLE001 # the stage is thrown away anyway
            found.append("the stage could not be healed")
    found += watcher.stop()
    with contextlib.suppress(psycopg.Error):
        outcomes = scene.outcomes()
        scene.notes.append(", ".join(f"{number} {word}" for word, number in sorted(_by_status(outcomes).items())))
        if not outcomes:
            found.append(f"{row.name}: nothing was fired or run at all")
    if not found and not row.ends_dirty:
        try:
            scene.tidy()
        except Exception as error:  # noqa: BLE001 # as above
            found.append(f"tidying up: {error}")
    return Result(row.name, seed, row.invariants, round(time.monotonic() - began, 1), scene.notes, found)


def _by_status(outcomes: Counter[tuple[str, str]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for (status, _), number in outcomes.items():
        found[status] += number
    return found


class Suite:
    """Rows of one seed; `results` is the file that they are appended to, `builders` make the stages by name."""

    def __init__(
        self, seed: int, results: Path, builders: dict[str, Callable[[Path], Stage]], say: Callable[[str], None]
    ) -> None:
        self._seed = seed
        self._results = results
        self._builders = builders
        self._say = say
        self._stage: tuple[str, Stage] | None = None

    def run(self, rows: Sequence[Row]) -> list[Result]:
        """Run those that have no result yet, in the order of their stages; all results."""
        results = {each.row: each for each in read(self._results) if each.seed == self._seed}
        try:
            for row in sorted(rows, key=lambda each: list(self._builders).index(each.stage)):
                if row.name in results:
                    continue
                result = self._run(row)
                results[row.name] = result
                self._results.parent.mkdir(parents=True, exist_ok=True)
                with self._results.open("a") as file:
                    file.write(json.dumps(asdict(result)) + "\n")
                self._say(line(result))
                for sentence in result.broken[:8]:
                    self._say(f"      {sentence}")
        finally:
            self._end(None)
        return [results[row.name] for row in rows if row.name in results]

    def _run(self, row: Row) -> Result:
        try:
            stage = self._on(row.stage)
        except StackError as error:
            return Result(row.name, self._seed, row.invariants, 0.0, broken=[f"there is no stage for it: {error}"])
        result = run_row(stage, row, self._seed)
        if not result.ok or row.ends_dirty:
            self._end(None if result.ok else f"{self._seed}-{row.name}")
        return result

    def _on(self, name: str) -> Stage:
        if self._stage is not None and self._stage[0] == name:
            return self._stage[1]
        self._end(None)
        stage = self._builders[name](Path(tempfile.mkdtemp(prefix="rigbeat-chaos-")) / "stage")
        self._stage = (name, stage)
        return stage

    def _end(self, keep_as: str | None) -> None:
        """End the stage; of one on which something broke the logs and journals are kept."""
        if self._stage is None:
            return
        _, stage = self._stage
        self._stage = None
        stage.close()
        if keep_as is not None:
            kept = self._results.parent / "logs" / keep_as.replace(":", "_")
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(stage.folder / "log", kept, ignore_dangling_symlinks=True)
        shutil.rmtree(stage.folder.parent, ignore_errors=True)


def read(results: Path) -> list[Result]:
    """What was kept."""
    if not results.exists():
        return []
    return [Result(**json.loads(text)) for text in results.read_text().splitlines()]


def line(result: Result) -> str:
    """Its line of the table."""
    verdict = "ok    " if result.ok else "BROKEN"
    notes = "; ".join(result.notes)
    return f"{verdict} {result.row:<42} {result.invariants:<12} {result.seconds:6.1f} s  {notes}"
