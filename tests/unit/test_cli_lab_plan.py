"""Plans: what differs and nothing else, by name; what is over stays; what is owned alone is taken away."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.lab_file import writing
from cli.lab_file.plan import Action, Change, Plan, World, body_of, make
from cli.lab_file.reading import Read, read
from libs.schedule import resolve_hash

TEAM = "0199f3a2-1c00-7000-8000-00000000000a"
AT = datetime(2026, 11, 28, tzinfo=UTC)
FILE = """\
deployments:
  - name: nightly
    host_name: lab-1
    device_id: stb-1
    script_name: health.py
    cron_expression: 0 3 * * *
"""


def deployment(name: str = "nightly", **fields: Any) -> dict[str, Any]:
    """As the API answers it."""
    return {
        "id": f"id-of-{name}",
        "name": name,
        "team_id": TEAM,
        "host_name": "lab-1",
        "device_id": "stb-1",
        "script_name": "health.py",
        "userinterface_name": "",
        "parameters": None,
        "cron_expression": "0 3 * * *",
        "timezone": "UTC",
        "start_date": None,
        "end_date": None,
        "max_executions": None,
        "execution_count": 3,
        "status": "active",
        "status_reason": None,
        "catch_up": "latest",
        "catch_up_window_seconds": 600,
        "on_device_busy": "skip",
        "max_wait_seconds": 3600,
        "timeout_seconds": 3600.0,
        "silence_timeout_seconds": None,
        "version": 4,
        "created_by": "ann",
        **fields,
    }


def device(device_id: str, lock: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"device_id": device_id, "lock": lock}


LOCK = {"owner": "ann", "reason": "new firmware", "since": "2026-11-27T00:00:00Z", "expires_at": None}


def world(*deployments: dict[str, Any], locked: dict[str, Any] | None = None) -> World:
    hosts = [
        {"name": "lab-1", "status": "online", "devices": [device("stb-1"), device("stb-2", locked)]},
        {"name": "lab-9", "status": "revoked", "devices": [device("stb-9")]},
    ]
    scripts = [{"host_name": "lab-1", "name": name} for name in ("health.py", "zap.py")]
    return World(TEAM, deployments, hosts, scripts, AT)


def declared(text: str) -> Read:
    known = read(text)
    assert known.faults == ()
    return known


def plan(text: str, there: World, *, prune: bool = False) -> Plan:
    made = make(declared(text), there, prune=prune)
    assert isinstance(made, Plan), made
    return made


def steps(made: Plan) -> list[tuple[str, str, tuple[tuple[str, Any, Any], ...]]]:
    return [
        (str(step.action), step.name, tuple((each.field, each.before, each.after) for each in step.changes))
        for step in made.steps
    ]


@pytest.mark.parametrize(
    ("more", "actual", "changes"),
    [
        ("", {}, ()),
        ("timezone: UTC", {}, ()),
        ("timeout_seconds: 3600", {}, ()),
        ("", {"timezone": "Europe/Berlin"}, (("timezone", "Europe/Berlin", "UTC"),)),
        ("", {"parameters": "--x"}, (("parameters", "--x", None),)),
        ("", {"max_executions": 3, "catch_up": "all"}, (("max_executions", 3, None), ("catch_up", "all", "latest"))),
        ("parameters: --limit 2", {}, (("parameters", None, "--limit 2"),)),
        ("timeout_seconds: 0.5", {}, (("timeout_seconds", 3600.0, 0.5),)),
        ("end_date: 2027-01-01T01:00:00+01:00", {"end_date": "2027-01-01T00:00:00Z"}, ()),
        ("end_date: 2027-01-01T01:00:00+01:00", {"end_date": "2027-01-01T00:00:00.000Z"}, ()),
        (
            "end_date: 2027-01-01T00:00:00Z",
            {"end_date": "2027-01-02T00:00:00.5Z"},
            (("end_date", "2027-01-02T00:00:00.5Z", "2027-01-01T00:00:00Z"),),
        ),
        ("start_date: 2026-01-01T00:00:00Z", {}, (("start_date", None, "2026-01-01T00:00:00Z"),)),
        ("", {"start_date": "2026-01-01T00:00:00Z"}, (("start_date", "2026-01-01T00:00:00Z", None),)),
        ("", {"cron_expression": "0 4 * * *"}, (("cron_expression", "0 4 * * *", "0 3 * * *"),)),
        ("", {"status": "paused"}, ()),
        ("paused: true", {"status": "paused", "status_reason": "another"}, ()),
        ("paused: true", {}, (("paused", False, True),)),
        ("paused: false", {"status": "paused"}, (("paused", True, False),)),
        ("paused: false", {}, ()),
        ("", {"status": "completed"}, ()),
        ("paused: false", {"status": "completed"}, ()),
        ("paused: true", {"status": "expired"}, ()),
        ("", {"status": "stopped"}, ()),
        ("paused: true", {"status": "stopped"}, ()),
    ],
)
def test_a_deployment_changes_in_what_differs(
    more: str, actual: dict[str, Any], changes: tuple[tuple[str, Any, Any], ...]
) -> None:
    made = plan(FILE + (f"    {more}\n" if more else ""), world(deployment(**actual)))
    assert steps(made) == [("change" if changes else "unchanged", "nightly", changes)]


@pytest.mark.parametrize(
    ("more", "actual", "field", "note"),
    [
        ("", {"device_id": "stb-2"}, "device_id", "device_id cannot be edited"),
        ("", {"host_name": "lab-2", "device_id": "x"}, "host_name", "host_name, device_id cannot be edited"),
        ("", {"script_name": "zap.py"}, "script_name", "script_name cannot be edited"),
        ("max_executions: 5", {"status": "completed", "max_executions": 3}, "max_executions", "it is completed"),
        ("paused: false", {"status": "stopped"}, "status", "it is stopped for good"),
    ],
)
def test_what_cannot_be_edited_must_be_replaced(more: str, actual: dict[str, Any], field: str, note: str) -> None:
    made = plan(FILE + (f"    {more}\n" if more else ""), world(deployment(**actual)))
    [step] = made.replacements
    assert step.changes[0].field == field
    assert note in step.note


def test_h_is_the_minute_that_the_api_drew_for_team_and_name() -> None:
    text = FILE.replace("0 3 * * *", "h 3 * * mon")
    drawn = resolve_hash("H 3 * * MON", f"{TEAM}/nightly")
    assert steps(plan(text, world(deployment(cron_expression=drawn)))) == [("unchanged", "nightly", ())]
    [(_, _, changes)] = steps(plan(text, world(deployment(cron_expression="59 4 * * *"))))
    assert changes == (("cron_expression", "59 4 * * *", f"{drawn} (h 3 * * mon)"),)


def test_what_is_not_there_is_made_of_what_is_declared() -> None:
    text = FILE + "    max_executions: 3\n    timezone: UTC\n    paused: true\n"
    made = plan(text, world(deployment("other")))
    [step] = made.steps
    assert step.action is Action.CREATE
    assert Change("max_executions", None, 3) in step.changes
    assert Change("paused", None, True) in step.changes
    file = declared(text).file
    assert file is not None
    assert body_of(file.deployments[0]) == {
        "name": "nightly",
        "host_name": "lab-1",
        "device_id": "stb-1",
        "script_name": "health.py",
        "cron_expression": "0 3 * * *",
        "max_executions": 3,
    }
    assert made.in_words() == "1 to create"


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("lab-1", "lab-11", "3:16: There is no host lab-11; did you mean lab-1?"),
        ("lab-1", "lab-9", "3:16: There is no host lab-9; did you mean lab-1?"),
        ("stb-1", "router-1", "4:16: lab-1 has no device router-1; it is one of stb-1, stb-2."),
        ("health.py", "heath.py", "5:18: lab-1 has no script heath.py; did you mean health.py?"),
        ("0 3 * * *", "0 3 * * *\n    end_date: 2026-11-27T00:00:00Z", "7:15: The end has already passed; choose one"),
    ],
)
def test_what_would_be_refused_is_said_before_anything_is_done(before: str, after: str, says: str) -> None:
    known = declared(FILE.replace(before, after))
    faults = make(known, world(), prune=False)
    assert isinstance(faults, tuple)
    assert [f"{each.place.line}:{each.place.column}: {each.sentence}"[: len(says)] for each in faults] == [says]
    name = {"host_name": "lab-11"} if after == "lab-11" else {}
    there = {field: value for field, value in (("device_id", after), ("script_name", after)) if before == FILES[field]}
    if "end_date" not in after and after != "lab-9":
        assert isinstance(make(known, world(deployment(**name, **there)), prune=False), Plan), "what is there may stay"


FILES = {"device_id": "stb-1", "script_name": "health.py"}


def test_only_what_the_file_owns_is_pruned_and_only_when_told() -> None:
    owning = "owns: {deployments: ['night*', 'old-?']}\n" + FILE
    there = world(deployment(), deployment("old-1"), deployment("old-10"), deployment("zap"), deployment("nightly-2"))
    assert steps(plan(owning, there)) == [("unchanged", "nightly", ())]
    assert steps(plan(FILE, there, prune=True)) == [("unchanged", "nightly", ())], "without owns nothing is owned"
    pruned = plan(owning, there, prune=True)
    assert [(step.action, step.name, step.note) for step in pruned.to_do] == [
        (Action.DELETE, "nightly-2", "made by ann"),
        (Action.DELETE, "old-1", "made by ann"),
    ]
    assert pruned.in_words() == "2 to delete, 1 unchanged"


@pytest.mark.parametrize(
    ("declared_lock", "actual", "action", "fields"),
    [
        ("reason: new firmware", None, "create", ["reason"]),
        ("reason: new firmware", LOCK, "unchanged", []),
        ("reason: another", LOCK, "change", ["reason"]),
        ("reason: new firmware, expires_at: 2026-12-01T00:00:00Z", LOCK, "change", ["expires_at"]),
        (
            "reason: new firmware, expires_at: 2026-12-01T01:00:00+01:00",
            {**LOCK, "expires_at": "2026-12-01T00:00:00Z"},
            "unchanged",
            [],
        ),
        ("reason: over, expires_at: 2026-11-28T00:00:00Z", None, "unchanged", []),
        ("reason: over, expires_at: 2026-11-28T00:00:00Z", LOCK, "unchanged", []),
    ],
)
def test_a_lock_is_compared_by_reason_and_end(
    declared_lock: str, actual: dict[str, Any] | None, action: str, fields: list[str]
) -> None:
    text = f"locks:\n  - {{host_name: lab-1, device_id: stb-2, {declared_lock}}}\n"
    [step] = plan(text, world(locked=actual)).steps
    assert (step.action, step.name) == (action, "lab-1/stb-2")
    assert [change.field for change in step.changes] == fields


def test_locks_are_taken_first_and_given_back_last_if_the_file_owns_them() -> None:
    text = (
        "owns: {deployments: ['*'], locks: [lab-1/*]}\n"
        "locks:\n  - {host_name: lab-1, device_id: stb-1, reason: new cable}\n" + FILE
    )
    made = plan(text, world(deployment("old"), locked=LOCK), prune=True)
    assert [(step.action, step.name) for step in made.steps] == [
        (Action.CREATE, "lab-1/stb-1"),
        (Action.CREATE, "nightly"),
        (Action.DELETE, "old"),
        (Action.DELETE, "lab-1/stb-2"),
    ]
    assert made.steps[-1].note == "held by ann"


_NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=30).filter(
    lambda text: not set(text) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufffe\uffff")
)
_DEPLOYMENTS = st.builds(
    deployment,
    _NAMES | st.sampled_from(["yes", "1:30", "007", "~", "- x", "a: b", "# x", "2026-11-24", "1e3", "'", "0x1"]),
    parameters=st.none() | st.sampled_from(["", "--a 'b c'", "--x\n--y", "a\tb", "#"]),
    userinterface_name=st.just("") | _NAMES,
    max_executions=st.none() | st.integers(1, 10**9),
    timeout_seconds=st.floats(0.001, 31_536_000),
    end_date=st.none() | st.sampled_from(["2027-01-01T00:00:00Z", "2027-01-01T00:00:00.123456Z"]),
    status=st.sampled_from(["active", "paused"]),
    status_reason=st.none() | st.just("") | _NAMES,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(_DEPLOYMENTS, max_size=4, unique_by=lambda each: each["name"]), st.none() | _NAMES)
def test_what_is_exported_changes_nothing_when_applied(there: list[dict[str, Any]], reason: str | None) -> None:
    lock = None if reason is None else {**LOCK, "reason": reason, "expires_at": "2026-12-01T00:00:00Z"}
    known = world(*there, deployment("over", status="stopped"), locked=lock)
    text = writing.text_of(writing.declared(known.deployments, known.hosts), ["A heading."])
    made = plan(text, known)
    assert made.to_do == ()
    assert len(made.steps) == len(there) + (reason is not None)
