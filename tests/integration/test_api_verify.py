"""`POST /verify` on a real ledger: clean as the scheduler leaves it; each invariant broken by hand is found alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.contracts import DeploymentStatus
from libs.invariants import CHECKS, CheckName
from libs.invariants.fires import History, Interval, Misfits, Period, Rows, broken, nominal
from tests.support.api import problem
from tests.support.broken_ledger import ALSO, BREAKS, NEWEST, Worked, another

CHECKED = ["I1", "I2", "I4", "I5", "I7"]
INVARIANT_OF = {name: invariant for invariant, names in CHECKS.items() for name in names}


async def test_clean_and_each_invariant_broken_by_hand_is_found_alone(worked: Worked) -> None:
    clean = await worked.verify()
    assert clean["ok"], clean
    assert [(check["invariant"], check["ok"], check["rows"], check["examples"]) for check in clean["checks"]] == [
        (name, True, 0, []) for name in CHECKED
    ]
    assert clean["checks"][0]["note"].startswith("2 deployments since")
    assert [[one["check"] for one in check["by_check"]] for check in clean["checks"]] == [*map(list, CHECKS.values())]
    assert {name for name, *_ in BREAKS} == set(CheckName)
    for name, words, breaks, undoes in BREAKS:
        worked.sql(*breaks)
        found = await worked.verify()
        broken_ones = [check for check in found["checks"] if not check["ok"]]
        assert [check["invariant"] for check in broken_ones] == [INVARIANT_OF[name]], (words, found)
        failing = [one for one in broken_ones[0]["by_check"] if not one["ok"]]
        assert {one["check"] for one in failing} == {name} | ALSO.get(name, set()), (words, found)
        assert sum(one["rows"] for one in failing) == broken_ones[0]["rows"]
        [told] = [one for one in failing if one["check"] == name]
        assert any(words in example for example in told["examples"]), (words, found)
        assert any(words in example for example in broken_ones[0]["examples"]), (words, found)
        assert broken_ones[0]["rows"] >= 1
        assert found["ok"] is False
        worked.sql(*undoes)
        assert (await worked.verify())["ok"], (words, await worked.verify())


async def test_what_is_in_motion_is_no_fault(worked: Worked) -> None:
    """Two runs of one deployment side by side, for as long as the end of the first may be on its way."""
    worked.sql(
        another(status="'running'", completed="NULL", success="NULL", started="ledger.now() - interval '90 s'"),
        another(
            status="'running'",
            id="ledger.first_id(scheduled_at + interval '1 s')",
            completed="NULL",
            success="NULL",
            started="ledger.now() - interval '20 s'",
        ),
        "UPDATE outbox SET published_at = NULL WHERE type = 'trigger.v1'",
        "UPDATE devices SET status = 'running', execution_id = " + NEWEST,
    )
    assert (await worked.verify())["ok"]


async def test_it_is_an_operators_and_takes_a_period(worked: Worked) -> None:
    admin = await worked.api.of_role("admin")
    problem(await admin.post("/verify", json={}), 403, "forbidden")
    [(month,)] = worked.api.database.execute("SELECT ledger.now() - interval '30 days'")
    assert (await worked.verify(since=month.isoformat()))["ok"]
    too_long = await worked.operator.post("/verify", json={"since": "2020-01-01T00:00:00Z"})
    assert problem(too_long, 422, "invalid-input")["errors"][0]["field"] == "since"


# --- the rule of I1 alone

T = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def interval(valid_from: datetime, status: DeploymentStatus = DeploymentStatus.ACTIVE, **values: Any) -> Interval:
    base: dict[str, Any] = {
        "counted_from": T,
        "cron_expression": "* * * * *",
        "timezone": "UTC",
        "start_date": None,
        "end_date": None,
        "deleted": False,
    }
    return Interval(valid_from=valid_from, status=status, **(base | values))


def history(*intervals: Interval, next_fire_at: datetime | None = None, **values: Any) -> History:
    return History(UUID(int=1), "d", intervals, next_fire_at, **values)


def minutes(*numbers: int) -> frozenset[datetime]:
    return frozenset(T + number * MINUTE for number in numbers)


PERIOD = Period(T - MINUTE, T + 10 * MINUTE)
PAUSED = DeploymentStatus.PAUSED


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        (history(interval(T), next_fire_at=T + 3 * MINUTE), minutes(0, 1, 2)),
        (history(interval(T + MINUTE), next_fire_at=T + 4 * MINUTE), minutes(2, 3)),
        (history(interval(T), interval(T + 2 * MINUTE, PAUSED)), minutes(0, 1, 2)),
        (
            history(
                interval(T),
                interval(T + MINUTE + MINUTE / 2, PAUSED),
                interval(T + 3 * MINUTE, counted_from=T + 3 * MINUTE),
                next_fire_at=T + 5 * MINUTE,
            ),
            minutes(0, 1, 3, 4),
        ),
        (history(interval(T, start_date=T + 8 * MINUTE)), minutes(8, 9, 10)),
        (history(interval(T, end_date=T + 2 * MINUTE)), minutes(0, 1)),
        (history(interval(T, deleted=True)), minutes()),
        (
            history(
                interval(T),
                interval(T + 2 * MINUTE, cron_expression="*/5 * * * *"),
                next_fire_at=T + 15 * MINUTE,
            ),
            minutes(0, 1, 2, 5, 10),
        ),
    ],
)
def test_which_fires_a_history_demands(known: History, wanted: frozenset[datetime]) -> None:
    assert nominal(known, PERIOD) == wanted


def test_a_backlog_and_what_only_the_host_knew_are_no_faults() -> None:
    known = history(interval(T), next_fire_at=T + 4 * MINUTE, backlogs=((T, T + 2 * MINUTE),))
    assert broken(known, Rows(minutes(2), told_by_host=minutes(3, 7)), PERIOD) == Misfits()
    assert len(broken(known, Rows(minutes(2)), PERIOD).missing) == 1
