"""The test build: its points are where the product is, its orders are carried out once, and no wheel has it."""

from __future__ import annotations

import asyncio
import inspect
import json
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from libs.stack.process import run
from tests.faults import orders
from tests.faults.orders import Action, Order
from tests.faults.points import BY_NAME, POINTS, Point
from tests.faults.seams import Seams, real_shim, resolve

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("point", [point for point in POINTS if point.kind != "shim"], ids=lambda point: point.name)
def test_every_point_is_where_the_product_is(point: Point) -> None:
    owner, name = resolve(point)
    assert callable(getattr(owner, name))


def test_points_of_the_shim_are_its_own_methods() -> None:
    from services.host_runner.shim import program

    for point in POINTS:
        if point.kind == "shim":
            kind, _, method = point.seam.partition(".")
            assert inspect.isfunction(getattr(getattr(program, kind), method))
            assert point.name in (ROOT / "tests/faults/shim.py").read_text()


def test_names_are_told_apart() -> None:
    assert len(BY_NAME) == len(POINTS)


def test_production_has_nothing_of_it() -> None:
    for folder in ("libs", "services", "cli", "examples"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            assert "tests.faults" not in text, path
            assert "FAULTS_" not in text, path
    import tomllib

    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert not any(fnmatch("tests.faults", pattern) for pattern in packages)


def test_an_order_is_carried_out_once_by_one(tmp_path: Path) -> None:
    orders.give(tmp_path, "a.point", Order(Action.LATE, seconds=2.0))
    assert orders.take(tmp_path, "another.point", "one") is None
    assert orders.take(tmp_path, "a.point", "one") == Order(Action.LATE, 2.0)
    assert orders.take(tmp_path, "a.point", "two") is None
    [note] = orders.done(tmp_path)
    assert (note["point"], note["process"], note["action"]) == ("a.point", "one", "late")


def test_an_order_lets_so_many_pass_first(tmp_path: Path) -> None:
    orders.give(tmp_path, "a.point", Order(Action.LIE, passes=2))
    taken = [orders.take(tmp_path, "a.point", "one") for _ in range(4)]
    assert taken == [None, None, Order(Action.LIE), None]


def test_an_order_may_be_for_one_process_alone(tmp_path: Path) -> None:
    orders.give(tmp_path, "a.point", Order(Action.LATE), "two")
    assert orders.take(tmp_path, "a.point", "one") is None
    assert orders.take(tmp_path, "a.point", "two") == Order(Action.LATE)


def test_orders_that_nobody_took_are_taken_back(tmp_path: Path) -> None:
    orders.give(tmp_path, "a.point", Order(Action.DIE))
    orders.set_clock(tmp_path, "one", 120.0)
    assert orders.take_back(tmp_path) == ["a.point"]
    assert orders.take(tmp_path, "a.point", "one") is None
    assert orders.clock_offset(tmp_path, "one") == 120.0


class _Product:
    async def effect(self, number: int) -> int:
        return number + 1


def test_a_seam_is_late_and_lies_although_the_effect_has_happened(tmp_path: Path) -> None:
    def refuse(_: Any) -> Any:
        raise ConnectionError("the answer was lost")

    point = Point("x.done", f"{__name__}:_Product.effect", "after", "", lie=refuse)
    original = _Product.effect
    try:
        Seams(tmp_path, "one")._wrap(point)
        product = _Product()
        assert asyncio.run(product.effect(1)) == 2
        orders.give(tmp_path, "x.done", Order(Action.LATE, seconds=0.01))
        assert asyncio.run(product.effect(1)) == 2
        orders.give(tmp_path, "x.done", Order(Action.LIE))
        with pytest.raises(ConnectionError, match="lost"):
            asyncio.run(product.effect(1))
        assert asyncio.run(product.effect(1)) == 2
    finally:
        _Product.effect = original  # type: ignore[method-assign]
    assert [note["action"] for note in orders.done(tmp_path)] == ["late", "lie"]


def test_the_test_build_of_the_shim_is_told_too(tmp_path: Path) -> None:
    import sys

    folder, run_dir = tmp_path / "orders", tmp_path / "run"
    folder.mkdir()
    run_dir.mkdir()
    orders.give(folder, "shim.ended", Order(Action.DIE))
    real = real_shim(folder, "runner")
    command = [sys.executable, "-I", "-S", str(ROOT / "tests/faults/shim.py"), str(folder), "runner", str(real)]
    told = [str(run_dir), "--timeout", "10", "--grace", "1", "--max-output", "1000", "--cwd", str(tmp_path), "--"]
    ended = run([*command, *told, "/bin/echo", "hello"], env={"RIGBEAT_EXECUTION_ID": "e"}, within=20)
    assert ended.code == -9
    assert (run_dir / "output").read_text() == "hello\n"
    assert not (run_dir / "status").exists()
    assert json.loads((folder / "done").read_text())["point"] == "shim.ended"
    assert orders.take_back(folder) == []
