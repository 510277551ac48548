"""Log uploads over real HTTP: nothing is lost when either side goes away."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.host_runner.core.decide import decide
from services.host_runner.core.host import Host
from services.host_runner.core.vocabulary import RunExited, RunRequested
from services.host_runner.journal import Journal
from services.host_runner.sending import EVERY_SECONDS
from services.host_runner.uploads import PART_BYTES, Uploads
from tests.support.host_runner import at, deployment, given_keys, trigger
from tests.support.log_sink import TOKEN, LogSink
from tests.support.outcomes import a_success
from tests.support.wait import until_async

ONE = trigger("a")


@pytest.fixture
async def sink() -> AsyncIterator[LogSink]:
    sink = LogSink()
    await sink.start()
    yield sink
    await sink.stop()


class Bench:
    """A journal with one running execution, its output file, and the uploads between that and the sink."""

    def __init__(self, place: Path, sink: LogSink, token: str = TOKEN) -> None:
        self.sink = sink
        self.journal = Journal(place / "journal.sqlite", fresh_id=deployment("journal"))
        self.host = self.journal.load(frozenset({"stb-1"}), 1)
        self.runs = place / "runs"
        self.output = self.runs / str(ONE.execution_id) / "output"
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self.uploads = Uploads(self.journal, self.runs, "output", sink.url, given_keys(place, token))

    def run(self) -> None:
        self._record(*decide(self.host, RunRequested(ONE, False, at(0))))

    def end(self) -> None:
        self._record(*decide(self.host, RunExited(ONE.execution_id, None, a_success(at(1)), at(1))))

    def _record(self, after: Host, commands: tuple[object, ...]) -> None:
        self.journal.record(self.host, after, commands, [], at(1))  # type: ignore[arg-type]
        self.host = after

    def write(self, piece: bytes) -> None:
        with self.output.open("ab") as file:
            file.write(piece)

    async def arrives(self, whole: bytes, within: float = 5) -> None:
        async def is_there() -> bool:
            return bytes(self.sink.logs[ONE.execution_id]) == whole

        await until_async(is_there, within=within)

    async def is_done(self) -> bool:
        return not self.journal.open_logs()


@pytest.fixture
async def bench(tmp_path: Path, sink: LogSink) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, sink)
    bench.run()
    await bench.uploads.start()
    yield bench
    await bench.uploads.stop(5)
    assert bench.uploads.failure is None
    bench.journal.close()


async def test_no_proxy_of_the_environment_is_told_the_token(
    tmp_path: Path, sink: LogSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    bench = Bench(tmp_path, sink)
    bench.run()
    await bench.uploads.start()
    bench.write(b"hello")
    await bench.arrives(b"hello")
    await bench.uploads.stop(5)
    bench.journal.close()


async def test_a_log_arrives_while_it_grows_and_is_done_when_it_ends(bench: Bench) -> None:
    bench.write(b"first\n")
    await bench.arrives(b"first\n")
    assert not await bench.is_done()
    bench.write("zweite Zeile\n".encode("utf-16"))
    bench.end()
    await until_async(bench.is_done, within=5)
    await bench.arrives(b"first\n" + "zweite Zeile\n".encode("utf-16"))


async def test_a_big_log_goes_in_parts(bench: Bench) -> None:
    whole = bytes(range(256)) * (PART_BYTES // 256 * 6 + 1)
    bench.write(whole)
    bench.end()
    await until_async(bench.is_done, within=10)
    await bench.arrives(whole)
    assert bench.sink.requests >= 7


async def test_what_the_api_lost_is_sent_again(bench: Bench, sink: LogSink) -> None:
    bench.write(b"0123456789")
    await bench.arrives(b"0123456789")
    sink.logs[ONE.execution_id] = bytearray(b"012")
    bench.write(b"abc")
    bench.end()
    await until_async(bench.is_done, within=5)
    await bench.arrives(b"0123456789abc")


async def test_a_log_waits_while_the_api_is_away(bench: Bench, sink: LogSink) -> None:
    bench.write(b"before ")
    await bench.arrives(b"before ")
    await sink.stop()
    bench.write(b"while away ")
    bench.end()
    await sink.start()
    await until_async(bench.is_done, within=10)
    await bench.arrives(b"before while away ")


async def test_a_failing_api_is_asked_again(bench: Bench, sink: LogSink) -> None:
    sink.answers[ONE.execution_id] = 503
    bench.write(b"text")

    async def is_asked() -> bool:
        return sink.requests >= 2

    await until_async(is_asked, within=5)
    del sink.answers[ONE.execution_id]
    bench.end()
    await until_async(bench.is_done, within=10)
    await bench.arrives(b"text")


@pytest.mark.parametrize("status", [403, 404])
async def test_a_log_that_the_api_refuses_is_given_up(bench: Bench, sink: LogSink, status: int) -> None:
    sink.answers[ONE.execution_id] = status
    bench.write(b"text")
    bench.end()
    await until_async(bench.is_done, within=5)
    assert sink.requests == 1


async def test_a_wrong_token_gives_nothing_up(tmp_path: Path, sink: LogSink) -> None:
    bench = Bench(tmp_path, sink, token="another's")
    bench.run()
    bench.write(b"text")
    bench.end()
    await bench.uploads.start()

    async def is_refused() -> bool:
        return sink.refusals > 0

    await until_async(is_refused, within=5)
    await bench.uploads.stop(5)
    assert [log.sent for log in bench.journal.open_logs()] == [0]
    bench.journal.close()


async def test_a_restart_goes_on_where_it_was(bench: Bench, sink: LogSink, tmp_path: Path) -> None:
    bench.write(b"x" * 1000)
    await bench.arrives(b"x" * 1000)

    async def is_noted() -> bool:
        return bench.journal.open_logs()[0].sent == 1000

    await until_async(is_noted, within=5)
    await bench.uploads.stop(5)
    requests = sink.requests
    again = Bench(tmp_path, sink)
    again.write(b"yy")
    await again.uploads.start()
    await again.arrives(b"x" * 1000 + b"yy")
    assert sink.requests == requests + 1
    await again.uploads.stop(5)
    again.journal.close()


async def test_the_api_is_not_asked_for_what_never_printed(bench: Bench, sink: LogSink) -> None:
    bench.end()
    await until_async(bench.is_done, within=5)
    assert sink.requests == 0


async def test_a_script_that_prints_on_is_sent_in_a_measured_pace(tmp_path: Path) -> None:
    asked_at: list[float] = []

    class SlowApi(LogSink):
        """While it takes a part, the script prints more."""

        def _take(self, head: bytes, body: bytes) -> tuple[int, bytes]:
            asked_at.append(time.monotonic())
            log.write(b".")
            return super()._take(head, body)

    sink = SlowApi()
    await sink.start()
    log = Bench(tmp_path, sink)
    log.run()
    log.write(b".")
    await log.uploads.start()

    async def was_asked_often() -> bool:
        return len(asked_at) >= 4

    try:
        await until_async(was_asked_often, within=10)
        # Three pauses are between four parts.
        assert asked_at[3] - asked_at[0] >= 2.5 * EVERY_SECONDS
    finally:
        await log.uploads.stop(5)
        await sink.stop()
        log.journal.close()
