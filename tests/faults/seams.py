"""Wraps the product's own functions where the points are."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.faults.mangler import Mangler
from tests.faults.orders import Action, Order, clock_offset, stop_here, take
from tests.faults.points import POINTS, Point
from tests.support.wait import until_after, until_after_async

SHIM = Path(__file__).with_name("shim.py")


class Seams:
    """One process of the test build: `process` is its name, `folder` where its orders come from."""

    def __init__(self, folder: Path, process: str) -> None:
        self._folder = folder
        self._process = process

    def install(self, kinds: Sequence[str]) -> None:
        """Wrap all points of these kinds. The modules are imported for it, the lowest first."""
        publisher = importlib.import_module("libs.chassis.amqp.publisher").Publisher
        Mangler(self._folder, self._process, publisher.publish).install()
        for point in POINTS:
            if point.kind in kinds and point.kind != "shim":
                self._wrap(point)

    def install_for_runner(self) -> None:
        """Let shims be the test build too, and the host's clock be what a test says."""
        process = importlib.import_module("services.host_runner.process")
        interpreter, folder, name = process.interpreter, self._folder, self._process

        def test_build(python: str, place: Path) -> tuple[str, ...]:
            assert interpreter(python, place)
            return (python, "-I", "-S", str(SHIM), str(folder), name, str(real_shim(folder, name)))

        process.__dict__["interpreter"] = test_build
        runner = importlib.import_module("services.host_runner.runner").Runner
        made = runner.__init__

        def with_clock(
            self: Any, host: Any, journal: Any, identity: Any, log: Any, now: Callable[[], datetime]
        ) -> None:
            made(self, host, journal, identity, log, lambda: now() + timedelta(seconds=clock_offset(folder, name)))

        runner.__init__ = with_clock
        own_now = process._now
        process.__dict__["_now"] = lambda: own_now() + timedelta(seconds=clock_offset(folder, name))

    def _wrap(self, point: Point) -> None:
        owner, name = resolve(point)
        original = getattr(owner, name)
        wrap = self._wrapped_async if inspect.iscoroutinefunction(original) else self._wrapped
        wrapped = wrap(point, original)
        is_static = isinstance(inspect.getattr_static(owner, name), staticmethod)
        setattr(owner, name, staticmethod(wrapped) if is_static else wrapped)
        # Who imported it by its name has it under that name.
        for module in [each for key, each in sys.modules.items() if key.startswith(("libs.", "services."))]:
            if vars(module).get(name) is original:
                setattr(module, name, wrapped)

    def _wrapped_async(self, point: Point, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def call(*arguments: Any, **named: Any) -> Any:
            if point.when == "before":
                order = self._order(point, arguments, None)
                if order is not None:
                    stop_here(order.action)
                    await until_after_async(order.seconds)
                return await original(*arguments, **named)
            answer = await original(*arguments, **named)
            order = self._order(point, arguments, answer)
            if order is None:
                return answer
            stop_here(order.action)
            await until_after_async(order.seconds)
            return point.lie(answer) if order.action is Action.LIE and point.lie is not None else answer

        return call

    def _wrapped(self, point: Point, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*arguments: Any, **named: Any) -> Any:
            if point.when == "before":
                order = self._order(point, arguments, None)
                if order is not None:
                    stop_here(order.action)
                    until_after(order.seconds)
                return original(*arguments, **named)
            answer = original(*arguments, **named)
            order = self._order(point, arguments, answer)
            if order is not None:
                stop_here(order.action)
                until_after(order.seconds)
            return answer

        return call

    def _order(self, point: Point, arguments: tuple[Any, ...], answer: Any) -> Order | None:
        return take(self._folder, point.name, self._process) if point.applies(arguments, answer) else None


def resolve(point: Point) -> tuple[Any, str]:
    """The module or class that has the point's function, and its name there. Raises when the product has changed."""
    module, _, path = point.seam.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for each in classes:
        owner = getattr(owner, each)
    getattr(owner, name)
    return owner, name


def real_shim(folder: Path, process: str) -> Path:
    """The product's shim as one file, for the test build to wrap."""
    path = folder / f"real-shim.{process}.py"
    if not path.exists():
        draft = path.with_suffix(".draft")
        draft.write_text(importlib.import_module("services.host_runner.interpreter").whole_source(), encoding="utf-8")
        draft.rename(path)
    return path
