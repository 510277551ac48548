"""The change feed's arithmetic: cursors, what a stretch comes to, and a client that is too slow."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from uuid import UUID

import pytest

from services.api.core.feed import Change, Cursor, Position, decode, latest, seen_by, whole_transactions
from services.api.frames import Frame
from services.api.subscriber import MOST_WAITING, Subscriber

A, B = UUID(int=1), UUID(int=2)


def change(xid: int, number: int, resource: str = "x", *, team: UUID | None = A, kind: str = "execution") -> Change:
    return Change(Position(xid, number), team, kind, resource)


def cursor(xid: int, number: int = 0) -> Cursor:
    return Cursor(1, Position(xid, number))


def as_text(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize("kept", [cursor(0), cursor(748, 12), Cursor(29_000_000, Position(2**64 - 1, 2**63 - 1))])
def test_a_cursor_comes_back_as_it_was(kept: Cursor) -> None:
    assert decode(kept.encode()) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "é",
        "a" * 5000,
        "====",
        *map(as_text, ("1.2", "1.2.3.4", "-1.2.3", "1. 2.3", "1.2.x", f"1.{2**64}.0", "١.٢.٣")),
    ],
)
def test_another_text_is_no_cursor(text: str) -> None:
    assert decode(text) is None


def test_positions_are_ordered_by_transaction_first() -> None:
    assert Position(7, 99) < Position(8, 1) < Position(8, 2)


def test_the_last_state_is_told_at_its_place() -> None:
    changes = [change(1, 1, "a"), change(1, 2, "b"), change(2, 3, "a"), change(2, 4, "a", kind="device")]
    told = [(each.kind, each.resource, each.position.id) for each in latest(changes)]
    assert told == [("execution", "b", 2), ("execution", "a", 3), ("device", "a", 4)]


def test_who_goes_on_from_any_event_is_told_the_rest_and_nothing_twice() -> None:
    changes = [change(1, 1, "a"), change(1, 2, "b"), change(2, 3, "a"), change(3, 4, "c"), change(4, 5, "b")]
    whole = latest(changes)
    for cut, last in enumerate(whole):
        rest = latest([each for each in changes if each.position > last.position])
        assert rest == whole[cut + 1 :]


def test_each_team_sees_its_own_and_what_is_for_all() -> None:
    changes = [change(1, 1), change(1, 2, team=B), change(1, 3, team=None)]
    assert [each.position.id for each in seen_by(changes, A)] == [1, 3]
    assert [each.position.id for each in seen_by(changes, None)] == [1, 2, 3]


def test_a_transaction_is_not_cut_in_two_unless_it_is_all_there_is() -> None:
    changes = [change(1, 1), change(2, 2), change(2, 3)]
    assert whole_transactions(changes, 3) == changes[:1]
    assert whole_transactions(changes, 4) == changes
    assert whole_transactions(changes[1:], 2) == changes[1:]
    assert whole_transactions([], 3) == []


async def test_a_client_gets_what_came_since_it_began() -> None:
    subscriber = Subscriber(A, lambda _: None)
    subscriber.give([Frame(cursor(1), b"before")], cursor(1))
    subscriber.begin(cursor(1))
    subscriber.give([Frame(cursor(2), b"after")], cursor(2))
    subscriber.give([], cursor(3))
    assert await subscriber.take(0) == ([Frame(cursor(2), b"after")], cursor(3))
    assert await subscriber.take(0.001) == ([], cursor(3))


async def test_a_client_that_is_too_slow_is_cut_off() -> None:
    left: list[Subscriber] = []
    subscriber = Subscriber(A, left.append)
    subscriber.begin(cursor(0))
    for number in range(MOST_WAITING):
        subscriber.give([Frame(cursor(number), b"x")], cursor(number))
    before = subscriber.ended
    subscriber.give([Frame(cursor(9), b"x")], cursor(9))
    assert (before, subscriber.ended) == (False, True)
    assert (await subscriber.take(1))[0] == []
    subscriber.close()
    assert left == [subscriber]
