"""What the scanner shows and says: rounds of pages, news, and when the next look is."""

from __future__ import annotations

from uuid import UUID

import pytest

from libs.invariants import CHECKS, Check, CheckName, Finding, Look
from services.scheduler.findings import News, Round, news, pause

MISSING, OVERDUE = CheckName.MISSING_FIRES, CheckName.OVERDUE_FIRES


def a_look(missing: int = 0, overdue: int = 0, *, last: bool = True) -> Look:
    rows = {MISSING: missing, OVERDUE: overdue}
    findings = tuple(
        Finding(
            invariant,
            tuple(Check(n, rows.get(n, 0), tuple(f"{n} {i}" for i in range(rows.get(n, 0)))) for n in names),
            "",
        )
        for invariant, names in CHECKS.items()
    )
    return Look(findings, None if last else UUID(int=1))


def shown(*looks: Look) -> list[tuple[int, int]]:
    """Of missing and of overdue fires, after each look."""
    now, found = Round(), []
    for look in looks:
        now, checks = now.add(look)
        assert set(checks) == set(CheckName)
        found.append((checks[MISSING].rows, checks[OVERDUE].rows))
    return found


def test_what_one_look_takes_whole_is_shown_as_it_is() -> None:
    assert shown(a_look(2, 1), a_look(0, 3), a_look(5, 0)) == [(2, 1), (0, 3), (5, 0)]


def test_pages_add_up_and_are_well_after_a_whole_round() -> None:
    first = [a_look(2, 1, last=False), a_look(0, 0, last=False), a_look(1)]
    second = [a_look(0, last=False), a_look(0, last=False), a_look(0)]
    assert shown(*first, *second) == [(2, 1), (2, 0), (3, 0), (3, 0), (3, 0), (0, 0)]


def test_a_worse_round_shows_before_it_is_whole() -> None:
    assert shown(a_look(1, last=False), a_look(0), a_look(4, last=False)) == [(1, 0), (1, 0), (4, 0)]


def test_the_examples_of_pages_are_kept_up_to_ten() -> None:
    now, _ = Round().add(a_look(7, last=False))
    _, checks = now.add(a_look(7))
    assert (checks[MISSING].rows, len(checks[MISSING].examples)) == (14, 10)


def test_an_invariant_tells_the_first_example_of_each_check_first() -> None:
    finding = Finding("I1", (Check(MISSING, 20, ("a", "b") * 5), Check(OVERDUE, 1, ("c",))), "")
    assert (finding.rows, finding.ok, finding.examples[:3], len(finding.examples)) == (21, False, ("a", "c", "b"), 10)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, Check(OVERDUE), []),
        (None, Check(OVERDUE, 1, ("a",)), [News.FOUND]),
        (Check(OVERDUE), Check(OVERDUE, 1, ("a",)), [News.FOUND]),
        (Check(OVERDUE, 1, ("a",)), Check(OVERDUE, 1, ("a",)), []),
        (Check(OVERDUE, 1, ("a",)), Check(OVERDUE, 2, ("a",)), [News.CHANGED]),
        (Check(OVERDUE, 1, ("a",)), Check(OVERDUE, 1, ("b",)), [News.CHANGED]),
        (Check(OVERDUE, 1, ("a",)), Check(OVERDUE), [News.GONE]),
    ],
)
def test_each_finding_is_news_once(before: Check | None, after: Check, told: list[News]) -> None:
    assert [what for what, _ in news({OVERDUE: before} if before else {}, {OVERDUE: after})] == told


@pytest.mark.parametrize(
    ("second", "every", "wanted"),
    [(20, 60, 60), (5, 60, 70), (15, 60, 60), (50, 30, 30), (35, 30, 40), (59, 0.2, 0.2), (0, 10, 10)],
)
def test_a_look_leaves_the_first_seconds_of_a_minute_alone(second: float, every: float, wanted: float) -> None:
    assert pause(second, every) == pytest.approx(wanted)
