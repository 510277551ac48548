"""Bad input: every case is refused with a field and a sentence, and leaves the database as it was."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.support.api import AT_STB_1, EVERY_TEN, Api, created, problem

JSON = {"Content-Type": "application/json"}
NEW: dict[str, Any] = {**EVERY_TEN, **AT_STB_1}
TABLES = (
    "deployments",
    "deployment_versions",
    "deployment_executions",
    "outbox",
    "audit_log",
    "change_feed",
    "backlogs",
)

# What is wrong, its field, and a part of the sentence that a person reads.
WRONG_VALUES: list[tuple[dict[str, Any], str, str]] = [
    ({"cron_expression": "0 0 * * * *"}, "cron_expression", "5 fields, this one has 6"),
    ({"cron_expression": "* * * *"}, "cron_expression", "5 fields, this one has 4"),
    ({"cron_expression": "60 * * * *"}, "cron_expression", "60 is not a minute (0 to 59)"),
    ({"cron_expression": "0 24 * * *"}, "cron_expression", "24 is not an hour (0 to 23)"),
    ({"cron_expression": "0 0 32 * *"}, "cron_expression", "32 is not a day of the month"),
    ({"cron_expression": "0 0 0 * *"}, "cron_expression", "0 is not a day of the month"),
    ({"cron_expression": "0 0 * 13 *"}, "cron_expression", "13 is not a month"),
    ({"cron_expression": "0 0 * * 8"}, "cron_expression", "8 is not a day of the week"),
    ({"cron_expression": "*/0 * * * *"}, "cron_expression", "A step of 0"),
    ({"cron_expression": "*/61 * * * *"}, "cron_expression", "too long a step"),
    ({"cron_expression": "-1 * * * *"}, "cron_expression", "-1 is not a minute"),
    ({"cron_expression": "0 0 31 2 *"}, "cron_expression", "never fires"),
    ({"cron_expression": "0 0 30,31 2 */2"}, "cron_expression", "never fires"),
    ({"cron_expression": "@daily"}, "cron_expression", "nicknames are not supported"),
    ({"cron_expression": "R * * * *"}, "cron_expression", "random"),
    ({"cron_expression": "0 0 L * *"}, "cron_expression", "last day"),
    ({"cron_expression": ""}, "cron_expression", "empty"),
    ({"cron_expression": "0 0 * * \u202e1"}, "cron_expression", "cannot be read"),
    ({"cron_expression": "\x1b[31m* * * * *"}, "cron_expression", "cannot be read"),
    ({"cron_expression": "0,1," * 300}, "cron_expression", "characters"),
    ({"cron_expression": 5}, "cron_expression", "string"),
    ({"cron_expression": None}, "cron_expression", "string"),
    ({"timezone": "Mars/Olympus"}, "timezone", "not a known time zone"),
    ({"timezone": "../../etc/passwd"}, "timezone", "not a known time zone"),
    ({"timezone": ""}, "timezone", "not a known time zone"),
    ({"end_date": "2020-01-01T00:00:00Z"}, "end_date", "already passed"),
    ({"start_date": "2098-01-02T00:00:00Z", "end_date": "2098-01-01T00:00:00Z"}, "end_date", "not after the start"),
    ({"start_date": "2098-01-01T00:00:00Z", "end_date": "2098-01-01T00:00:00Z"}, "end_date", "not after the start"),
    ({"start_date": "2098-01-01T00:00:00"}, "start_date", "timezone"),
    ({"start_date": "2098-01-01"}, "start_date", "time"),
    ({"start_date": "tomorrow"}, "start_date", "datetime"),
    ({"start_date": 1800000000}, "start_date", "A time is a text"),
    ({"end_date": "9999-12-31T23:59:59Z"}, "end_date", "year 9999"),
    ({"end_date": "9999-12-31T23:59:59-14:00"}, "end_date", "year"),
    ({"start_date": "0001-01-01T00:00:00+14:00"}, "start_date", "year"),
    ({"end_date": "2098-02-30T00:00:00Z"}, "end_date", "day"),
    ({"max_executions": 0}, "max_executions", "greater than or equal to 1"),
    ({"max_executions": -1}, "max_executions", "greater than or equal to 1"),
    ({"max_executions": 10**40}, "max_executions", "less than or equal to"),
    ({"max_executions": "five"}, "max_executions", "integer"),
    ({"max_executions": 1.5}, "max_executions", "integer"),
    ({"max_executions": True}, "max_executions", "integer"),
    ({"max_executions": []}, "max_executions", "integer"),
    ({"timeout_seconds": 0}, "timeout_seconds", "greater than 0"),
    ({"timeout_seconds": 1e300}, "timeout_seconds", "less than or equal to"),
    ({"silence_timeout_seconds": -1}, "silence_timeout_seconds", "greater than 0"),
    ({"max_wait_seconds": -1}, "max_wait_seconds", "greater than or equal to 0"),
    ({"catch_up_window_seconds": 0}, "catch_up_window_seconds", "greater than or equal to 1"),
    ({"catch_up": "some"}, "catch_up", "'all'"),
    ({"on_device_busy": "fight"}, "on_device_busy", "'skip'"),
    ({"host_name": "lab-9"}, "host_name", "There is no host lab-9"),
    ({"host_name": "lab-1.triggers"}, "host_name", "There is no host"),
    ({"device_id": "stb-9"}, "device_id", "lab-1 has no device stb-9"),
    ({"script_name": "nosuch.py"}, "script_name", "lab-1 has no script nosuch.py"),
    ({"script_name": "../../bin/sh"}, "script_name", "leaves the folder"),
    ({"script_name": "a/../../sh"}, "script_name", "leaves the folder"),
    ({"script_name": "..\\sh"}, "script_name", "leaves the folder"),
    ({"script_name": "/bin/sh"}, "script_name", "leaves the folder"),
    ({"script_name": "health.py\nrm -rf"}, "script_name", "control character"),
    ({"script_name": "\x1b[2Jhealth.py"}, "script_name", "control character"),
    ({"script_name": ""}, "script_name", "at least 1 character"),
    ({"parameters": "--name 'open"}, "parameters", "cannot be split"),
    ({"parameters": 'say "hi'}, "parameters", "cannot be split"),
    ({"parameters": "ends with \\"}, "parameters", "cannot be split"),
    ({"parameters": "a\x00b"}, "parameters", "control character"),
    ({"parameters": "x" * 10_001}, "parameters", "10000 characters"),
    ({"name": ""}, "name", "at least 1 character"),
    ({"name": "x" * 300}, "name", "at most 255 characters"),
    ({"name": "a\x00b"}, "name", "control character"),
    ({"name": "a\x1b]0;title\x07"}, "name", "control character"),
    ({"name": "two\nlines"}, "name", "control character"),
    ({"name": "line\u2028separator"}, "name", "control character"),
    ({"name": "\ud800"}, "name", "unicode"),
    ({"name": "evil\u202etxt.exe"}, "name", "direction of reading"),
    ({"name": "\u2066isolated\u2069"}, "name", "direction of reading"),
    ({"userinterface_name": "\x9b31m"}, "userinterface_name", "control character"),
    ({"parameter": "--limit 2"}, "parameter", "no such field"),
    ({"status": "paused"}, "status", "no such field"),
    ({"targets": []}, "targets", "at least 1 item"),
    ({"targets": [AT_STB_1]}, "$", "Both targets and a host or device"),
    ({"host_name": None}, "$", "not said where"),
]

# The body as it is sent, its content type, the status, the type of the problem, the field (none: no errors).
WRONG_BODIES: list[tuple[str, bytes, dict[str, str], int, str, str | None]] = [
    ("not JSON", b"{", JSON, 400, "malformed", None),
    ("nothing", b"", JSON, 422, "invalid-input", "$"),
    ("a list", b"[]", JSON, 422, "invalid-input", "$"),
    ("a text", b'"health"', JSON, 422, "invalid-input", "$"),
    ("a form", b"name=x", {"Content-Type": "application/x-www-form-urlencoded"}, 422, "invalid-input", "$"),
    ("plain text", json.dumps(NEW).encode(), {"Content-Type": "text/plain"}, 422, "invalid-input", "$"),
    ("no content type", json.dumps(NEW).encode(), {}, 422, "invalid-input", "$"),
    ("2 MiB", b'{"name": "' + b"x" * (2 << 20) + b'"}', JSON, 413, "too-large", None),
    ("equal keys", b'{"name": "a", "name": "b"}', JSON, 422, "invalid-input", "name"),
    ("equal keys inside", b'{"targets": [{"x": 1, "x": 1}]}', JSON, 422, "invalid-input", "x"),
    ("NaN", b'{"timeout_seconds": NaN}', JSON, 400, "malformed", None),
    ("Infinity", b'{"timeout_seconds": -Infinity}', JSON, 400, "malformed", None),
    ("an overflow", json.dumps(NEW | {"x": 0}).replace('"x": 0', '"timeout_seconds": 1e999').encode(), JSON, 422,
     "invalid-input", "timeout_seconds"),
    ("a number of 5000 digits", b'{"max_executions": ' + b"9" * 5000 + b"}", JSON, 400, "malformed", None),
    ("deep nesting", b"[" * 100_000, JSON, 400, "malformed", None),
    ("deep nesting that ends", b'{"x":' * 50_000 + b"1" + b"}" * 50_000, JSON, 400, "malformed", None),
    ("no UTF-8", b'{"name": "\xff"}', JSON, 400, "malformed", None),
]  # fmt: skip


def everything(api: Api) -> list[list[Any]]:
    return [api.database.execute(f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES]


def assert_told(refused: dict[str, Any], field: str, sentence: str, case: object) -> None:
    told = [error["message"] for error in refused["errors"] if error["field"] == field]
    assert any(sentence in message for message in told), (case, refused)
    assert "\x1b" not in json.dumps(refused, ensure_ascii=False)


async def test_what_is_wrong_is_refused_with_its_field_and_why(api: Api, editor: httpx.AsyncClient) -> None:
    made = await created(editor, name="mine")
    before = everything(api)
    for wrong, field, sentence in WRONG_VALUES:
        for method, path, body in (
            ("POST", "/deployments", NEW | wrong),
            ("PATCH", f"/deployments/{made['id']}", wrong),
            ("POST", f"/deployments/{made['id']}/copy", wrong),
            ("POST", "/deployments/bulk", {"ids": [made["id"]], "patch": wrong}),
        ):
            if path != "/deployments" and not _fits(wrong, path):
                continue
            answer = await editor.request(method, path, content=json.dumps(body), headers=JSON)
            if path.endswith("/bulk") and answer.status_code == 200:
                ((item,)) = answer.json()["items"]
                assert (item["ok"], item["problem"]["status"]) == (False, 422), (wrong, item)
                assert_told(item["problem"], field, sentence, (path, wrong))
                continue
            inside = f"patch.{field}" if path.endswith("/bulk") else field
            assert_told(problem(answer, 422, "invalid-input"), inside, sentence, (path, wrong))
    assert everything(api) == before


def _fits(wrong: dict[str, Any], path: str) -> bool:
    """Whether the case means the same in an edit or a copy of one deployment, which take fewer fields or more nulls."""
    only_new = {"targets", "host_name", "device_id", "script_name"}
    if only_new & wrong.keys():
        return path.endswith("/copy") and not {"targets"} & wrong.keys() and None not in wrong.values()
    return True


async def test_a_body_that_cannot_be_meant_is_refused(api: Api, editor: httpx.AsyncClient) -> None:
    made = await created(editor, name="mine")
    before = everything(api)
    for name, content, headers, status, kind, field in WRONG_BODIES:
        for method, path in (
            ("POST", "/deployments"),
            ("PATCH", f"/deployments/{made['id']}"),
            ("POST", "/cron/preview"),
        ):
            answer = await editor.request(method, path, content=content, headers=headers)
            if name == "an overflow" and path == "/cron/preview":
                continue
            refused = problem(answer, status, kind)
            assert refused["detail"], name
            if field is None:
                assert refused["errors"] == [], (name, path)
            else:
                assert field in [error["field"] for error in refused["errors"]], (name, path, refused)
    assert everything(api) == before


async def test_where_nothing_is(api: Api, editor: httpx.AsyncClient) -> None:
    made = await created(editor)
    before = everything(api)
    nobody = "00000000-0000-7000-8000-000000000001"
    for method, path in (
        ("GET", "/deployments/health"),
        ("GET", f"/deployments/{nobody}"),
        ("PATCH", f"/deployments/{nobody}"),
        ("DELETE", f"/deployments/{nobody}"),
        ("POST", f"/deployments/{nobody}/copy"),
        *(("POST", f"/deployments/{nobody}/{action}") for action in ("pause", "resume", "stop", "run")),
        ("POST", f"/deployments/{made['id']}/explode"),
        ("POST", f"/deployments/{made['id']}%00/pause"),
        ("POST", f"/executions/{nobody}/cancel"),
    ):
        body: dict[str, object] | None = {} if method in {"PATCH", "POST"} else None
        problem(await editor.request(method, path, json=body), 404, "not-found")
    for action in ("pause", "resume", "stop", "run"):
        path = f"/deployments/{made['id']}/{action}"
        bad: list[tuple[dict[str, object], str]] = [
            ({"reason": "x" * 1001}, "reason"),
            ({"reason": 5}, "reason"),
            ({"why": "x"}, "why"),
        ]
        for because, field in bad:
            refused = problem(await editor.post(path, json=because), 422, "invalid-input")
            assert refused["errors"][0]["field"] == field
        problem(await editor.post(path, headers={"If-Match": '"9"'}), 412, "stale-version")
        problem(await editor.post(path, headers={"If-Match": "nonsense"}), 412, "stale-version")
    assert everything(api) == before


NAMES = (
    "🧪 nightly 🚀",
    "👩\u200d🔬 lab",
    "בדיקת בוקר",
    "اختبار",
    "Ünïcödé — ¡fine!",
    "a'b\"c;--",
    "{braces} %s $HOME",
    "x" * 255,
)


async def test_names_of_all_the_world_come_back_as_they_were(editor: httpx.AsyncClient) -> None:
    for name in NAMES:
        made = await created(editor, name=name, parameters=f"--title '{name[:20].replace(chr(39), '')}'")
        assert made["name"] == name
        found = (await editor.get("/deployments", params={"q": name})).json()["items"]
        assert [each["name"] for each in found] == [name]


async def test_a_deleted_one_is_not_changed_any_more(api: Api, editor: httpx.AsyncClient) -> None:
    api.database.execute("UPDATE hosts SET last_seen_at = NULL")
    made = await created(editor)
    path = f"/deployments/{made['id']}"
    await editor.delete(path)
    before = everything(api)
    for action in ("pause", "resume", "stop", "run"):
        assert "deleted" in problem(await editor.post(f"{path}/{action}"), 409, "wrong-state")["detail"]
    assert "copied" in problem(await editor.patch(path, json={"name": "x"}), 409, "wrong-state")["detail"]
    assert (await editor.delete(path)).status_code == 200
    assert everything(api) == before
