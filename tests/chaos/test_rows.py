"""A short part of the fault suite: some rows, drawn with the seed, on a stage of their own.

`make test TESTS=tests/chaos/test_rows.py ARGS="--seed 7"` draws the same again; `make chaos` runs all of it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import rows as _rows  # noqa: F401 # registers them
from tests.chaos.mutants import MUTANTS
from tests.chaos.report import table
from tests.chaos.row import ROWS
from tests.chaos.stage import Stage, build
from tests.chaos.suite import Result, Suite, line, read, run_row
from tests.faults.points import POINTS

ROOT = Path(__file__).parents[2]
ALWAYS = ("kill:any", "messages:mangled", "users:pause-unheard")
"""Rows that hold the system to a time are for a machine that does nothing else."""
DRAWN = 5


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = build(tmp_path_factory.mktemp("chaos") / "stage")
    try:
        yield stage
    finally:
        stage.close()


@pytest.mark.timeout(600)
def test_some_rows_of_the_fault_suite_hold(stage: Stage, seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    points = sorted(name for name in ROWS if name.startswith(("kill:", "slow:")) and "." in name)
    chosen = [*ALWAYS, *random.Random(seed).sample(points, DRAWN)]
    found: list[str] = []
    for name in chosen:
        result = run_row(stage, ROWS[name], seed)
        with capsys.disabled():
            print(f"\n{line(result)}", end="")  # noqa: T201
        found += result.broken
        if result.broken:
            break
    assert found == []


def test_every_mutant_still_has_its_place() -> None:
    edits = [(mutant.name, edit) for mutant in MUTANTS for edit in mutant.edits]
    assert [name for name, edit in edits if (ROOT / edit.file).read_text().count(edit.old) != 1] == []


def test_every_point_has_its_rows() -> None:
    for point in POINTS:
        assert {f"kill:{point.name}", f"slow:{point.name}"} <= set(ROWS)


def test_results_are_kept_and_resumed(tmp_path: Path) -> None:
    kept = tmp_path / "seed-1.jsonl"
    row = ROWS["kill:any"]
    kept.write_text(
        '{"row": "kill:any", "seed": 1, "invariants": "I1", "seconds": 2.0, "notes": [], "broken": ["I1: x"]}\n'
    )
    results = Suite(1, kept, {"common": _never}, lambda _: None).run([row])
    assert results == read(kept) == [Result("kill:any", 1, "I1", 2.0, [], ["I1: x"])]


def test_the_report_tells_what_held_what_broke_and_what_was_not_run() -> None:
    one = {"kill:any": Result("kill:any", 1, "I1 to I7", 12.3, ["back after 2 s", "3 completed"], [])}
    two = {"kill:any": Result("kill:any", 2, "I1 to I7", 9.0, ["4 completed"], ["I3: x"])}
    lines = table({"seed 1": one, "seed 2": two})
    kill_any, race = (ROWS[name].says for name in ("kill:any", "users:race"))
    assert f"| `kill:any` | {kill_any} | I1 to I7 | 12 s | **broken** | back after 2 s |" in lines
    assert f"| `users:race` | {race} | I1 to I7 |  |  |  |" in lines
    assert lines[-1] == "seed 2: 1 rows, 0 held, 1 broken, 0 minutes."


def _never(_: Path) -> Stage:
    raise AssertionError("nothing is left to be done")
