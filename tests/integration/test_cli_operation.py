"""`rigbeat why`, `verify` and `recover`: what they ask, what they print, and the exit code that answers a script."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest
from typer.testing import CliRunner, Result

from cli.app import app
from cli.commands.verify import WORDS
from libs.invariants import CheckName
from tests.support.canned_api import CannedApi, canned_api

ID = "0199f3a2-1c00-7000-8000-000000000001"
ANSWER = {
    "deployment_id": ID,
    "at": "2026-11-23T10:30:00Z",
    "verdict": "skipped",
    "sentence": "It was skipped: Already queued (max 1).",
    "by": "slot",
    "execution_id": None,
    "actions": [{"action": "run", "label": "Run it now", "method": "POST", "path": f"/api/v1/deployments/{ID}/run"}],
    "checks": [
        {"check": "exists", "ok": True, "value": None, "sentence": "It was created."},
        {"check": "host", "ok": None, "value": None, "sentence": "Not asked any more."},
        {"check": "slot", "ok": False, "value": None, "sentence": "Already queued (max 1)."},
    ],
}


@pytest.fixture
def api() -> Iterator[CannedApi]:
    with canned_api() as served:
        yield served


def run(api: CannedApi, arguments: Sequence[str]) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"RIGBEAT_API_URL": api.url, "RIGBEAT_TOKEN": "rb_secret"})


def test_why_prints_the_verdict_the_checks_and_what_to_do(api: CannedApi) -> None:
    api.answer(f"GET /api/v1/deployments/{ID}/why", 200, ANSWER)
    result = run(api, ["why", ID])
    assert result.exit_code == 1, result.output
    assert result.stdout.splitlines() == [
        "skipped: It was skipped: Already queued (max 1).",
        "check\tok\tsentence",
        "exists\tok\tIt was created.",
        "host\t-\tNot asked any more.",
        "slot\tno\tAlready queued (max 1).",
        "What you can do:",
        "action\tlabel\tmethod\tpath",
        f"run\tRun it now\tPOST\t/api/v1/deployments/{ID}/run",
    ]
    assert json.loads(run(api, ["why", ID, "--json"]).stdout) == ANSWER


@pytest.mark.parametrize(
    ("verdict", "code"), [("ran", 0), ("will_run", 0), ("no_fire", 1), ("will_be_skipped", 1), ("forgotten", 1)]
)
def test_its_exit_code_is_the_answer(api: CannedApi, verdict: str, code: int) -> None:
    api.answer(f"GET /api/v1/deployments/{ID}/why", 200, ANSWER | {"verdict": verdict})
    assert run(api, ["why", ID]).exit_code == code


def test_a_time_is_given_whole_as_a_clock_shows_it_or_as_the_last_run(api: CannedApi) -> None:
    api.answer(f"GET /api/v1/deployments/{ID}", 200, {"timezone": "Asia/Kolkata"})
    page = {"items": [{"scheduled_at": "2026-11-23T10:31:00Z"}], "next": None}
    api.answer(f"GET /api/v1/deployments/{ID}/executions?limit=1", 200, page)
    for given in ("2026-11-23T10:30:00Z", "09:40", "last"):
        run(api, ["why", ID, given])
    asked = [each.path.partition("at=")[2] for each in api.asked if "/why" in each.path]
    assert asked[0] == "2026-11-23T10%3A30%3A00Z"
    assert asked[1].endswith("T04%3A10%3A00Z")  # five and a half hours behind
    assert asked[2] == "2026-11-23T10%3A31%3A00Z"
    api.answer(f"GET /api/v1/deployments/{ID[:-1]}2/executions?limit=1", 200, {"items": [], "next": None})
    assert run(api, ["why", f"{ID[:-1]}2", "last"]).exit_code == 1


def test_verify_says_what_holds_and_what_is_broken(api: CannedApi) -> None:
    found = ["x is failed without a reason"]
    good: dict[str, object] = {"invariant": "I1", "ok": True, "rows": 0, "examples": [], "note": "12 deployments"}
    good["by_check"] = [
        {"check": name, "ok": True, "rows": 0, "examples": []} for name in ("missing_fires", "of_a_later_release")
    ]
    bad: dict[str, object] = {"invariant": "I4", "ok": False, "rows": 3, "examples": found, "note": ""}
    bad["by_check"] = [
        {"check": "contradictory_endings", "ok": False, "rows": 3, "examples": found},
        {"check": "repeated_ids", "ok": True, "rows": 0, "examples": []},
    ]
    api.answer("POST /api/v1/verify", 200, {"ok": True, "checked_at": "2026-11-23T10:30:00Z", "checks": [good]})
    api.answer("POST /api/v1/verify", 200, {"ok": False, "checked_at": "2026-11-23T10:30:00Z", "checks": [good, bad]})
    clean = run(api, ["verify"])
    assert (clean.exit_code, clean.stdout.splitlines()[-1]) == (0, "All of it holds.")
    broken = run(api, ["verify", "--since", "2026-11-23T00:00:00Z"])
    assert broken.exit_code == 1
    assert broken.stdout.splitlines()[1:] == [
        "I1\tmissing_fires\tok\t0\tfires without a row\t12 deployments",
        "I1\tof_a_later_release\tok\t0\t\t12 deployments",
        "I4\tcontradictory_endings\tBROKEN\t3\tendings that do not fit together\t",
        "I4\trepeated_ids\tok\t0\truns that their host ended twice\t",
        "contradictory_endings: x is failed without a reason",
        "Not all of it holds.",
    ]
    assert api.asked[-1].body == {"since": "2026-11-23T00:00:00Z"}


def test_verify_of_an_api_that_knows_whole_invariants_only(api: CannedApi) -> None:
    bad = {"invariant": "I4", "ok": False, "rows": 1, "examples": ["x is failed"], "note": "no grace"}
    api.answer("POST /api/v1/verify", 200, {"ok": False, "checked_at": "2026-11-23T10:30:00Z", "checks": [bad]})
    assert run(api, ["verify"]).stdout.splitlines()[1:-1] == ["I4\t\tBROKEN\t1\t\tno grace", "I4: x is failed"]


def test_verify_has_words_for_every_check() -> None:
    assert set(WORDS) == set(CheckName)


@pytest.mark.parametrize(("status", "code"), [("online", 1), ("offline", 0)])
def test_recover_asks_until_firing_goes_on(api: CannedApi, status: str, code: int) -> None:
    hosts = [
        {"name": "lab-1", "status": "online", "answered": True},
        {"name": "lab-2", "status": status, "answered": False},
    ]
    held = {"ledger_epoch": 7, "firing": False, "held_at": "2026-11-23T10:30:00Z", "hosts": hosts}
    api.answer("POST /api/v1/recover", 200, held)
    api.answer("POST /api/v1/recover", 200, held | {"firing": True, "held_at": None})
    result = run(api, ["recover", "--wait", "5"])
    assert result.exit_code == code
    assert [each.body for each in api.asked] == [{"wait_seconds": 5}, {"wait_seconds": 5, "ledger_epoch": 7}]
    told = "is away" if status == "offline" else "has not answered in time"
    assert "lab-1\tonline\ttrue\tsent its events again" in result.stdout
    assert f"lab-2\t{status}\tfalse\t{told}" in result.stdout
    assert result.stdout.splitlines()[-1] == "Firing goes on, in epoch 7."
