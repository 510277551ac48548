"""A host takes new credentials while a script runs: nothing is lost, and the former are worth nothing; and one is shut
out.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from libs.chassis.amqp.connection import connect
from libs.chassis.errors import NotLetIn
from libs.ledger.tokens import prefix_of
from libs.stack.process import start
from tests.e2e.lab import Lab
from tests.support.system import running_system
from tests.support.wait import until

WITHIN_SECONDS = 120.0
"""A host asks for the time each minute, and is told then."""
ROOT = Path(__file__).parents[2]
OUT_SECONDS = 5.0
GUEST = "lab-guest"


def test_credentials_are_renewed_under_a_running_script(lab: Lab) -> None:
    kept = lab.system.state_dir / "credentials.json"
    before, pid = json.loads(kept.read_text()), lab.pid("host-runner-lab-1")
    execution = lab.run(lab.deploy("renewed", gate="a"))
    lab.wait_for(execution, "running")
    lab.call("POST", "/hosts/lab-1/renew", expect=202)

    def is_over() -> bool:
        rows = lab.system.sql(
            "SELECT revoked_at IS NOT NULL FROM ledger.api_tokens WHERE prefix = %s", prefix_of(before["token"])
        )
        return bool(rows == [(True,)])

    until(is_over, within=WITHIN_SECONDS, what="the former token is revoked")
    after = json.loads(kept.read_text())
    assert after["token"] != before["token"]
    assert after["amqp_url"] != before["amqp_url"]
    assert kept.stat().st_mode & 0o777 == 0o600
    lab.open("a")
    assert lab.wait_for_end(execution, within=60)["status"] == "completed"
    assert lab.pid("host-runner-lab-1") == pid, "the runner was not started again"
    assert lab.effects() == {execution["id"]: 1}
    # Its log came with the new token, and its next run over the new connection.
    assert lab.wait_for_end(lab.run(lab.deploy("next")), within=30)["status"] == "completed"
    log = lab.system.client.get(f"/api/v1/executions/{execution['id']}/log")
    assert "SCRIPT_SUCCESS" in log.text


@pytest.fixture
def own_lab(tmp_path: Path) -> Iterator[Lab]:
    """One in a system of its own: a host that was revoked is listed for ever."""
    with running_system(tmp_path / "system") as system:
        system.wait_until_ready(within=60)
        yield Lab(system, tmp_path)


@pytest.mark.timeout(300)
def test_a_host_that_is_revoked_is_out_within_five_seconds(own_lab: Lab) -> None:
    lab = own_lab
    secret = lab.call("POST", "/hosts", json={"name": GUEST}, expect=201)["secret"]
    log, state = lab.folder / "guest.log", lab.folder / "guest"
    told = {
        "HOST_NAME": GUEST,
        "API_URL": lab.system.url,
        "ENROLMENT_SECRET": secret,
        "SCRIPTS_DIR": str(lab.system.home.parent / "scripts"),
        "STATE_DIR": str(state),
        "DEPLOYMENTS_LOG": str(lab.folder / "guest-deployments.log"),
        "DEVICES": '[{"device_id": "box-1", "model": "box", "labels": {}}]',
        "HTTP_PORT": "0",
    }
    env = {"PATH": os.environ["PATH"]} | {f"RIGBEAT_{name}": value for name, value in told.items()}  # noqa: TID251
    runner = start("guest", [sys.executable, "-m", "services.host_runner"], env=env, log=log, cwd=ROOT)
    try:

        def is_online() -> bool:
            hosts = lab.call("GET", "/hosts")["items"]
            return any(each["name"] == GUEST and each["status"] == "online" and each["scripts"] for each in hosts)

        until(is_online, within=30, what="the guest is online")
        ran = lab.run(lab.deploy("guest", host_name=GUEST, device_id="box-1"))
        assert lab.wait_for_end(ran, within=30)["status"] == "completed"
        kept = json.loads((state / "credentials.json").read_text())
        began = time.monotonic()
        lab.call("DELETE", f"/hosts/{GUEST}")

        def is_out() -> bool:
            return not _is_let_in(kept["amqp_url"]) and "the API refuses this host" in log.read_text()

        until(is_out, within=OUT_SECONDS, what="the guest is out")
        took = time.monotonic() - began
        print(f"\nshut out after {took:.1f} s")  # noqa: T201 # shown with -s
        assert took < OUT_SECONDS
        answer = httpx.get(
            f"{lab.system.url}/api/v1/hosts", headers={"Authorization": f"Bearer {kept['token']}"}, trust_env=False
        )
        assert answer.status_code == httpx.codes.UNAUTHORIZED
        refused = lab.system.client.post(f"/api/v1/deployments/{ran['deployment_id']}/run")
        assert (refused.status_code, refused.json()["type"]) == (httpx.codes.CONFLICT, "/problems/wrong-state")
        assert "is revoked: copy the deployment" in refused.json()["detail"]
        # By the schedulers, who were told.
        until(
            lambda: lab.call("GET", f"/deployments/{ran['deployment_id']}")["status"] == "paused",
            within=OUT_SECONDS,
            what="what fired there is paused",
        )
        left = lab.call("GET", f"/deployments/{ran['deployment_id']}")
        assert (left["status_reason"], left["status_by"]) == (f"The host {GUEST} is revoked", "rigbeat")
    finally:
        runner.terminate(15)


def _is_let_in(url: str) -> bool:
    async def asked() -> bool:
        try:
            connection = await connect(url, name="who kept the former credentials")
        except NotLetIn:
            return False
        await connection.close()
        return True

    return asyncio.run(asked())
