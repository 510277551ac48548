"""The stores of logs and artifacts, each on real files and on a server that speaks S3, as several workers use them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from services.api.artifact_store import ArtifactStore
from services.api.log_store import GapError, LogStore
from services.api.object_store import STORE_AWAY, open_store
from services.api.retention import files
from services.api.retention.files import Folder, OldFiles
from tests.support.s3 import S3

RUN = UUID("019b76da-a800-7a47-9938-42ca151e1e4b")
NAMES = ["a", "a/b", "A", "größe %20#1?.html", "x#1", "~*\"'<>|", "😀" * 60, "con.txt", ".hidden"]


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh store: a folder with a blank in its name, or a bucket with a prefix."""
    if request.param == "file":
        return f"file://{tmp_path}/arti%20facts"
    server: S3 = request.getfixturevalue("s3")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{server.bucket(f'bucket-{tmp_path.name}'.replace('_', '-').lower()[:60])}/lab/one"


@pytest.fixture
def workers(url: str) -> tuple[ObjectStore, ObjectStore]:
    """Two workers; neither hears of what the other stores."""
    return open_store(url), open_store(url)


@pytest.fixture
def logs(workers: tuple[ObjectStore, ObjectStore]) -> tuple[LogStore, LogStore]:
    return LogStore(workers[0]), LogStore(workers[1])


@pytest.fixture
def artifacts(workers: tuple[ObjectStore, ObjectStore]) -> tuple[ArtifactStore, ArtifactStore]:
    return ArtifactStore(workers[0]), ArtifactStore(workers[1])


async def whole(store: LogStore) -> bytes:
    parts = await store.parts(RUN)
    return b"".join([piece async for piece in store.read(RUN, parts, 0, parts[-1].end if parts else 0)])


async def content(store: ArtifactStore, name: str, start: int, end: int) -> bytes:
    return b"".join([piece async for piece in await store.open(RUN, name, start, end)])


async def test_a_part_is_never_replaced_by_a_shorter_one(logs: tuple[LogStore, LogStore]) -> None:
    one, other = logs
    await one.append(RUN, 0, b"0123456789")
    await other.append(RUN, 0, b"01234")
    assert await whole(one) == b"0123456789"


async def test_a_worker_that_lags_behind_appends_at_the_true_end(logs: tuple[LogStore, LogStore]) -> None:
    one, other = logs
    await one.append(RUN, 0, b"abc")
    await other.append(RUN, 3, b"def")
    await one.append(RUN, 3, b"defgh")
    await other.append(RUN, 8, b"ij")
    assert await whole(one) == await whole(other) == b"abcdefghij"
    assert await one.size(RUN) == 10
    parts = await other.parts(RUN, after=4)
    assert b"".join([piece async for piece in other.read(RUN, parts, 4, 9)]) == b"efghi"


async def test_workers_at_once_leave_each_byte_once(logs: tuple[LogStore, LogStore]) -> None:
    for start in range(0, 50, 10):
        piece = bytes(range(start, start + 10))
        await asyncio.gather(*(store.append(RUN, start, piece[:end]) for store in logs for end in (4, 10)))
        await logs[0].append(RUN, start, piece)
    assert await whole(logs[1]) == bytes(range(50))


async def test_a_gap_says_what_is_there(logs: tuple[LogStore, LogStore]) -> None:
    one, other = logs
    await one.append(RUN, 0, b"abc")
    with pytest.raises(GapError) as gap:
        await other.append(RUN, 4, b"x")
    assert gap.value.have == 3
    assert await whole(one) == b"abc"


async def test_logs_of_others_are_not_touched(logs: tuple[LogStore, LogStore]) -> None:
    store, _ = logs
    await store.append(RUN, 0, b"abc")
    other = UUID(int=RUN.int + 1)
    await store.append(other, 0, b"z")
    assert await store.size(RUN) == 3
    assert [part.end for part in await store.parts(other)] == [1]
    assert await store.parts(UUID(int=1)) == []


