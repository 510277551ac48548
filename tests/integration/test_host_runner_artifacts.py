"""Artifacts from a host's disk over real HTTP: all of them, once chosen, whoever goes away meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.contracts import Trigger
from libs.contracts.artifacts import LEFT_OUT
from services.host_runner.artifact_uploads import ArtifactUploads
from services.host_runner.core.decide import decide
from services.host_runner.core.vocabulary import RunExited, RunRequested
from services.host_runner.journal import Journal
from tests.support.artifact_sink import ArtifactSink
from tests.support.host_runner import at, deployment, given_keys, trigger
from tests.support.log_sink import TOKEN
from tests.support.outcomes import a_success
from tests.support.wait import until_async

ONE, TWO = trigger("a"), trigger("b", device_id="stb-2")


class Bench:
    """A journal, the folders of two runs, and the uploads between that and the sink."""

    def __init__(self, place: Path, sink: ArtifactSink) -> None:
        self.journal = Journal(place / "journal.sqlite", fresh_id=deployment("journal"))
        self.host = self.journal.load(frozenset({"stb-1", "stb-2"}), 2)
        self.place = place / "artifacts"
        self.uploads = ArtifactUploads(self.journal.artifacts, self.place, sink.url, given_keys(place, TOKEN))

    def ended(self, *triggers: object) -> None:
        for one in triggers:
            for event in (
                RunRequested(one, False, at(0)),  # type: ignore[arg-type]
                RunExited(one.execution_id, None, a_success(at(1)), at(1)),  # type: ignore[attr-defined]
            ):
                after, commands = decide(self.host, event)
                self.journal.record(self.host, after, commands, [], at(1))
                self.host = after

    def leave(self, one: object, **files: bytes) -> Path:
        folder = self.place / str(one.execution_id)  # type: ignore[attr-defined]
        for name, content in files.items():
            path = folder / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder

    async def is_done(self) -> bool:
        assert self.uploads.failure is None
        return not self.journal.artifacts.folders(9)

    async def close(self) -> None:
        await self.uploads.stop(5)
        assert self.uploads.failure is None
        self.journal.close()


@pytest.fixture
async def sink() -> AsyncIterator[ArtifactSink]:
    sink = ArtifactSink()
    await sink.start()
    yield sink
    await sink.stop()


@pytest.fixture
async def bench(tmp_path: Path, sink: ArtifactSink) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, sink)
    yield bench
    await bench.close()


async def test_all_that_is_left_is_sent_and_the_folder_goes(bench: Bench, sink: ArtifactSink, tmp_path: Path) -> None:
    big = bytes(range(256)) * 4096
    folder = bench.leave(ONE, junit_xml=b"<testsuite/>", sub__shot_png=big, empty_txt=b"")
    (folder / "größe %?#.txt").write_bytes(b"odd")
    (tmp_path / "secret").write_text("no")
    (folder / "link").symlink_to(tmp_path / "secret")
    bench.ended(ONE, TWO)  # the second left nothing
    await bench.uploads.start()
    await until_async(bench.is_done, within=5)
    sent = {name: content for (execution, name), content in sink.files.items() if execution == ONE.execution_id}
    assert sent == {
        "junit.xml": b"<testsuite/>",
        "sub/shot.png": big,
        "empty.txt": b"",
        "größe %?#.txt": b"odd",
        LEFT_OUT: b"link: it is no regular file\n",
    }
    assert len(sink.files) == 5
    assert sink.order[0] == "junit.xml"
    assert not folder.exists()
    assert (tmp_path / "secret").exists()


async def test_a_run_that_runs_keeps_its_files(bench: Bench, sink: ArtifactSink) -> None:
    folder = bench.leave(ONE, a_txt=b"a")
    bench.leave(TWO, b_txt=b"b")
    bench.ended(TWO)
    await bench.uploads.start()
    await until_async(bench.is_done, within=5)
    assert list(sink.files) == [(TWO.execution_id, "b.txt")]
    assert (folder / "a.txt").exists()


async def test_a_restart_goes_on_with_what_was_chosen(bench: Bench, sink: ArtifactSink, tmp_path: Path) -> None:
    folder = bench.leave(ONE, a_txt=b"a", bb_txt=b"bb", ccc_txt=b"ccc")
    bench.ended(ONE)
    sink.statuses["bb.txt"] = 503
    await bench.uploads.start()

    async def is_refused() -> bool:
        return "bb.txt" in sink.order

    await until_async(is_refused, within=5)
    await bench.uploads.stop(5)
    assert list(sink.files) == [(ONE.execution_id, "a.txt")]
    # Given something that comes too late, and an API that takes files again
    (folder / "late.txt").write_bytes(b"late")
    sink.statuses.clear()
    again = Bench(tmp_path, sink)
    await again.uploads.start()
    await until_async(again.is_done, within=5)
    await again.close()
    assert sorted(name for _, name in sink.files) == ["a.txt", "bb.txt", "ccc.txt"]
    assert sink.order.count("a.txt") == 1
    assert not folder.exists()


async def test_files_wait_while_the_api_is_away(bench: Bench, sink: ArtifactSink) -> None:
    await sink.stop()
    bench.leave(ONE, a_txt=b"a")
    bench.ended(ONE)
    await bench.uploads.start()

    async def is_chosen() -> bool:
        return any(folder.is_planned for folder in bench.journal.artifacts.folders(9))

    await until_async(is_chosen, within=5)
    await sink.start()
    await until_async(bench.is_done, within=10)
    assert list(sink.files.values()) == [b"a"]


async def test_one_that_is_refused_keeps_no_other_back(bench: Bench, sink: ArtifactSink) -> None:
    sink.statuses |= {"a.txt": 413, "b.txt": 503}
    bench.leave(ONE, a_txt=b"a", c_txt=b"ccc")
    first = bench.leave(TWO, b_txt=b"b")
    bench.ended(ONE, TWO)
    await bench.uploads.start()

    async def only_the_second_waits() -> bool:
        return [folder.execution_id for folder in bench.journal.artifacts.folders(9)] == [TWO.execution_id]

    await until_async(only_the_second_waits, within=5)
    assert list(sink.files) == [(ONE.execution_id, "c.txt")]
    assert (first / "b.txt").exists()
    sink.statuses.clear()
    await until_async(bench.is_done, within=10)


@pytest.mark.parametrize(("stuck", "other"), [(ONE, TWO), (TWO, ONE)])
async def test_one_over_which_the_connection_breaks_keeps_no_other_back(
    bench: Bench, sink: ArtifactSink, stuck: Trigger, other: Trigger
) -> None:
    sink.statuses["a.txt"] = 0
    bench.leave(stuck, a_txt=b"a")
    bench.leave(other, b_txt=b"b")
    bench.ended(ONE, TWO)
    await bench.uploads.start()

    async def only_the_stuck_one_waits() -> bool:
        return [folder.execution_id for folder in bench.journal.artifacts.folders(9)] == [stuck.execution_id]

    await until_async(only_the_stuck_one_waits, within=5)
    sink.statuses.clear()
    await until_async(bench.is_done, within=10)
    assert sorted(name for _, name in sink.files) == ["a.txt", "b.txt"]


async def test_what_vanished_meanwhile_is_passed_over(bench: Bench, sink: ArtifactSink) -> None:
    folder = bench.leave(ONE, a_txt=b"a", bb_txt=b"bb")
    bench.ended(ONE)
    bench.journal.artifacts.plan(ONE.execution_id, ["a.txt", "bb.txt"], [])
    (folder / "a.txt").unlink()
    await bench.uploads.start()
    await until_async(bench.is_done, within=5)
    assert list(sink.files.values()) == [b"bb"]
