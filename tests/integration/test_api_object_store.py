"""The log store on real files, as several web workers use it at once."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from services.api.log_store import GapError, LogStore

RUN = UUID("019b76da-a800-7a47-9938-42ca151e1e4b")


async def whole(store: LogStore) -> bytes:
    parts = await store.parts(RUN)
    return b"".join([piece async for piece in store.read(RUN, parts, 0, parts[-1].end if parts else 0)])


@pytest.fixture
def stores(tmp_path: Path) -> tuple[LogStore, LogStore]:
    """Two workers on one folder (with a blank in its name); neither hears of what the other stores."""
    url = f"file://{tmp_path}/arti%20facts"
    return LogStore.at(url), LogStore.at(url)


async def test_a_part_is_never_replaced_by_a_shorter_one(stores: tuple[LogStore, LogStore]) -> None:
    one, other = stores
    await one.append(RUN, 0, b"0123456789")
    await other.append(RUN, 0, b"01234")
    assert await whole(one) == b"0123456789"


async def test_a_worker_that_lags_behind_appends_at_the_true_end(stores: tuple[LogStore, LogStore]) -> None:
    one, other = stores
    await one.append(RUN, 0, b"abc")
    await other.append(RUN, 3, b"def")
    await one.append(RUN, 3, b"defgh")
    await other.append(RUN, 8, b"ij")
    assert await whole(one) == await whole(other) == b"abcdefghij"
    assert await one.size(RUN) == 10


async def test_a_gap_says_what_is_there(stores: tuple[LogStore, LogStore]) -> None:
    one, other = stores
    await one.append(RUN, 0, b"abc")
    with pytest.raises(GapError) as gap:
        await other.append(RUN, 4, b"x")
    assert gap.value.have == 3
    assert await whole(one) == b"abc"


async def test_logs_of_others_are_not_touched(stores: tuple[LogStore, LogStore]) -> None:
    store, _ = stores
    await store.append(RUN, 0, b"abc")
    other = UUID(int=RUN.int + 1)
    await store.append(other, 0, b"z")
    assert await store.size(RUN) == 3
    assert [part.end for part in await store.parts(other)] == [1]
