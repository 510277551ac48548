"""What the shell is offered on Tab: commands, options, and the names of what is there; nothing when nobody answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from cli.app import app
from libs.stack.ports import free_port
from tests.support.canned_api import CannedApi, canned_api

ID = "0199f3a2-1c00-7000-8000-000000000001"
NIGHTLY = {
    "id": ID,
    "name": "nightly",
    "status": "active",
    "script_name": "health.py",
    "host_name": "lab-1",
    "device_id": "stb-1",
}
HOSTS = [
    {"name": "lab-1", "status": "online", "devices": [{"device_id": "stb-1", "status": "free"}]},
    {"name": "lab-2", "status": "offline", "devices": [{"device_id": "stb-9", "status": "offline"}]},
    {"name": "old-1", "status": "revoked", "devices": []},
]


@pytest.fixture
def api() -> Iterator[CannedApi]:
    with canned_api() as served:
        names = ["nightly", "night shift", "night$(reboot)", "n'", "weekly"]
        deployments = [{**NIGHTLY, "name": name} for name in names]
        served.answer("GET /api/v1/deployments?limit=500", 200, {"items": deployments, "next": None})
        served.answer("GET /api/v1/hosts?limit=500", 200, {"items": HOSTS, "next": None})
        scripts = [{"name": "health.py", "host_name": host} for host in ("lab-1", "lab-2")]
        served.answer("GET /api/v1/scripts?limit=500", 200, {"items": scripts, "next": None})
        yield served


def offered(api_url: str, line: str, shell: str = "bash") -> str:
    words = line.split(" ")
    told = {
        "_RIGBEAT_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "RIGBEAT_API_URL": api_url,
        "RIGBEAT_TOKEN": "rb_secret",
    }
    ended = CliRunner().invoke(app, [], env=told, prog_name="rigbeat")
    assert (ended.stderr, ended.exit_code) == ("", 0)
    return ended.stdout


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("rigbeat dead-letters ", ["list", "show", "requeue", "close", "drop"]),
        ("rigbeat ap", ["apply"]),
        ("rigbeat apply --p", ["--prune"]),
        ("rigbeat deployments list --status pa", ["paused"]),
        ("rigbeat deployments pause n", ["nightly"]),
        ("rigbeat deployments pause nightly w", ["weekly"]),
        (f"rigbeat deployments show {ID[:6]}", [ID] * 5),
        ("rigbeat why ", ["nightly", "weekly"]),
        ("rigbeat executions list --deployment we", ["weekly"]),
        ("rigbeat hosts show ", ["lab-1", "lab-2"]),
        ("rigbeat hosts lock lab-1 ", ["stb-1"]),
        ("rigbeat deployments list --device ", ["stb-1", "stb-9"]),
        ("rigbeat deployments create --host lab-2 --device ", ["stb-9"]),
        ("rigbeat deployments create --script ", ["health.py"]),
        ("rigbeat export --host lab-1", ["lab-1"]),
    ],
)
def test_what_is_offered(api: CannedApi, line: str, offers: list[str]) -> None:
    assert offered(api.url, line).split() == offers


def test_the_address_that_was_typed_is_the_one_that_is_asked(api: CannedApi) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    assert offered(nobody, f"rigbeat --api-url {api.url} deployments show ni").split() == ["nightly"]
    assert offered(nobody, f"rigbeat deployments show --api-url {api.url} ni").split() == ["nightly"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_told_in_its_own_way_and_nothing_that_it_would_run(api: CannedApi, shell: str) -> None:
    told = offered(api.url, "rigbeat deployments pause n", shell)
    assert "nightly" in told
    assert "reboot" not in told
    if shell != "bash":
        assert "active, health.py on lab-1/stb-1" in told


def test_without_an_api_nothing_is_offered_and_nothing_said(api: CannedApi) -> None:
    assert offered(f"http://127.0.0.1:{free_port()}", "rigbeat deployments pause n").strip() == ""
    assert offered("nonsense", "rigbeat deployments pause n").strip() == ""
    api.answers.clear()
    assert offered(api.url, "rigbeat deployments pause n").strip() == ""


@pytest.mark.parametrize(
    ("shell", "begins"),
    [
        ("bash", "complete -o default -F _rigbeat_completion rigbeat"),
        ("zsh", "#compdef rigbeat"),
        ("fish", "complete --command rigbeat"),
    ],
)
def test_each_shell_has_its_script(shell: str, begins: str) -> None:
    ended = CliRunner().invoke(app, [], env={"_RIGBEAT_COMPLETE": f"source_{shell}"}, prog_name="rigbeat")
    assert begins in ended.stdout
    assert "_RIGBEAT_COMPLETE" in ended.stdout
