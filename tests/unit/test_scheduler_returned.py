"""How long a message without a queue is tried."""

from __future__ import annotations

from services.scheduler.returned import Returned


def test_it_is_given_up_after_its_time_and_not_before() -> None:
    returned = Returned[int](10)
    assert [returned.given_up({1, 2}, {1}, at) for at in (0, 5, 9.9)] == [frozenset()] * 3
    assert returned.given_up({1, 2}, {1, 2}, 10) == {1}, "the other one has come back for the first time"


def test_what_was_sent_meanwhile_begins_anew() -> None:
    returned = Returned[int](10)
    returned.given_up({1}, {1}, 0)
    assert returned.given_up({1}, set(), 5) == frozenset()
    assert returned.given_up({1}, {1}, 11) == frozenset()


def test_the_turn_of_another_scheduler_renews_no_patience() -> None:
    returned = Returned[int](10)
    returned.given_up({1}, {1}, 0)
    assert returned.given_up({2}, {2}, 6) == frozenset()
    assert returned.given_up({1}, {1}, 11) == {1}


def test_what_another_scheduler_has_sent_begins_anew_the_next_time() -> None:
    returned = Returned[int](10)
    returned.given_up({1}, {1}, 0)
    assert returned.given_up({1}, {1}, 60) == frozenset()
    assert returned.given_up({1}, {1}, 70) == {1}
