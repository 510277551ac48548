"""Lab files: every fault has its place and a sentence, and what is declared is what the API would understand by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.lab_file import schema, source
from cli.lab_file.model import MOST_ENTRIES, Lock, Policies
from cli.lab_file.model import Deployment as Declared
from cli.lab_file.reading import read
from services.api.shapes.deployment import NewDeployment
from services.api.shapes.host import NewLock

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "lab.yaml"
GOOD = """\
deployments:
  - name: nightly
    host_name: lab-1
    device_id: stb-1
    script_name: health.py
    cron_expression: 0 3 * * *
"""


def faults(text: str) -> list[str]:
    return [f"{each.place.line}:{each.place.column}: {each.sentence}" for each in read(text).faults]


def with_line(line: str) -> str:
    """The good file, with one more line in its deployment: line 7, column 5."""
    return f"{GOOD}    {line}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: The file says nothing; begin with deployments: and a list."),
        ("- 1", "1:1: Keys and values are wanted here; begin with deployments: and a list."),
        ("a: [1, 2\nb: 3", "2:2: This is not YAML: expected ',' or ']', but got ':'."),
        ("a:\n\t- 1", "2:1: There is a tab here; indent with blanks."),
        ("a: 'x", "1:6: A quote is opened here and never closed."),
        ("a: b: c", "1:5: A colon is not expected here; write a text that holds one in quotes."),
        ("deployments: []\nlocks:\n - \x07", "3:4: There is a control character here; write plain text."),
        ("[" * 100_000, "1:10: This is nested too deep."),
        ("deployments: []\n---\nlocks: []", "2:1: A second document begins here; a file is one document."),
        ("deployments: 3", "1:14: A list is wanted here; begin each entry with a dash."),
        ("deployments: [nightly]", "1:15: Keys and values are wanted here."),
        ("locks: []\nlocks: []", "2:1: locks is given twice here; first in line 1."),
        ("deploiments: []", "1:1: The key deploiments is not known here; did you mean deployments?"),
        ("? [a]\n: 1", "1:3: A key is a word, followed by a colon."),
        ("owns: {x: 1}", "1:8: The key x is not known here; it is one of deployments, locks."),
    ],
)
def test_a_file_with_one_fault(text: str, expected: str) -> None:
    assert faults(text) == [expected]
    assert read(text).file is None


@pytest.mark.parametrize(
    ("line", "column", "says"),
    [
        ("host: lab-1", 5, "The key host is not known here; did you mean host_name?"),
        ("cron: 0 3 * * *", 5, "The key cron is not known here; did you mean cron_expression?"),
        ("timezon: UTC", 5, "The key timezon is not known here; did you mean timezone?"),
        ("name: weekly", 5, "name is given twice here; first in line 2."),
        ("timezone: Europe/Berlim", 15, "Europe/Berlim is not a known time zone. Did you mean Europe/Berlin?"),
        ("parameters: 7", 17, 'A text is wanted here; write it in quotes: "7".'),
        ("parameters: true", 17, 'A text is wanted here; write it in quotes: "true".'),
        (
            "parameters: --x 'y",
            17,
            "The parameters cannot be split into arguments (No closing quotation); close every quote.",
        ),
        ("userinterface_name: [x]", 25, "A text is wanted here."),
        ("max_executions: 0", 21, "0 is too small: at least 1."),
        ("max_executions: 1.5", 21, "A whole number is wanted here."),
        ('max_executions: "3"', 21, "A whole number is wanted here."),
        ("timeout_seconds: 0", 22, "0 is too small: more than 0."),
        ("timeout_seconds: 99999999999", 22, "99999999999 is too large: at most 31536000."),
        ("catch_up: last", 15, "last is not 'latest', 'none' or 'all'."),
        ("paused: yes", 13, "true or false is wanted here."),
        ("paused_reason: why", 5, "paused_reason is given without paused: true."),
        ("start_date: 2026-12-01", 17, "The zone is missing; write the offset or Z, such as 2026-11-24T08:00:00Z."),
        ("start_date: soon", 17, "soon is not a time; write RFC 3339, such as 2026-11-24T08:00:00Z."),
        ("start_date: 7", 17, "7 is not a time; write RFC 3339, such as 2026-11-24T08:00:00Z."),
        ("end_date: 9999-01-01T00:00:00Z", 15, "The year 9999 is not between 1970 and 9000."),
        ("parameters: &x a", 17, "Anchors (&x) are not read; what several deployments share goes under defaults."),
        ("parameters: *x", 17, "Aliases (*x) are not read; what several deployments share goes under defaults."),
        ("<<: *x", 5, "Merging (<<) is not read; what several deployments share goes under defaults."),
        ("parameters: !!str a", 17, "Tags (!) are not read; write a plain value."),
        ("parameters: !!python/object/apply:os.system [x]", 17, "Tags (!) are not read; write a plain value."),
    ],
)
def test_a_deployment_with_one_fault(line: str, column: int, says: str) -> None:
    where = "2" if "paused_reason" in line else "7"
    assert f"{where}:{column}: {says}" in faults(with_line(line))
    assert faults(GOOD) == []


def test_all_faults_are_said_at_once_in_their_order() -> None:
    text = GOOD.replace("0 3 * * *", "0 25 * * *") + "    catch_up: last\n  - name: nightly\nlocks:\n  - reason: ''\n"
    assert faults(text) == [
        "6:22: 25 is not an hour (0 to 23). Write 0 to 23.",
        "7:15: last is not 'latest', 'none' or 'all'.",
        "8:5: cron_expression is missing.",
        "8:5: device_id is missing.",
        "8:5: host_name is missing.",
        "8:5: script_name is missing.",
        "8:11: nightly is declared twice; first in line 2.",
        "10:5: device_id is missing.",
        "10:5: host_name is missing.",
        "10:13: This is empty; write at least one character.",
    ]


def test_defaults_are_what_a_deployment_does_not_say_and_null_is_the_apis_default() -> None:
    text = "defaults: {host_name: lab-1, timezone: Europe/Berlin, max_executions: 3}\n" + GOOD.replace(
        "    host_name: lab-1\n", "    timezone: null\n"
    )
    file = read(text).file
    assert file is not None
    [made] = file.deployments
    assert (made.host_name, made.timezone, made.max_executions) == ("lab-1", "UTC", 3)
    own = "defaults: {max_executions: 3}\n" + GOOD + "    max_executions: 0\n"
    assert faults(own) == ["8:21: 0 is too small: at least 1."], "its own value is meant, in its own line"
    several = "defaults: {cron_expression: 0 25 * * *, name: x}\ndeployments:\n" + "".join(
        f"  - {{name: d{number}, host_name: h, device_id: d, script_name: s}}\n" for number in range(3)
    )
    assert faults(several) == [
        "1:29: 25 is not an hour (0 to 23). Write 0 to 23.",
        "1:41: The key name is not known here; it is one of " + ", ".join([*Policies.model_fields, *_PLACES]) + ".",
    ], "a fault of the defaults is said once"


_PLACES = ("host_name", "device_id", "script_name", "cron_expression", "paused", "paused_reason")


def test_what_is_declared_is_among_what_the_file_owns() -> None:
    owns = "owns: {deployments: [night*], locks: [lab-1/*]}\n"
    locks = "locks:\n  - {host_name: lab-2, device_id: stb-1, reason: x}\n"
    assert faults(owns + GOOD) == []
    assert faults(owns + GOOD.replace("nightly", "weekly") + locks) == [
        "3:11: weekly is not among the deployments that this file owns (night*).",
        "9:17: lab-2/stb-1 is not among the locks that this file owns (lab-1/*).",
    ]


def test_what_is_too_much_is_not_read() -> None:
    assert "too large" in faults("#" * (source.MOST_SIGNS + 1))[0]
    entry = "  - {host_name: h, device_id: d%d, reason: r}\n"
    many = "locks:\n" + "".join(entry % number for number in range(MOST_ENTRIES + 1))
    assert faults(many) == ["2:3: These are too many: at most 500 in one file; share them out."]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1:30", "1:30"),
        ("on", "on"),
        ("007", "007"),
        ("1_000", "1_000"),
        ("2026-11-24", "2026-11-24"),
        ("0x10", "0x10"),
        ("12", 12),
        ("-0.5", -0.5),
        ("True", True),
        ("~", None),
        ("''", ""),
        ("'12'", "12"),
        ("1e3", "1e3"),
    ],
)
def test_a_plain_scalar_means_what_yaml_1_2_says(written: str, value: object) -> None:
    assert source.read(f"a: {written}").value == {"a": value}


def test_the_keys_limits_and_defaults_are_the_apis() -> None:
    ours, theirs = Declared.model_json_schema(), NewDeployment.model_json_schema()
    assert set(ours["properties"]) - {"paused", "paused_reason"} == set(theirs["properties"]) - {"targets"}
    for field in Policies.model_fields:
        assert _bare(ours["properties"][field]) == _bare(theirs["properties"][field]), field
    for field in ("name", "script_name", "cron_expression", "host_name", "device_id"):
        [text] = [
            each
            for each in theirs["properties"][field].get("anyOf", [theirs["properties"][field]])
            if each != {"type": "null"}
        ]
        assert _bare(ours["properties"][field]) == _bare(text), field
    lock, new_lock = Lock.model_json_schema()["properties"], NewLock.model_json_schema()["properties"]
    for field in ("reason", "expires_at"):
        assert _bare(lock[field]) == _bare(new_lock[field])


def _bare(property_: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in property_.items() if key not in {"title", "description"}}


def test_the_schema_in_the_docs_is_the_models() -> None:
    kept = ROOT / "docs" / "lab.schema.json"
    assert kept.read_text() == schema.text(), "write it anew: rigbeat schema > docs/lab.schema.json"
    first = EXAMPLE.read_text().splitlines()[0]
    assert (EXAMPLE.parent / first.partition("$schema=")[2]).resolve() == kept


def test_the_schema_takes_the_example_and_refuses_what_is_wrong() -> None:
    validator = jsonschema_rs.validator_for(json.loads(schema.text()))
    example = source.read(EXAMPLE.read_text()).value
    assert validator.is_valid(example)
    assert read(EXAMPLE.read_text()).faults == ()
    wrongs: tuple[Any, ...] = (
        {"deploiments": []},
        {"deployments": [{}]},
        {"deployments": [{"name": "x", "catch_up": "last"}]},
    )
    for wrong in wrongs:
        assert not validator.is_valid(wrong), wrong


_PIECES = st.sampled_from([*"ab:-?[]{},#&*!|>'\"%@` \n\t~0.", "- ", ": ", "? ", "\n  ", "---\n", "deployments", "name"])


@settings(max_examples=150, deadline=None)
@given(st.lists(_PIECES, max_size=60).map("".join) | st.text(max_size=60))
def test_whatever_is_written_is_read_or_has_a_fault_in_a_line_of_it(text: str) -> None:
    known = read(text)
    assert (known.file is None) == bool(known.faults)
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029")
    assert all(1 <= fault.place.line <= lines + 1 for fault in known.faults)


@pytest.mark.parametrize("deep", ["? " * 20_000, "- " * 20_000, "{a: " * 20_000, "[" * 20_000 + "]" * 20_000])
def test_what_is_nested_without_end_is_not_followed(deep: str) -> None:
    assert faults(deep)