async def test_files_of_any_name_are_kept_apart(artifacts: tuple[ArtifactStore, ArtifactStore]) -> None:
    one, other = artifacts
    for name in NAMES:
        await one.put(RUN, name, name.encode())
    for name in NAMES:
        size = len(name.encode())
        assert await content(other, name, 0, size) == name.encode()
    await other.put(RUN, "a", b"again")
    assert await content(one, "a", 0, 5) == b"again"
    assert await content(one, "a", 1, 3) == b"ga"
    await one.put(RUN, "empty", b"")
    assert await content(other, "empty", 0, 0) == b""


async def test_what_is_not_there_is_told_apart_from_a_store_that_is_away(
    artifacts: tuple[ArtifactStore, ArtifactStore],
) -> None:
    for start, end in ((0, 3), (0, 0)):
        with pytest.raises(FileNotFoundError):
            await artifacts[0].open(RUN, "none", start, end)


async def test_a_big_file_is_streamed_and_a_broken_upload_leaves_nothing(
    artifacts: tuple[ArtifactStore, ArtifactStore],
) -> None:
    store, _ = artifacts
    piece = bytes(range(256)) * 4096
    number = 12

    async def stream(breaks: bool) -> AsyncIterator[bytes]:
        for _ in range(number):
            yield piece
        if breaks:
            raise ConnectionAbortedError("gone")

    await store.put(RUN, "big", stream(False))
    assert await content(store, "big", len(piece) - 3, len(piece) + 3) == piece[-3:] + piece[:3]
    assert len(await content(store, "big", 0, number * len(piece))) == number * len(piece)
    with pytest.raises(ConnectionAbortedError):
        await store.put(RUN, "broken", stream(True))
    with pytest.raises(FileNotFoundError):
        await store.open(RUN, "broken", 0, 1)


async def test_a_bucket_that_cannot_be_had_is_a_store_that_is_away(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(STORE_AWAY):
        await LogStore(open_store("s3://no-such-bucket/x")).append(RUN, 0, b"x")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "false")
    with pytest.raises(BaseError, match="builder error"):
        await LogStore(open_store("s3://no-such-bucket/x")).append(RUN, 0, b"x")


async def test_old_files_are_found_by_their_paths_in_order_and_removed(
    workers: tuple[ObjectStore, ObjectStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "AT_ONCE", 3)
    store, old_files = workers[0], OldFiles(workers[1])
    logs, artifacts = LogStore(store), ArtifactStore(store)
    ids = [UUID(int=RUN.int + (number << 80)) for number in range(4)]
    for execution in reversed(ids):
        for start in (0, 3):
            await logs.append(execution, start, b"abc")
    await artifacts.put(ids[0], "a/b", b"12345")
    await store.put_async("logs/readme.txt", b"not ours")

    async def found(folder: Folder, horizon: UUID) -> list[list[tuple[UUID, int]]]:
        return [[(one.execution_id, one.size) for one in step] async for step in old_files.before(folder, horizon)]

    assert await found(Folder.LOGS, ids[0]) == []
    assert await found(Folder.ARTIFACTS, ids[3]) == [[(ids[0], 5)]]
    assert await found(Folder.LOGS, ids[3]) == [
        [(ids[0], 3), (ids[0], 3), (ids[1], 3)],
        [(ids[1], 3), (ids[2], 3), (ids[2], 3)],
    ]
    async for step in old_files.before(Folder.LOGS, ids[3]):
        await old_files.remove(step[:2])
        await old_files.remove(step)  # of some nothing is left: no fault
    assert await found(Folder.LOGS, ids[3]) == []
    assert await logs.size(ids[3]) == 6
    await LogStore(store).append(ids[0], 0, b"anew")
    assert await found(Folder.LOGS, ids[1]) == [[(ids[0], 4)]]
    assert bytes((await store.get_async("logs/readme.txt")).bytes()) == b"not ours"
