"""What the command line asks of the API, and what becomes of its answers: exit codes, pages, names, logs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.app import app
from cli.commands.log import Event, events, lines
from cli.home import Home
from cli.processes import Process, write
from libs.stack.ports import free_port
from tests.support.canned_api import CannedApi, canned_api

ID = "0199f3a2-1c00-7000-8000-000000000001"
DEPLOYMENT = {
    "id": ID,
    "name": "health-stb-1",
    "status": "active",
    "host_name": "lab-1",
    "device_id": "stb-1",
    "host_acknowledged": None,
}


@pytest.fixture
def api() -> Iterator[CannedApi]:
    with canned_api() as served:
        yield served


def run(api: CannedApi, arguments: Sequence[str], **env: str) -> Result:
    told = {"RIGBEAT_API_URL": api.url, "RIGBEAT_TOKEN": "rb_secret"} | env
    return CliRunner().invoke(app, list(arguments), env=told)


def page(*items: object, cursor: str | None = None) -> dict[str, object]:
    return {"items": list(items), "next": cursor}


def test_a_list_is_read_page_by_page_with_the_token(api: CannedApi) -> None:
    api.answer("GET /api/v1/deployments?limit=500", 200, page(DEPLOYMENT, cursor="c2"))
    api.answer("GET /api/v1/deployments?limit=500&cursor=c2", 200, page({**DEPLOYMENT, "name": "zap"}))
    ended = run(api, ["deployments", "list", "--json"])
    assert ended.exit_code == 0
    assert [each["name"] for each in json.loads(ended.stdout)] == ["health-stb-1", "zap"]
    assert api.asked[0].headers["Authorization"] == "Bearer rb_secret"


def test_filters_are_the_apis_own(api: CannedApi) -> None:
    wanted = "GET /api/v1/executions?status=failed&status=skipped&reason=missed&host_name=lab-1&limit=3"
    api.answer(wanted, 200, page())
    options = ["--status", "failed", "--status", "skipped", "--reason", "missed", "--host", "lab-1", "--limit", "3"]
    assert run(api, ["executions", "list", *options]).exit_code == 0
    assert run(api, ["executions", "list", "--status", "broken"]).exit_code == 2


def test_a_refusal_is_exit_code_4_with_the_problems_words(api: CannedApi) -> None:
    problem = {
        "type": "/problems/invalid-input",
        "title": "The input is not right",
        "status": 422,
        "detail": "cron_expression: 24 is not an hour (0 to 23)",
        "errors": [{"field": "cron_expression", "message": "24 is not an hour", "hint": "Midnight is hour 0."}],
    }
    api.answer("POST /api/v1/deployments", 422, problem, "application/problem+json")
    create = ["deployments", "create", "--script", "health.py", "--cron", "0 24 * * *"]
    ended = run(api, [*create, "--host", "lab-1", "--device", "stb-1"])
    assert ended.exit_code == 4
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        "rigbeat: cron_expression: 24 is not an hour (0 to 23)",
        "  cron_expression: 24 is not an hour (Midnight is hour 0.)",
    ]


def test_an_api_that_is_away_is_exit_code_3(api: CannedApi) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    ended = run(api, ["hosts", "list"], RIGBEAT_API_URL=nobody)
    assert ended.exit_code == 3
    assert f"The API at {nobody} is out of reach" in ended.stderr


def test_a_stranger_on_the_port_is_out_of_reach_too(api: CannedApi) -> None:
    ended = run(api, ["hosts", "list"])
    assert ended.exit_code == 3
    assert "is not Rigbeat's API" in ended.stderr


def test_without_a_home_and_a_url_it_says_what_to_do(api: CannedApi, tmp_path: Path) -> None:
    ended = run(api, ["hosts", "list", "--home", str(tmp_path)], RIGBEAT_API_URL="")
    assert ended.exit_code == 3
    assert "rigbeat up" in ended.stderr


def test_address_and_token_come_from_the_home(api: CannedApi, tmp_path: Path) -> None:
    home = Home(tmp_path)
    port = int(api.url.rpartition(":")[2])
    write(home, [Process(name="api-1", pid=1, port=port, started_at="2026-11-23T10:00:00Z", start_ticks=None)])
    home.token.write_text("rb_of_the_home\n")
    api.answer("GET /api/v1/scripts?limit=500", 200, page({"host_name": "lab-1", "name": "zap.py", "parameters": []}))
    ended = run(api, ["scripts", "list", "--home", str(tmp_path)], RIGBEAT_API_URL="", RIGBEAT_TOKEN="")
    assert ended.stdout == "host_name\tname\tparameters\nlab-1\tzap.py\t\n"
    assert api.asked[0].headers["Authorization"] == "Bearer rb_of_the_home"


def test_bad_values_in_the_environment_are_said_at_once(api: CannedApi) -> None:
    ended = run(api, ["hosts", "list"], RIGBEAT_API_URL="nonsense", RIGBEAT_LOG_FORMAT="xml")
    assert ended.exit_code == 2
    assert "RIGBEAT_API_URL" in ended.stderr
    assert "RIGBEAT_LOG_FORMAT" in ended.stderr


def test_create_makes_one_for_each_target(api: CannedApi) -> None:
    api.answer("POST /api/v1/deployments", 201, {"items": [DEPLOYMENT]})
    create = ["deployments", "create", "--script", "health.py", "--cron", "* * * * *", "--max-executions", "3"]
    assert run(api, [*create, "--target", "lab-1/stb-1", "--target", "lab-1/stb-2"]).exit_code == 0
    assert api.asked[0].body == {
        "script_name": "health.py",
        "cron_expression": "* * * * *",
        "max_executions": 3,
        "targets": [{"host_name": "lab-1", "device_id": "stb-1"}, {"host_name": "lab-1", "device_id": "stb-2"}],
    }
    assert run(api, [*create, "--target", "lab-1"]).exit_code == 2


def test_a_deployment_is_found_by_exactly_its_name(api: CannedApi) -> None:
    longer = {**DEPLOYMENT, "id": "0199f3a2-1c00-7000-8000-000000000002", "name": "health-stb-1-nightly"}
    api.answer("GET /api/v1/deployments?q=health-stb-1&limit=500", 200, page(longer, DEPLOYMENT))
    api.answer(f"POST /api/v1/deployments/{ID}/pause", 200, {**DEPLOYMENT, "host_acknowledged": False})
    ended = run(api, ["deployments", "pause", "health-stb-1", "--reason", "new firmware"])
    assert ended.exit_code == 0
    assert api.asked[-1].body == {"reason": "new firmware"}
    assert "may still start" in ended.stderr
    api.answer("GET /api/v1/deployments?q=health&limit=500", 200, page(longer, DEPLOYMENT))
    assert run(api, ["deployments", "pause", "health"]).exit_code == 4


def test_an_edit_sends_only_what_changes(api: CannedApi) -> None:
    api.answer(f"PATCH /api/v1/deployments/{ID}", 200, DEPLOYMENT)
    options = ["--cron", "0 9 * * *", "--clear", "end_date", "--if-match", "4"]
    assert run(api, ["deployments", "edit", ID, *options]).exit_code == 0
    assert api.asked[0].body == {"cron_expression": "0 9 * * *", "end_date": None}
    assert api.asked[0].headers["If-Match"] == '"4"'
    assert run(api, ["deployments", "edit", ID]).exit_code == 2
    assert run(api, ["deployments", "edit", ID, "--clear", "name"]).exit_code == 2
    assert len(api.asked) == 1


def test_run_and_delete(api: CannedApi) -> None:
    api.answer(f"POST /api/v1/deployments/{ID}/run", 202, {"id": "e", "status": "triggered"})
    api.answer(f"DELETE /api/v1/deployments/{ID}", 200, DEPLOYMENT)
    assert json.loads(run(api, ["deployments", "run", ID, "--json"]).stdout)["status"] == "triggered"
    assert run(api, ["deployments", "delete", ID]).exit_code == 0


def test_a_log_is_printed_byte_by_byte(api: CannedApi) -> None:
    api.answer(f"GET /api/v1/executions/{ID}/log", 200, "one\n✓ two", "text/plain; charset=utf-8")
    assert run(api, ["executions", "log", ID]).stdout_bytes == "one\n✓ two".encode()
    assert run(api, ["executions", "log", "health"]).exit_code == 2


def test_a_followed_log_is_taken_up_where_it_broke_off(api: CannedApi) -> None:
    path = f"GET /api/v1/executions/{ID}/log?follow=true"
    first = 'event: output\nid: 4\ndata: {"offset": 0, "text": "one\\n"}\n\n: here\n\nevent: output\nid: 9\ndata: {'
    rest = 'id: 8\nevent: output\ndata: {"offset": 4, "text": "two\\n"}\n\nevent: end\ndata: {"size": 8}\n\n'
    api.answer(path, 200, first, "text/event-stream")
    api.answer(path, 200, rest, "text/event-stream")
    ended = run(api, ["executions", "log", "--follow", ID])
    assert (ended.exit_code, ended.stdout) == (0, "one\ntwo\n")
    assert [asked.headers.get("Last-Event-ID") for asked in api.asked] == [None, "4"]


@pytest.mark.parametrize("first", [": here\n\n", 'event: output\nid: 4\ndata: {"offset": 0, "text": "one\\n"}\n\n'])
def test_a_follower_waits_for_the_api_since_it_went_away(
    api: CannedApi, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    # However long the script had printed nothing before, and also when it has not printed anything yet.
    monkeypatch.setattr("cli.commands.log._PATIENCE_SECONDS", 0.0)
    path = f"GET /api/v1/executions/{ID}/log?follow=true"
    api.answer(path, 200, first, "text/event-stream")
    api.answer(path, 502, "<h1>Bad gateway</h1>", "text/html")
    api.answer(
        path, 200, 'id: 8\nevent: output\ndata: {"text": "two"}\n\nevent: end\ndata: {}\n\n', "text/event-stream"
    )
    ended = run(api, ["executions", "log", "--follow", ID])
    assert (ended.exit_code, ended.stdout.splitlines()[-1:]) == (0, ["two"])
    api.answers.clear()
    api.answer(path, 200, first, "text/event-stream")
    api.answer(path, 502, "<h1>Bad gateway</h1>", "text/html")
    assert run(api, ["executions", "log", "--follow", ID]).exit_code == 3


def test_signs_that_some_take_for_the_end_of_a_line_are_text_of_the_log(api: CannedApi) -> None:
    text = 'event: output\nid: 9\ndata: {"text": "a\u2028b\x85c\u2029d"}\n\nevent: end\ndata: {}\n\n'
    api.answer(f"GET /api/v1/executions/{ID}/log?follow=true", 200, text, "text/event-stream")
    ended = run(api, ["executions", "log", "--follow", ID])
    assert (ended.exit_code, ended.stdout) == (0, "a\u2028b\x85c\u2029d")
    assert list(lines(["a", "b\r", "\nc\n\n", "d"])) == ["ab", "c", ""]


def test_what_a_refusal_quotes_steers_no_terminal(api: CannedApi) -> None:
    problem = {
        "detail": "Locked by eve: \x1b[2Jgone",
        "errors": [{"field": "name", "message": "\x9bno\nway", "hint": ""}],
    }
    api.answer(f"POST /api/v1/deployments/{ID}/run", 409, problem, "application/problem+json")
    ended = run(api, ["deployments", "run", ID])
    assert (ended.exit_code, ended.stderr) == (4, "rigbeat: Locked by eve:  [2Jgone\n  name:  no way\n")


def test_a_token_that_no_header_can_hold_is_refused_in_words(api: CannedApi) -> None:
    ended = run(api, ["deployments", "list"], RIGBEAT_TOKEN="rb_é")
    assert (ended.exit_code, ended.stderr) == (2, "rigbeat: The token is not one of Rigbeat's; check RIGBEAT_TOKEN.\n")


def test_what_a_script_left_is_listed_fetched_and_shown(api: CannedApi, tmp_path: Path) -> None:
    base = f"/api/v1/executions/{ID}"
    files = [{"name": "junit.xml", "size": 3, "url": f"{base}/artifacts/junit.xml"}]
    files.append({"name": "a b/x.bin", "size": 2, "url": f"{base}/artifacts/a%20b/x.bin"})
    api.answer(f"GET {base}/artifacts", 200, {"items": files, "next": None})
    listed = run(api, ["executions", "artifacts", ID]).stdout.splitlines()
    assert listed[:2] == ["name\tsize\turl", f"junit.xml\t3\t{base}/artifacts/junit.xml"]
    api.answer(f"GET {base}/artifacts/a%20b/x.bin", 200, "\x00ÿ", "application/octet-stream")
    get = ["executions", "artifacts", ID, "--get", "a b/x.bin"]
    assert run(api, get).stdout_bytes == "\x00ÿ".encode()
    assert run(api, [*get, "-o", str(tmp_path / "x")]).exit_code == 0
    assert (tmp_path / "x").read_bytes() == "\x00ÿ".encode()
    assert run(api, [*get, "-o", str(tmp_path / "no" / "x")]).exit_code == 2
    assert run(api, ["executions", "artifacts", ID, "-o", "x"]).exit_code == 2
    api.answer(f"GET {base}", 200, {"id": ID, "report_url": f"{base}/report", "artifacts": files})
    assert run(api, ["executions", "report", ID]).stdout == f"{api.url}{base}/report\n"
    assert "artifacts\tjunit.xml, a b/x.bin\n" in run(api, ["executions", "show", ID]).stdout
    assert json.loads(run(api, ["executions", "show", ID, "--json"]).stdout)["artifacts"] == files
    api.answers.clear()
    api.answer(f"GET {base}", 200, {"id": ID, "report_url": None, "artifacts": files})
    none = run(api, ["executions", "report", ID])
    assert (none.exit_code, none.stdout) == (1, "")


def test_server_sent_events_are_read_by_the_books() -> None:
    lines = ["id: 1", "event: output", "data: a", "data:b", "", ": comment", "", "data: c", "", "data: not whole"]
    assert list(events(lines)) == [Event("output", "1", "a\nb"), Event("message", "1", "c")]


LOCKED: dict[str, Any] = {
    "device_id": "stb-1",
    "model": "",
    "labels": {},
    "status": "locked",
    "execution_id": None,
    "pending": [],
    "lock": {"owner": "ann", "reason": "new firmware", "since": "2026-11-23T10:20:05Z", "expires_at": None},
}


def test_a_device_is_locked_for_a_while(api: CannedApi) -> None:
    api.answer("POST /api/v1/hosts/lab-1/devices/stb%2F1/lock", 200, {**LOCKED, "status": "running"})
    locking = ["hosts", "lock", "lab-1", "stb/1", "--reason", "new firmware"]
    ended = run(api, [*locking, "--for", "1h30m"])
    assert (ended.exit_code, api.asked[0].body) == (0, {"reason": "new firmware", "seconds": 5400})
    assert "goes on" in ended.stderr
    assert ended.stdout.splitlines()[1].split("\t")[:6] == ["stb-1", "running", "", "0", "ann", ""]
    assert run(api, locking).exit_code == 0
    assert api.asked[1].body == {"reason": "new firmware", "seconds": None}
    for nonsense in ("", "2", "h", "2h 3", "-1h", "1w"):
        assert run(api, [*locking, "--for", nonsense]).exit_code == 2
    api.answer("POST /api/v1/hosts/lab-1/devices/stb-1/unlock", 200, {**LOCKED, "status": "free", "lock": None})
    assert "free" in run(api, ["hosts", "unlock", "lab-1", "stb-1"]).stdout


def test_a_host_is_shown_with_its_devices(api: CannedApi) -> None:
    queues = {"triggers": 2, "commands": 0, "consumers": None}
    host = {"name": "lab-1", "status": "online", "last_seen_at": None, "queues": queues, "devices": [LOCKED]}
    api.answer("GET /api/v1/hosts/lab-1", 200, host)
    ended = run(api, ["hosts", "show", "lab-1"])
    assert "2 triggers and 0 commands wait for it" in ended.stderr
    assert "ann" in ended.stdout
    assert json.loads(run(api, ["hosts", "show", "lab-1", "--json"]).stdout) == host


def test_the_broker_is_a_table_of_queues(api: CannedApi) -> None:
    view = {
        "hosts": [{"name": "lab-1", "triggers": 3, "commands": 0, "consumers": 1}],
        "results": 7,
        "results_consumers": 1,
        "presence": 0,
        "presence_consumers": 1,
        "dead_letters": None,
        "dead_letters_consumers": None,
        "dead_letters_open": 2,
    }
    api.answer("GET /api/v1/broker", 200, view)
    ended = run(api, ["broker"])
    assert ended.stdout.splitlines()[1:] == [
        "results.persist\t7\t1",
        "hosts.presence\t0\t1",
        "dead.letters\t\t",
        "host.lab-1.triggers\t3\t1",
        "host.lab-1.commands\t0\t",
    ]
    assert "2 dead letters are open" in ended.stderr
    assert json.loads(run(api, ["broker", "--json"]).stdout) == view


def test_dead_letters_are_listed_and_settled(api: CannedApi) -> None:
    letter = {"id": ID, "at": "2026-11-23T10:30:00Z", "state": "open", "type": "trigger.v1", "reason": "expired"}
    wanted = "GET /api/v1/dead-letters?state=open&state=closed&host_name=lab-1&type=trigger.v1&limit=50"
    api.answer(wanted, 200, page(letter))
    options = ["--state", "open", "--state", "closed", "--host", "lab-1", "--type", "trigger.v1"]
    assert "expired" in run(api, ["dead-letters", "list", *options]).stdout
    api.answer(f"GET /api/v1/dead-letters/{ID}", 200, {**letter, "body": "{}"})
    assert json.loads(run(api, ["dead-letters", "show", ID, "--json"]).stdout)["body"] == "{}"
    api.answer(f"POST /api/v1/dead-letters/{ID}/requeue", 202, {"id": "e", "status": "triggered"})
    assert "triggered" in run(api, ["dead-letters", "requeue", ID]).stdout
    api.answer(f"POST /api/v1/dead-letters/{ID}/close", 200, {**letter, "state": "closed"})
    assert "closed" in run(api, ["dead-letters", "close", ID]).stdout
    api.answer(f"POST /api/v1/dead-letters/{ID}/drop", 200, {**letter, "state": "dropped"})
    assert "dropped" in run(api, ["dead-letters", "drop", ID, "--reason", "a test"]).stdout
    assert api.asked[-1].body == {"reason": "a test"}
    assert run(api, ["dead-letters", "show", "health"]).exit_code == 2
