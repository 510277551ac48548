"""Lab files over the real API: what is applied is there, the second time changes nothing, nobody is overwritten."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from typer.testing import CliRunner, Result

from cli import client
from cli.app import app
from cli.errors import CliError, ExitCode
from libs.contracts import rfc3339
from tests.support.ledger import LedgerDatabase
from tests.support.spoken_api import spoken_api

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "lab.yaml"
FILE = """\
owns: {{deployments: ["*"], locks: ["{host}/*"]}}
defaults: {{host_name: {host}, script_name: health.py}}
deployments:
  - {{name: nightly, device_id: stb-1, cron_expression: H 3 * * *, max_executions: 20}}
  - {{name: hourly, device_id: stb-2, cron_expression: 0 * * * *, paused: true, paused_reason: new firmware}}
locks:
  - {{host_name: {host}, device_id: stb-2, reason: new cable, expires_at: {until}}}
"""
_numbers = count(1)


@dataclass
class Team:
    """A team of its own in the shared ledger, with one host."""

    url: str
    database: LedgerDatabase
    folder: Path
    identity: UUID
    host: str
    token: str

    def run(self, *arguments: str, token: str | None = None, stdin: str | None = None) -> Result:
        told = {"RIGBEAT_API_URL": self.url, "RIGBEAT_TOKEN": token or self.token}
        return CliRunner().invoke(app, list(arguments), env=told, input=stdin)

    def write(self, text: str, **values: str) -> str:
        path = self.folder / "lab.yaml"
        path.write_text(text.format(host=self.host, **{"until": self.soon} | values))
        return str(path)

    @property
    def soon(self) -> str:
        """In ten days, as the API writes it."""
        [(at,)] = self.database.execute("SELECT date_trunc('hour', ledger.now()) + interval '10 days'")
        return rfc3339(at)

    def call(self, method: str, path: str, expect: int = 200, **how: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        # Five hundred in one request take their time on a busy machine.
        answer = httpx.request(method, f"{self.url}/api/v1{path}", headers=headers, timeout=60, **how)
        assert answer.status_code == expect, answer.text
        return answer.json()

    def deployments(self) -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in self.call("GET", "/deployments")["items"]}

    def locks(self) -> dict[str, Any]:
        host = self.call("GET", f"/hosts/{self.host}")
        return {each["device_id"]: each["lock"] for each in host["devices"] if each["lock"] is not None}

    def changes(self) -> list[str]:
        """Who did what, in order."""
        return [
            action
            for (action,) in self.database.execute(
                "SELECT action FROM audit_log WHERE team_id = %s ORDER BY id", (self.identity,)
            )
        ]


@pytest.fixture(scope="module")
def url(module_ledger_database: LedgerDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with spoken_api(module_ledger_database, tmp_path_factory.mktemp("api")) as address:
        yield address


@pytest.fixture
def team(url: str, module_ledger_database: LedgerDatabase, tmp_path: Path) -> Team:
    number = next(_numbers)
    identity = module_ledger_database.team(f"team-{number}")
    scripts = ["health.py", "suite.py", "soak.py"]
    module_ledger_database.host(f"lab-{number}", identity, ["stb-1", "stb-2", "router-1"], scripts=scripts)
    token = module_ledger_database.token(identity, "editor")
    return Team(url, module_ledger_database, tmp_path, identity, f"lab-{number}", token)


def plan_of(ended: Result) -> list[tuple[str, str, str]]:
    """`(action, name, field)` of each line that is printed."""
    lines = [line.split("\t") for line in ended.stdout.splitlines()]
    return [(line[0], line[2], line[3]) for line in lines[1:]]


def test_what_is_applied_is_there_and_the_second_time_changes_nothing(team: Team) -> None:
    file = team.write(FILE)
    shown = team.run("diff", "-f", file)
    assert (shown.exit_code, {line[:2] for line in plan_of(shown)}) == (
        1,
        {("create", "nightly"), ("create", "hourly"), ("create", f"{team.host}/stb-2")},
    )
    assert team.deployments() == {}, "diff changes nothing"
    applied = team.run("apply", "-f", file, "--yes")
    assert applied.exit_code == 0, applied.output
    assert applied.stderr.splitlines()[-3:] == [
        f"created lock {team.host}/stb-2",
        "created deployment nightly",
        "created deployment hourly",
    ]
    there = team.deployments()
    assert there["nightly"]["cron_expression"] != "H 3 * * *"
    assert (there["nightly"]["max_executions"], there["nightly"]["timezone"]) == (20, "UTC")
    assert (there["hourly"]["status"], there["hourly"]["status_reason"]) == ("paused", "new firmware")
    assert team.locks()["stb-2"]["expires_at"] == team.soon
    done = team.changes()

    again = team.run("apply", "-f", file, "--yes", "--prune", "--replace")
    assert (again.exit_code, again.stdout) == (0, "")
    assert again.stderr == "No difference: 3 unchanged.\n"
    assert team.run("diff", "-f", file).exit_code == 0
    as_json = json.loads(team.run("apply", "-f", file, "--yes", "--json").stdout)
    assert as_json["summary"] == {"create": 0, "change": 0, "replace": 0, "delete": 0, "unchanged": 3}
    assert team.changes() == done


def test_what_differs_is_changed_field_by_field_and_no_more(team: Team) -> None:
    team.run("apply", "-f", team.write(FILE), "--yes")
    before = team.deployments()
    changed = FILE.replace("max_executions: 20", "timezone: Europe/Berlin").replace(", paused: true", ", paused: false")
    changed = changed.replace(", paused_reason: new firmware", "").replace("new cable", "two cables")
    shown = json.loads(team.run("diff", "-f", team.write(changed), "--json").stdout)
    assert {step["name"]: step["changes"] for step in shown["steps"]} == {
        f"{team.host}/stb-2": [{"field": "reason", "before": "new cable", "after": "two cables"}],
        "nightly": [
            {"field": "timezone", "before": "UTC", "after": "Europe/Berlin"},
            {"field": "max_executions", "before": 20, "after": None},
        ],
        "hourly": [{"field": "paused", "before": True, "after": False}],
    }
    assert team.run("apply", "-f", team.write(changed), "--yes").exit_code == 0
    after = team.deployments()
    assert (after["nightly"]["timezone"], after["nightly"]["max_executions"]) == ("Europe/Berlin", None)
    assert after["nightly"]["id"] == before["nightly"]["id"]
    assert after["nightly"]["cron_expression"] == before["nightly"]["cron_expression"]
    assert after["hourly"]["status"] == "active"
    # What people paused stays paused as long as the file does not say otherwise.
    team.call("POST", f"/deployments/{after['nightly']['id']}/pause", json={"reason": "a storm"})
    assert team.run("diff", "-f", team.write(changed)).exit_code == 0


def test_nothing_goes_that_the_file_does_not_own_and_nothing_unless_told(team: Team) -> None:
    team.run("apply", "-f", team.write(FILE), "--yes")
    less = FILE.replace('["*"]', '["hour*", "night*"]').split("  - {{name: hourly")[0]
    team.call(
        "POST",
        "/deployments",
        201,
        json={"name": "by hand", "host_name": team.host, "device_id": "stb-1", "script_name": "health.py"}
        | {"cron_expression": "0 0 1 1 *"},
    )
    assert team.run("apply", "-f", team.write(less), "--yes").exit_code == 0
    assert set(team.deployments()) == {"nightly", "hourly", "by hand"}
    assert team.locks() != {}
    unowned = team.run("apply", "-f", team.write(less.split("\n", 1)[1]), "--yes", "--prune")
    assert (unowned.exit_code, "does not say what it owns" in unowned.stderr) == (2, True)
    pruned = team.run("apply", "-f", team.write(less), "--yes", "--prune")
    assert pruned.exit_code == 0, pruned.output
    assert {line[:2] for line in plan_of(pruned)} == {("delete", "hourly"), ("delete", f"{team.host}/stb-2")}
    assert set(team.deployments()) == {"nightly", "by hand"}
    assert team.locks() == {}


def test_another_device_is_another_deployment_and_only_when_told(team: Team) -> None:
    team.run("apply", "-f", team.write(FILE), "--yes")
    before = team.deployments()
    moved = FILE.replace("device_id: stb-2, cron", "device_id: router-1, cron").replace(
        "executions: 20", "executions: 3"
    )
    moved = moved.replace(", paused: true, paused_reason: new firmware", "")
    file = team.write(moved)
    refused = team.run("apply", "-f", file, "--yes")
    assert refused.exit_code == 2
    assert refused.stderr.splitlines()[-1] == f"  {file}:5:5: hourly: device_id cannot be edited"
    assert team.deployments() == before, "all of it or nothing"
    assert team.run("apply", "-f", file, "--yes", "--replace").exit_code == 0
    after = team.deployments()
    assert (after["hourly"]["device_id"], after["hourly"]["status"]) == ("router-1", "paused")
    assert after["hourly"]["status_reason"] == "new firmware", "the file does not say: as people left it"
    assert after["hourly"]["id"] != before["hourly"]["id"]
    assert after["nightly"]["max_executions"] == 3
    assert team.call("GET", f"/deployments/{before['hourly']['id']}")["deleted_at"] is not None
    assert team.run("diff", "-f", file).exit_code == 0


def test_who_changed_it_meanwhile_is_not_overwritten(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    team.run("apply", "-f", team.write(FILE), "--yes")
    hourly, nightly = team.deployments()["hourly"], team.deployments()["nightly"]
    patch = client.Api.patch

    def first_somebody_else(self: client.Api, path: str, body: Any, version: int | None = None) -> Any:
        if path.endswith(nightly["id"]):
            team.call("PATCH", path, json={"max_executions": 7})
        return patch(self, path, body, version)

    monkeypatch.setattr(client.Api, "patch", first_somebody_else)
    changed = FILE.replace("max_executions: 20", "max_executions: 30").replace("0 * * * *", "5 * * * *")
    ended = team.run("apply", "-f", team.write(changed), "--yes")
    assert ended.exit_code == 4
    assert "1 of 2 were refused:" in ended.stderr
    assert team.deployments()["nightly"]["max_executions"] == 7
    assert team.deployments()["hourly"]["cron_expression"] == "5 * * * *", "one that is refused stops no other"
    assert team.deployments()["hourly"]["id"] == hourly["id"]


def test_what_was_done_is_told_when_the_api_goes_away(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    post = client.Api.post

    def until_the_second(self: client.Api, path: str, body: Any = None, **how: Any) -> Any:
        if (body or {}).get("name") == "hourly":
            raise CliError(ExitCode.OUT_OF_REACH, "The API is out of reach")
        return post(self, path, body, **how)

    monkeypatch.setattr(client.Api, "post", until_the_second)
    ended = team.run("apply", "-f", team.write(FILE), "--yes", "--json")
    assert ended.exit_code == 3
    told = {step["name"]: step["done"] for step in json.loads(ended.stdout)["steps"]}
    assert told == {f"{team.host}/stb-2": True, "nightly": True, "hourly": None}
    monkeypatch.undo()
    again = team.run("apply", "-f", team.write(FILE), "--yes")
    assert (again.exit_code, again.stderr.splitlines()[-1]) == (0, "created deployment hourly")


def test_a_replacement_that_is_refused_leaves_one_like_the_old(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    team.run("apply", "-f", team.write(FILE), "--yes")
    before = team.deployments()["hourly"]
    post = client.Api.post

    def first_the_script_goes(self: client.Api, path: str, *rest: Any, **how: Any) -> Any:
        if path == "/deployments":
            team.database.execute("DELETE FROM host_scripts WHERE name = 'soak.py' AND host_name = %s", (team.host,))
        return post(self, path, *rest, **how)

    monkeypatch.setattr(client.Api, "post", first_the_script_goes)
    file = team.write(FILE.replace("name: hourly,", "name: hourly, script_name: soak.py,"))
    ended = team.run("apply", "-f", file, "--yes", "--replace")
    assert ended.exit_code == 4
    assert "has no script soak.py" in ended.stderr
    assert "one like the old is there again" in ended.stderr
    after = team.deployments()["hourly"]
    same = ("script_name", "device_id", "cron_expression", "status", "status_reason")
    assert [after[field] for field in same] == [before[field] for field in same]


def test_an_export_changes_nothing_and_moves_to_another_team(team: Team) -> None:
    team.run("apply", "-f", team.write(FILE), "--yes")
    exported = team.run("export")
    assert exported.exit_code == 0
    assert exported.stdout.startswith("# Deployments and device locks of the team team-")
    through_a_pipe = team.run("apply", "-f", "-", "--yes", stdin=exported.stdout)
    assert (through_a_pipe.exit_code, through_a_pipe.stderr) == (0, "No difference: 3 unchanged.\n")
    assert team.run("diff", "-f", "-", stdin=team.run("export", "--json").stdout).exit_code == 0, "JSON is YAML"
    assert "locks: []" in team.run("export", "--host", "another").stdout
    for each in team.deployments().values():
        team.call("DELETE", f"/deployments/{each['id']}")
    assert team.run("apply", "-f", "-", "--yes", stdin=exported.stdout).exit_code == 0
    assert team.run("export").stdout == exported.stdout


def test_many_deployments_are_read_page_by_page(team: Team) -> None:
    targets = [{"host_name": team.host, "device_id": "stb-1"}] * 500
    many = {"name": "d", "script_name": "health.py", "cron_expression": "H H * * *", "targets": targets}
    team.call("POST", "/deployments", 201, json=many)
    exported = team.run("export").stdout
    assert exported.count("- name:") == 500
    assert team.run("diff", "-f", "-", stdin=exported).exit_code == 0
    one = {"name": "e", "script_name": "health.py", "cron_expression": "0 0 * * *", **targets[0]}
    team.call("POST", "/deployments", 201, json=one)
    exported = team.run("export").stdout
    assert exported.count("- name:") == 501
    refused = team.run("diff", "-f", "-", stdin=exported)
    assert (refused.exit_code, "at most 500 in one file" in refused.stderr) == (2, True)
    first_half = "owns: {deployments: ['*']}\n" + exported.split("  - name: d_300\n")[0]
    surplus = json.loads(team.run("diff", "-f", "-", "--prune", "--json", stdin=first_half).stdout)["summary"]
    assert surplus["unchanged"] + surplus["delete"] == 501


def test_the_example_is_applied(team: Team) -> None:
    text = (
        EXAMPLE.read_text()
        .replace("lab-1", team.host)
        .replace(f"host_name: {team.host}\n", f"host_name: {team.host}\n", 1)
    )
    file = team.folder / "lab.yaml"
    file.write_text(text)
    assert team.run("diff", "-f", str(file)).exit_code == 1
    assert team.run("apply", "-f", str(file), "--yes").exit_code == 0
    assert set(team.deployments()) == {"lab-health-stb-1", "lab-nightly-suite", "lab-soak-router-1"}
    assert team.run("diff", "-f", str(file), "--prune").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["apply", "-f", "{file}"], 2, "Nobody can be asked here"),
        (["apply", "-f", "{file}", "--json"], 2, "Nobody can be asked here"),
        (["apply", "-f", "{folder}/none.yaml", "--yes"], 2, "none.yaml cannot be read: No such file or directory."),
        (["diff", "-f", "{folder}"], 2, "cannot be read: Is a directory."),
        (["diff", "-f", "{file}", "--api-url", "http://127.0.0.1:1"], 3, "out of reach"),
        (
            ["diff", "-f", "{broken}"],
            2,
            "broken.yaml:1:1: The key deploiments is not known here; did you mean",
        ),
        (["diff", "-f", "{latin}"], 2, "latin.yaml:2: This is not UTF-8."),
        (["diff", "-f", "{elsewhere}"], 2, "elsewhere.yaml:2:17: There is no host nowhere"),
    ],
)
def test_what_cannot_be_is_said_with_its_exit_code(team: Team, arguments: list[str], code: int, says: str) -> None:
    file = team.write(FILE)
    named = {"file": file, "folder": str(team.folder)}
    elsewhere = (
        "deployments:\n  - {host_name: nowhere, name: n, device_id: d, script_name: s, cron_expression: 0 3 * * *}"
    )
    contents = {"broken": b"deploiments: []", "latin": b"deployments: []\n# \xe9", "elsewhere": elsewhere.encode()}
    for name, content in contents.items():
        named[name] = f"{team.folder}/{name}.yaml"
        Path(named[name]).write_bytes(content)
    ended = team.run(*(each.format(**named) for each in arguments))
    assert (ended.exit_code, says in ended.stderr) == (code, True), ended.output
    assert team.changes() == []


def test_who_may_not_is_refused_and_an_operator_acts_in_a_team(team: Team) -> None:
    file = team.write(FILE)
    viewer = team.database.token(team.identity, "viewer")
    assert team.run("diff", "-f", file, token=viewer).exit_code == 1
    refused = team.run("apply", "-f", file, "--yes", token=viewer)
    assert (refused.exit_code, refused.stderr.count("This needs the role editor")) == (4, 3)
    nobodys = team.run("diff", "-f", file, token=team.database.token(None, "operator"))
    assert (nobodys.exit_code, "belongs to no team" in nobodys.stderr) == (2, True)
    # An operator of a team sees all teams, and prunes in its own alone.
    operator = team.database.token(team.identity, "operator")
    there = [name for (name,) in team.database.execute("SELECT name FROM deployments WHERE deleted_at IS NULL")]
    assert team.run("apply", "-f", file, "--yes", "--prune", token=operator).exit_code == 0
    left = [name for (name,) in team.database.execute("SELECT name FROM deployments WHERE deleted_at IS NULL")]
    assert sorted(left) == sorted([*there, "nightly", "hourly"])


@pytest.mark.parametrize(("said", "code", "names"), [("n", 1, set()), ("y", 0, {"nightly", "hourly"})])
async def test_people_are_asked(team: Team, said: str, code: int, names: set[str]) -> None:
    file = team.write(FILE)
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "apply", "-f", file),
        env={"PATH": os.environ["PATH"], "RIGBEAT_API_URL": team.url, "RIGBEAT_TOKEN": team.token},  # noqa: TID251
        cwd=ROOT,
        stdin=theirs,
        stderr=theirs,
        stdout=asyncio.subprocess.PIPE,
    )
    os.close(theirs)
    os.write(ours, f"{said}\n".encode())
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    told = os.read(ours, 4096).decode()
    os.close(ours)
    assert b"nightly" in output, "the plan is shown"
    assert "Do this? [y/N]" in told
    assert (process.returncode, set(team.deployments())) == (code, names), told
