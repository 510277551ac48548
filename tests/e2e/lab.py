"""What an end-to-end test does with a whole running system: over HTTP, with the clock, with kill."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from libs.contracts import ENDED
from tests.support.system import System
from tests.support.wait import until

ENDED_WORDS = {str(status) for status in ENDED}


@dataclass
class Lab:
    """One test's view of the system: what it deployed is deleted at its end, its gates are opened."""

    system: System
    folder: Path
    deployed: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)

    # --- over HTTP

    def call(self, method: str, path: str, *, expect: int = 200, **options: Any) -> Any:
        answer = self.system.client.request(method, f"/api/v1{path}", **options)
        assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def deploy(
        self,
        name: str,
        *,
        gate: str | None = None,
        fail: bool = False,
        seconds: float = 0,
        more: str = "",
        **fields: Any,
    ) -> dict[str, Any]:
        """A deployment of the gated script, on stb-1 and in the far future unless said otherwise."""
        parameters = f"--effects {self.folder} --seconds {seconds}"
        parameters += (f" --gate {gate}" if gate else "") + (" --fail" if fail else "")
        parameters += f" {more}" if more else ""
        body = {
            "name": name,
            "host_name": "lab-1",
            "device_id": "stb-1",
            "script_name": "gated.py",
            "userinterface_name": "demo",
            "parameters": parameters,
            "cron_expression": "0 0 1 1 *",
        } | fields
        [made] = self.call("POST", "/deployments", json=body, expect=201)["items"]
        self.deployed.append(made["id"])
        assert isinstance(made, dict)
        return made

    def run(self, deployment: dict[str, Any]) -> dict[str, Any]:
        execution = self.call("POST", f"/deployments/{deployment['id']}/run", expect=202)
        assert isinstance(execution, dict)
        return execution

    def deployment(self, deployment: dict[str, Any]) -> dict[str, Any]:
        return dict(self.call("GET", f"/deployments/{deployment['id']}"))

    def execution(self, execution: dict[str, Any]) -> dict[str, Any]:
        return dict(self.call("GET", f"/executions/{execution['id']}"))

    def executions(self, deployment: dict[str, Any]) -> list[dict[str, Any]]:
        """Its executions, oldest first."""
        return list(reversed(self.call("GET", f"/deployments/{deployment['id']}/executions")["items"]))

    def wait_for(self, execution: dict[str, Any], *statuses: str, within: float = 20) -> dict[str, Any]:
        """The execution, once it has one of these statuses."""

        def there() -> dict[str, Any] | None:
            now = self.execution(execution)
            return now if now["status"] in statuses else None

        seen = until(there, within=within, what=f"{execution['id']} is {statuses}")
        assert seen is not None
        return seen

    def wait_for_end(self, execution: dict[str, Any], *, within: float = 30) -> dict[str, Any]:
        return self.wait_for(execution, *ENDED_WORDS, within=within)

    def wait_for_executions(self, deployment: dict[str, Any], number: int, within: float = 20) -> list[dict[str, Any]]:
        def there() -> list[dict[str, Any]] | None:
            seen = self.executions(deployment)
            return seen if len(seen) >= number else None

        return until(there, within=within, what=f"{number} executions of {deployment['name']}") or []

    # --- devices

    def device(self, device_id: str) -> dict[str, Any]:
        """The device as its host's page shows it."""
        hosts = self.call("GET", "/hosts")["items"]
        [found] = [
            each
            for host in hosts
            if host["name"] == "lab-1"
            for each in host["devices"]
            if each["device_id"] == device_id
        ]
        return dict(found)

    def wait_for_device(self, device_id: str, status: str, within: float = 10, **more: Any) -> dict[str, Any]:
        """The device, once it has this status and what else is asked for."""

        def there() -> dict[str, Any] | None:
            seen = self.device(device_id)
            return seen if seen.items() >= {"status": status, **more}.items() else None

        return until(there, within=within, what=f"{device_id} is {status} {more}") or {}

    def lock(self, device_id: str, reason: str, seconds: int | None = None) -> dict[str, Any]:
        self.locked.append(device_id)
        body = {"reason": reason, "seconds": seconds}
        return dict(self.call("POST", f"/hosts/lab-1/devices/{device_id}/lock", json=body))

    def unlock(self, device_id: str) -> dict[str, Any]:
        return dict(self.call("POST", f"/hosts/lab-1/devices/{device_id}/unlock"))

    # --- the clock

    def to_next_minute(self) -> None:
        """Shift `ledger.now()` to just before its next full minute, and let every process know."""
        [(seconds,)] = self.system.sql("SELECT 60 - extract(epoch FROM ledger.now())::numeric % 60")
        self.system.shift(max(float(seconds) - 0.3, 0.0))

    def early_in_a_minute(self) -> None:
        """Shift it to just after its next full minute: the one after it is far, for tests that count fires."""
        [(seconds,)] = self.system.sql("SELECT 60 - extract(epoch FROM ledger.now())::numeric % 60")
        self.system.shift(float(seconds) + 0.5)
        self.wait_until_ready()  # by the new time the host was last seen long ago, until its next heartbeat

    # --- gates and side effects

    def open(self, gate: str) -> None:
        (self.folder / gate).touch()

    def effects(self) -> Counter[str]:
        """How often each execution left its side effect."""
        path = self.folder / "effects.log"
        return Counter(line.split()[0] for line in path.read_text().splitlines()) if path.exists() else Counter()

    def journal(self, execution: dict[str, Any]) -> list[tuple[str, int]]:
        """The events of an execution in the host's journal, `(type, how often)`."""
        connection = sqlite3.connect(f"file:{self.system.state_dir / 'journal.sqlite'}?mode=ro", uri=True)
        try:
            rows = connection.execute(
                "SELECT type, count(*) FROM events WHERE CAST(body AS TEXT) LIKE ?"
                " GROUP BY type ORDER BY min(sequence)",
                (f"%{UUID(execution['id'])}%",),
            ).fetchall()
        finally:
            connection.close()
        return [(str(kind), int(number)) for kind, number in rows]

    # --- kill

    def pid(self, name: str) -> int:
        return int(self.system.processes()[name]["pid"])

    def kill(self, name: str) -> int:
        """`kill -9`, and wait until `rigbeat up` has started it again; answers the new pid."""
        before = self.pid(name)
        os.kill(before, signal.SIGKILL)
        return until(
            lambda: self.pid(name) if self.pid(name) != before else 0, within=30, what=f"{name} was started again"
        )

    def wait_until_ready(self, within: float = 40) -> None:
        """API, broker, ledger and host answer."""
        self.system.wait_until_ready(within=within)

    def clean_up(self) -> None:
        """Open every gate, give back every device, delete what was deployed, wait for what still runs."""
        for gate in ("a", "b", "c"):
            self.open(gate)
        self.wait_until_ready()
        for device_id in self.locked:
            self.unlock(device_id)
        for identity in self.deployed:
            self.call("DELETE", f"/deployments/{identity}", expect=200)
        for identity in self.deployed:
            until(
                lambda identity=identity: all(  # type: ignore[misc]
                    execution["status"] in ENDED_WORDS
                    for execution in self.call("GET", f"/deployments/{identity}/executions")["items"]
                ),
                within=60,
                what="every execution has ended",
            )
