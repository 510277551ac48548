"""What the API decides without I/O: names, cursors, ranges, pieces of text, edits, lateness."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts import DeploymentStatus
from services.api.core import edit, names, page
from services.api.core.byte_range import UnsatisfiableError, wanted
from services.api.core.lateness import late_seconds, lateness
from services.api.core.text_pieces import whole_text

NOW = datetime(2026, 11, 24, 14, 30, 52, tzinfo=UTC)
ROW: dict[str, Any] = {
    "status": "active",
    "cron_expression": "*/10 * * * *",
    "timezone": "UTC",
    "start_date": None,
    "end_date": None,
    "max_executions": 5,
    "execution_count": 2,
    "counted_from": NOW - timedelta(days=1),
    "next_fire_at": NOW + timedelta(minutes=5),
    "next_due_at": NOW + timedelta(minutes=5),
    "name": "health",
}


def test_a_name_is_the_scripts_stem_and_the_time_in_utc() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert names.default_name("health.py", NOW.astimezone(berlin)) == "health_143052"
    assert names.default_name("tests/boot/cold.start.sh", NOW) == "cold.start_143052"
    assert len(names.default_name("x" * 255, NOW)) <= 255


def test_a_taken_name_gets_the_next_free_number() -> None:
    assert list(islice(names.candidates("a", ()), 3)) == ["a", "a_2", "a_3"]
    assert list(islice(names.candidates("a", {"a", "a_2", "a_4"}), 2)) == ["a_3", "a_5"]
    long = "x" * 255
    assert all(len(name) <= 255 for name in islice(names.candidates(long, {long}), 20))


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_a_cursor_comes_back_only_for_its_own_filters(key: list[str]) -> None:
    bound_to = page.fingerprint("deployments", "{}")
    cursor = page.encode(key, bound_to)
    assert page.decode(cursor, bound_to, len(key)) == key
    with pytest.raises(page.CursorError):
        page.decode(cursor, page.fingerprint("deployments", '{"q": 1}'), len(key))
    with pytest.raises(page.CursorError):
        page.decode(cursor, bound_to, len(key) + 1)


@given(st.text(max_size=40))
def test_nonsense_is_no_cursor(text: str) -> None:
    with pytest.raises(page.CursorError):
        page.decode(text, page.fingerprint("a", "b"), 1)


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 10)),
        ("bytes=3-5", (3, 6)),
        ("bytes=9-99", (9, 10)),
        ("bytes=-4", (6, 10)),
        ("bytes=-40", (0, 10)),
        ("bytes=5-3", None),
        ("bytes=1-2,4-5", None),
        ("bytes=-", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        (None, None),
    ],
)
def test_a_range_of_ten_bytes(header: str | None, part: tuple[int, int] | None) -> None:
    assert wanted(header, 10) == part


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_a_range_behind_the_end_is_refused(header: str) -> None:
    with pytest.raises(UnsatisfiableError):
        wanted(header, 10)


@given(st.binary(max_size=60), st.data())
def test_text_in_pieces_is_the_text_in_one(content: bytes, data: st.DataObject) -> None:
    texts, offset = [], 0
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=5)))
    for end in [*cuts, len(content)]:
        text, taken = whole_text(content[offset:end], final=end == len(content))
        texts.append(text)
        offset += taken
    if offset < len(content):  # the last cut was the end already, but not known to be
        texts.append(whole_text(content[offset:], final=True)[0])
    assert "".join(texts) == content.decode("utf-8", "replace")


def test_a_character_that_is_cut_waits_for_its_rest() -> None:
    assert whole_text("grö".encode()[:3], final=False) == ("gr", 2)
    assert whole_text("grö".encode()[:3], final=True) == ("gr\ufffd", 3)


def test_an_edit_that_changes_nothing_is_none() -> None:
    assert edit.edited(ROW, {"name": "health", "max_executions": 5}, "ann", NOW) == {}


def test_a_new_schedule_fires_strictly_after_now() -> None:
    at_ten = NOW.replace(minute=30, second=0)
    changed = edit.edited(ROW, {"cron_expression": "30 * * * *"}, "ann", at_ten)
    # 14:30 itself was decided by the old rule just before.
    assert changed["next_fire_at"] == at_ten + timedelta(hours=1)
    assert changed["next_due_at"] == changed["next_fire_at"]
    assert changed["status_by"] == "ann"


def test_the_end_date_is_due_before_a_later_fire() -> None:
    end = NOW + timedelta(minutes=1)
    changed = edit.edited(ROW, {"end_date": end}, "ann", NOW)
    assert (changed["next_fire_at"], changed["next_due_at"]) == (None, end)


def test_an_edit_of_a_paused_one_gives_it_no_fire() -> None:
    paused = {**ROW, "status": "paused", "next_fire_at": None, "next_due_at": None}
    assert "next_fire_at" not in edit.edited(paused, {"cron_expression": "0 * * * *"}, "ann", NOW)


def test_a_limit_that_is_reached_already_completes() -> None:
    changed = edit.edited(ROW, {"max_executions": 2}, "ann", NOW)
    assert (changed["status"], changed["next_due_at"]) == (DeploymentStatus.COMPLETED, None)


def test_resumed_counts_from_now_and_may_fire_at_once() -> None:
    at_ten = NOW.replace(minute=30, second=0)
    changed = edit.resumed({**ROW, "status": "paused"}, "ann", at_ten)
    assert (changed["counted_from"], changed["next_fire_at"]) == (at_ten, at_ten)


def test_deleting_what_is_over_leaves_its_status() -> None:
    assert "status" not in edit.deleted({**ROW, "status": "expired"}, "ann", None, NOW)
    assert edit.deleted(ROW, "ann", None, NOW)["status"] is DeploymentStatus.STOPPED


@pytest.mark.parametrize(
    ("before", "after", "lower"), [(None, 3, True), (5, 3, True), (3, 3, False), (3, 5, False), (3, None, False)]
)
def test_a_lower_limit(before: int | None, after: int | None, lower: bool) -> None:
    assert edit.lowers_limit(before, after) is lower


def test_dates_must_fit_together() -> None:
    later, earlier = NOW + timedelta(days=2), NOW + timedelta(days=1)
    assert edit.date_faults(None, None, NOW) == ()
    assert edit.date_faults(earlier, later, NOW) == ()
    assert edit.date_faults(later, earlier, NOW)[0].field == "end_date"
    assert edit.date_faults(None, NOW, NOW)[0].field == "end_date"
    assert edit.date_faults(None, NOW, NOW, end_is_new=False) == ()


def test_the_parts_of_lateness_add_up() -> None:
    scheduled, decided, published, received, queued, admitted, started = (
        NOW + timedelta(milliseconds=ms) for ms in (0, 3, 10, 12, 20, 500, 515)
    )

    def parts(**other: datetime | None) -> dict[str, float | None]:
        known: dict[str, Any] = {
            "decided_at": decided,
            "published_at": published,
            "received_at": received,
            "queued_at": queued,
            "admitted_at": admitted,
            "started_at": started,
        }
        return lateness(scheduled_at=scheduled, **(known | other))

    assert sum(part or 0 for part in parts().values()) == pytest.approx(0.515)
    assert parts()["wait"] == pytest.approx(0.48)
    direct = parts(queued_at=None)
    assert direct["wait"] == 0
    assert sum(part or 0 for part in direct.values()) == pytest.approx(0.515)
    waiting = parts(admitted_at=None, started_at=None)
    assert waiting["admission"] == pytest.approx(0.008)
    assert waiting["wait"] is waiting["spawn"] is None


_MOMENTS = ("decided_at", "published_at", "received_at", "queued_at", "admitted_at", "started_at")
_A_MOMENT = st.integers(-3_000_000, 7_200_000_000).map(lambda us: NOW + timedelta(microseconds=us))


@given(st.fixed_dictionaries(dict.fromkeys(_MOMENTS, _A_MOMENT)), st.booleans())
def test_in_whatever_order_the_moments_were_the_six_parts_add_up(moments: dict[str, datetime], waited: bool) -> None:
    known: dict[str, Any] = moments if waited else moments | {"queued_at": None}
    parts = lateness(scheduled_at=NOW, **known)
    late = late_seconds(scheduled_at=NOW, received_at=known["received_at"], started_at=known["started_at"])
    assert late is not None
    assert set(parts) == {"claim", "publish", "queue", "admission", "wait", "spawn"}
    assert None not in parts.values()
    assert sum(part or 0.0 for part in parts.values()) == pytest.approx(late, abs=0.001)
    queue = parts["queue"]
    assert queue is not None
    assert queue >= 0, "what was received had been published"


@given(st.fixed_dictionaries(dict.fromkeys(_MOMENTS, _A_MOMENT)))
def test_without_a_known_offset_nothing_is_said_of_the_host(moments: dict[str, datetime]) -> None:
    parts = lateness(scheduled_at=NOW, **(moments | {"received_at": None}))
    assert {name for name, part in parts.items() if part is not None} == {"claim", "publish"}
    assert late_seconds(scheduled_at=NOW, received_at=None, started_at=moments["started_at"]) is None


@given(st.fixed_dictionaries(dict.fromkeys(_MOMENTS, st.none() | _A_MOMENT)))
def test_of_what_has_not_started_no_lateness_is_told(moments: dict[str, datetime | None]) -> None:
    known: dict[str, Any] = moments | {"started_at": None}
    assert lateness(scheduled_at=NOW, **known)["spawn"] is None
    assert late_seconds(scheduled_at=NOW, received_at=known["received_at"], started_at=None) is None
