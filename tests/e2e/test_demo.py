"""The demo of `rigbeat up`: a newcomer soon sees everything that can become of a fire, each with its reason.

The clock is moved instead of waited for, so the tuner that fails by the clock of the box is broken by hand here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cli.up.plan import FLAKY
from cli.up.samples import sample_bodies
from examples.settopbox.faults import Fault, Spell
from libs.stack.process import run
from tests.e2e.lab import ENDED_WORDS, Lab
from tests.support.system import ROOT
from tests.support.wait import until

SOAK = "soak-stb-1"


@pytest.fixture
def broken_tuner(lab: Lab) -> Iterator[None]:
    box = f"http://127.0.0.1:{lab.system.processes()['settopbox-stb-2']['port']}/faults"
    httpx.post(box, json={"fault": Fault.TUNER}, trust_env=False).raise_for_status()
    yield
    httpx.delete(box, trust_env=False).raise_for_status()


@pytest.fixture
def samples(lab: Lab, broken_tuner: None) -> Iterator[dict[str, dict[str, Any]]]:
    """The sample deployments; what still runs of them is cancelled at the end."""
    made = {}
    for body in sample_bodies():
        [made[body["name"]]] = lab.call("POST", "/deployments", json=body, expect=201)["items"]
        lab.deployed.append(made[body["name"]]["id"])
    yield made
    for deployment in made.values():
        lab.call("POST", f"/deployments/{deployment['id']}/stop")
    for deployment in made.values():
        for execution in lab.executions(deployment):
            if execution["status"] not in ENDED_WORDS:
                lab.call("POST", f"/executions/{execution['id']}/cancel", expect=202)


def test_three_minutes_of_the_demo_show_everything(lab: Lab, samples: dict[str, dict[str, Any]]) -> None:
    for minute in (1, 2, 3):
        lab.to_next_minute()
        for deployment in (samples[name] for name in samples if name != "suite-stb-2"):
            lab.wait_for_executions(deployment, minute)

    def seen() -> set[tuple[str, str, str | None]]:
        return {(name, each["status"], each["reason"]) for name in samples for each in lab.executions(samples[name])}

    wanted: set[tuple[str, str, str | None]] = {
        ("dns-router-1", "completed", None),
        ("zap-stb-2", "failed", "script_reported_failure"),
        (SOAK, "running", None),
        (SOAK, "queued", None),
        (SOAK, "skipped", "already_queued"),
        ("health-stb-1", "skipped", "device_busy"),
    }
    until(lambda: wanted <= seen(), within=20, what=f"{wanted} in the API")

    table = run(
        [sys.executable, "-m", "cli", "executions", "list", "--home", lab.system.home], cwd=ROOT, within=30
    ).output
    rows = {(line[1], line[2], line[3] or None) for line in (row.split("\t") for row in table.splitlines())}
    assert wanted <= rows, table

    log = lab.system.deployments_log.read_text()
    for line in (
        "✅ COMPLETED: dns-router-1",
        "❌ COMPLETED: zap-stb-2",
        f"⏳ QUEUED: {SOAK}",
        f"SKIPPED: {SOAK} | Already queued (max 1)",
        "SKIPPED: health-stb-1 | ",
    ):
        assert line in log

    [failed, *_] = [each for each in lab.executions(samples["zap-stb-2"]) if each["status"] == "failed"]
    text = until(
        lambda: lab.system.client.get(failed["log_url"]).text if lab.execution(failed)["log_bytes"] else "", within=20
    )
    assert "FAILED: the box refuses (409): the tuner of stb-2 has no lock" in text


def test_the_flaky_box_fails_and_succeeds_within_any_five_minutes() -> None:
    """Less the first minute, in which the system comes up."""
    spell = Spell.parse(FLAKY["stb-2"])
    [zap] = [body for body in sample_bodies() if body["device_id"] == "stb-2" and body["script_name"] == "zap.py"]
    assert (zap["cron_expression"], spell.fault) == ("* * * * *", Fault.TUNER)
    for start in range(1_800_000_000, 1_800_003_600, 7):
        fires = [at for at in range(start + 60, start + 300) if at % 60 == 0]
        assert {spell.is_on(at) for at in fires} == {True, False}, start
