"""Parts tolerate every order of start and stop; serve ends for a signal with 0 and for a fault with 1."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time

import pytest
from pydantic import Field

from libs.chassis.lifecycle import Part, main, readiness, serve
from libs.chassis.settings import ServiceSettings


class Recorded(Part):
    """Writes down what happens to it; `drain` seconds of work are left when it is told to stop."""

    def __init__(self, name: str, journal: list[str], drain: float = 0.0) -> None:
        super().__init__(name)
        self.journal = journal
        self.drain = drain

    async def run(self) -> None:
        self.journal.append(f"{self.name} began")
        try:
            await self.stopping.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.drain):
                    await asyncio.Event().wait()
            self.journal.append(f"{self.name} drained")
        except asyncio.CancelledError:
            self.journal.append(f"{self.name} cancelled")
            raise


class Failing(Part):
    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.error = error

    async def run(self) -> None:
        if self.error is not None:
            raise self.error


class Signalling(Recorded):
    """Sends this process a signal as soon as it runs."""

    async def run(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await super().run()


async def test_starting_twice_begins_once() -> None:
    journal: list[str] = []
    part = Recorded("p", journal)
    seen = [part.ready]
    await part.start()
    await part.start()
    seen.append(part.ready)
    await part.stop(1)
    seen.append(part.ready)
    assert journal == ["p began", "p drained"]
    assert seen == [False, True, False]


async def test_a_stop_before_the_start_means_that_it_never_starts() -> None:
    journal: list[str] = []
    part = Recorded("p", journal)
    await part.stop(1)
    await part.start()
    await part.stop(1)
    assert journal == []


async def test_stopping_twice_and_at_once_is_one_stop() -> None:
    journal: list[str] = []
    part = Recorded("p", journal, drain=0.05)
    await part.start()
    await asyncio.gather(part.stop(1), part.stop(1))
    await part.stop(1)
    assert journal == ["p began", "p drained"]


async def test_a_body_that_takes_longer_is_cancelled_once() -> None:
    journal: list[str] = []
    part = Recorded("p", journal, drain=60)
    await part.start()
    began = time.monotonic()
    await asyncio.gather(part.stop(0.1), part.stop(0.1))
    assert time.monotonic() - began < 2
    assert journal == ["p began", "p cancelled"]


async def test_a_second_stop_does_not_interrupt_the_cleaning_up() -> None:
    class Cleaning(Part):
        cleaned = False
        cleaning = asyncio.Event()
        may_end = asyncio.Event()

        async def run(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                self.cleaning.set()
                await self.may_end.wait()
                self.cleaned = True

    part = Cleaning()
    await part.start()
    first = asyncio.create_task(part.stop(0.01))
    async with asyncio.timeout(2):
        await part.cleaning.wait()
    second = asyncio.create_task(part.stop(0.0))
    await asyncio.wait({second}, timeout=0.05)
    part.may_end.set()
    await asyncio.gather(first, second)
    assert part.cleaned


async def test_a_part_says_itself_when_it_is_not_ready() -> None:
    part = Recorded("p", [])
    await part.start()
    part.ready = False
    assert readiness([part]) == {"p": False}
    part.ready = True
    assert readiness([part]) == {"p": True}
    await part.stop(1)


async def test_a_signal_stops_all_in_reverse_order_and_is_a_success() -> None:
    journal: list[str] = []
    assert await serve([Recorded("first", journal), Signalling("second", journal)]) == 0
    assert journal == ["first began", "second began", "second drained", "first drained"]


async def test_the_drain_is_bounded_for_all_together() -> None:
    journal: list[str] = []
    slow = [Recorded(name, journal, drain=60) for name in ("a", "b")]
    began = time.monotonic()
    assert await serve([*slow, Signalling("c", journal)], drain_seconds=0.2) == 0
    assert time.monotonic() - began < 2
    assert journal[-2:] == ["b cancelled", "a cancelled"]


@pytest.mark.parametrize("error", [None, LookupError("a bug")])
async def test_a_part_that_ends_by_itself_ends_the_process_with_1(error: Exception | None) -> None:
    journal: list[str] = []
    assert await serve([Recorded("other", journal), Failing(error)]) == 1
    assert journal == ["other began", "other drained"]


async def test_a_part_that_cannot_start_ends_what_has_started() -> None:
    class Unstartable(Part):
        async def run(self) -> None:
            await self.stopping.wait()

        async def start(self) -> None:
            raise OSError("the port is taken")

    journal: list[str] = []
    assert await serve([Recorded("first", journal), Unstartable(), Recorded("never", journal)]) == 1
    assert journal in (["first began", "first drained"], [])


async def test_a_crash_while_draining_is_a_fault() -> None:
    class CrashesAtTheEnd(Signalling):
        async def run(self) -> None:
            await super().run()
            raise LookupError("a bug")

    assert await serve([CrashesAtTheEnd("p", [])]) == 1


async def test_serve_gives_the_signals_back() -> None:
    await serve([Failing(None)])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


class Wanting(ServiceSettings):
    amqp_url: str = Field(description="a URL")
    database_url: str


def test_main_ends_with_2_and_all_that_is_wrong_with_the_configuration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RIGBEAT_AMQP_URL", "RIGBEAT_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as ended:
        main("scheduler", Wanting, lambda _: [])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "RIGBEAT_AMQP_URL: is not set" in said
    assert "RIGBEAT_DATABASE_URL: is not set" in said


PROGRAM = """
from libs.chassis.lifecycle import Part, main
from libs.chassis.settings import ServiceSettings

class Waiting(Part):
    async def run(self):
        print("up", flush=True)
        await self.stopping.wait()
        print("drained", flush=True)

async def build(settings):
    return [Waiting()]

main("waiting", ServiceSettings, build, uvloop=UVLOOP)
"""


@pytest.mark.parametrize("uvloop", [False, True])
async def test_a_real_process_drains_on_sigterm_and_ends_with_0(uvloop: bool) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM.replace("UVLOOP", str(uvloop)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"up\n"
            process.terminate()
            out, err = await process.communicate()
        assert (process.returncode, out) == (0, b"drained\n"), err
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
