"""One row's view of the stage: what it deploys, lets fire and does; how it comes to rest; what is then checked."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.stage import HOSTS, Stage, forget_orders
from tests.faults import orders
from tests.faults.orders import Action, Order
from tests.support.checker import Evidence, broken_at_rest
from tests.support.wait import until, until_after
from tests.support.watcher import Watcher

REST_SECONDS = 60.0
MOVING_SECONDS = 6.0
AT_ONCE = 100
NEVER = "0 0 1 1 *"


@dataclass
class Scene:
    """`notes` are figures that the row's line in the table shows."""

    stage: Stage
    name: str
    rng: random.Random
    deployed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    old_journals: dict[str, list[Path]] = field(default_factory=dict)
    trusts_clocks: bool = True
    rest_seconds: float = REST_SECONDS

    @property
    def folder(self) -> Path:
        """Of the row's side effects and gates."""
        path = self.stage.folder / "rows" / self.name.replace(":", "_").replace("/", "_")
        path.mkdir(parents=True, exist_ok=True)
        return path

    # --- what people do

    def deploy(
        self,
        name: str,
        *,
        seconds: float = 0,
        gate: str | None = None,
        more: str = "",
        script: str = "gated.py",
        **fields: Any,
    ) -> str:
        """A deployment of the gated script on lab-1/stb-1, every minute unless told otherwise; its id."""
        parameters = f"--effects {self.folder} --seconds {seconds}" + (f" --gate {gate}" if gate else "") + f" {more}"
        body = {
            "name": f"{self.name}-{name}"[:100],
            "host_name": "lab-1",
            "device_id": "stb-1",
            "script_name": script,
            "userinterface_name": "chaos",
            "parameters": parameters,
            "cron_expression": "* * * * *",
        } | fields
        answer = self.stage.call_patiently("POST", "/deployments", json=body, may_refuse=True)
        if "items" in answer:
            self.deployed[name] = answer["items"][0]["id"]
        else:
            # It was made, and the answer was lost on its way.
            named = "SELECT id::text FROM deployments WHERE name = %s AND deleted_at IS NULL"
            [(self.deployed[name],)] = self.stage.sql(named, body["name"])
        return self.deployed[name]

    def traffic(self, **fields: Any) -> None:
        """Deployments on every device, with both ways of meeting a busy one, and slots that fill."""
        self.deploy("skips", seconds=0.2, **fields)
        self.deploy("waits", seconds=0.3, on_device_busy="queue", **fields)
        self.deploy("slow", seconds=1.5, device_id="stb-2", on_device_busy="queue", **fields)
        self.deploy("far", seconds=0.1, host_name="lab-2", on_device_busy="queue", **fields)

    def patient_traffic(self) -> None:
        """The same, with triggers that are good for an hour: one that is lost on its way stays open, and the row does
        not come to rest, unless somebody sends it again. Others may be missed when the next minute has come.
        """
        self.traffic(catch_up_window_seconds=3600)

    def run(self, name: str) -> dict[str, Any]:
        """A run by hand."""
        return dict(self.stage.call_patiently("POST", f"/deployments/{self.deployed[name]}/run"))

    def execution(self, identity: str) -> dict[str, Any]:
        """As the API shows it."""
        return dict(self.stage.call_patiently("GET", f"/executions/{identity}"))

    def wait_for(self, identity: str, *statuses: str, within: float = 30) -> dict[str, Any]:
        """The execution, once it has one of these."""
        seen: dict[str, Any] = {}

        def there() -> bool:
            seen.update(self.execution(identity))
            return seen["status"] in statuses

        until(there, within=within, what=f"{identity} is {statuses}, it is {seen.get('status')} {seen.get('reason')}")
        return seen

    def open(self, gate: str) -> None:
        """Let those end who wait at it."""
        (self.folder / gate).touch()

    # --- time

    def fire(self, times: int = 1, *, within: float = 20) -> None:
        """The next full minutes, each decided before the next."""
        for _ in range(times):
            self.stage.to_next_minute()
            self.decided(within)

    def decided(self, within: float = 20) -> None:
        """Until nothing is due that is not decided."""
        [(minute,)] = self.stage.sql("SELECT date_trunc('minute', ledger.now() + interval '1 second')")
        until(
            lambda: (
                not self.stage.sql(
                    "SELECT FROM deployments WHERE id = ANY (%s::uuid[]) AND status = 'active' AND next_fire_at <= %s",
                    list(self.deployed.values()),
                    minute,
                )
            ),
            within=within,
            what=f"the fires of {minute} are decided",
        )

    # --- faults

    def order(
        self, point: str, action: Action, seconds: float = 0, process: str | None = None, passes: int = 0
    ) -> None:
        """Have it done at this point."""
        orders.give(self.stage.faults, point, Order(action, seconds, passes), process)

    def count_done(self, point: str) -> int:
        """How often it was done."""
        return sum(each["point"] == point for each in orders.done(self.stage.faults))

    def where_done(self, point: str) -> dict[str, Any]:
        """By whom it was done last."""
        return [each for each in orders.done(self.stage.faults) if each["point"] == point][-1]

    def some_time(self, least: float, most: float) -> None:
        """Let a drawn time pass."""
        until_after(self.rng.uniform(least, most))

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Note how long it took."""
        began = time.monotonic()
        yield
        self.notes.append(f"{what} {time.monotonic() - began:.1f} s")

    # --- rest, and what is then so

    def heal(self) -> None:
        """Undo what the row did to links, processes and clocks."""
        forget_orders(self.stage)
        for link in self.stage.lines.values():
            link.mend()
        self.stage.set_clocks_right()

    def rest(self) -> None:
        """Until everything has ended, been told and been forgotten by whoever held it."""
        ids = list(self.deployed.values())
        self.stage.wait_until_ready()
        for at in range(0, len(ids), AT_ONCE):
            body = {"ids": ids[at : at + AT_ONCE], "action": "pause", "reason": "the row is over"}
            self.stage.call_patiently("POST", "/deployments/bulk", json=body)
        lost = list(self.lost)
        left = (
            "SELECT id::text, status, reason, presumed FROM deployment_executions"
            " WHERE deployment_id = ANY (%s::uuid[]) AND id <> ALL (%s::uuid[])"
            " AND (status IN ('triggered', 'queued', 'running') OR presumed)"
        )
        messages = "SELECT type, host_name, created_at FROM outbox WHERE published_at IS NULL"
        deadline = time.monotonic() + self.rest_seconds
        while True:
            rows = self.stage.sql(left, ids, lost)
            unsent = self.stage.sql(messages)
            unsaid = sum(self._unconfirmed())
            if not rows and not unsent and not unsaid and not self.stage.sql("SELECT FROM backlogs"):
                return
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"I7: not at rest after {self.rest_seconds:.0f} s: {rows[:5]}, {len(unsent)} messages {unsent[:3]},"
                    f" {unsaid} unconfirmed events"
                )
            until_after(0.1)

    @contextlib.contextmanager
    def journal(self, host: str) -> Iterator[sqlite3.Connection]:
        """The host's journal, to read."""
        path = self.stage.state_dir(host) / "journal.sqlite"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
            yield connection

    def every_host_runs(self) -> None:
        """A run by hand on each host, to its end: who only skips what it is sent has not come through."""
        runs = []
        for host in HOSTS:
            name = f"after-{host}"
            self.deploy(name, host_name=host, cron_expression=NEVER, on_device_busy="queue")
            runs.append(self.run(name))
        for run in runs:
            ended = self.wait_for(run["id"], "completed", "failed", "cancelled", "skipped", within=REST_SECONDS)
            assert ended["status"] == "completed", f"I7: a host does not run any more: {ended}"

    def published(self, within: float = 20) -> None:
        """Until no trigger waits in the outbox."""
        until(
            lambda: not self.stage.sql("SELECT FROM outbox WHERE published_at IS NULL AND type = 'trigger.v1'"),
            within=within,
            what="all triggers are published",
        )

    def shim_of(self, run: dict[str, Any]) -> int:
        """The pid of the run's shim on lab-1."""
        mark = self.stage.state_dir("lab-1") / "runs" / run["id"] / "start"
        return int(dict(line.split("=", 1) for line in mark.read_text().splitlines())["pid"])

    def _unconfirmed(self) -> Iterator[int]:
        for host in HOSTS:
            with self.journal(host) as journal:
                yield journal.execute("SELECT count(*) FROM events WHERE confirmed_at IS NULL").fetchone()[0]

    def broken(self) -> list[str]:
        """What does not hold."""
        journals = {
            host: [*self.old_journals.get(host, []), self.stage.state_dir(host) / "journal.sqlite"] for host in HOSTS
        }
        evidence = Evidence(
            sql=self.stage.sql,
            superuser_url=self.stage.database.superuser_url,
            deployments=list(self.deployed.values()),
            journals=journals,
            effects=self.folder / "effects.log",
            lost=frozenset(self.lost),
            trusts_clocks=self.trusts_clocks,
        )
        # The ledger's clock jumps from fire to fire, so what is a second old may look a minute old.
        return [*self._moved_back(), *broken_at_rest(evidence, settle_seconds=MOVING_SECONDS)]

    def _moved_back(self) -> list[str]:
        rows = self.stage.sql(
            "SELECT execution_id, was, became FROM moved_back"
            " WHERE deployment_id = ANY (%s::uuid[]) AND execution_id <> ALL (%s::uuid[])",
            list(self.deployed.values()),
            list(self.lost),
        )
        return [f"I6: {execution} was {was} and became {became}" for execution, was, became in rows]

    def tidy(self) -> None:
        """Delete what was deployed, so that it fires no more under later rows."""
        ids = list(self.deployed.values())
        for at in range(0, len(ids), AT_ONCE):
            body = {"ids": ids[at : at + AT_ONCE], "action": "delete"}
            self.stage.call_patiently("POST", "/deployments/bulk", json=body)

    def outcomes(self, name: str | None = None) -> Counter[tuple[str, str]]:
        """How many executions there are of each status and reason."""
        ids = list(self.deployed.values()) if name is None else [self.deployed[name]]
        rows = self.stage.sql(
            "SELECT status, coalesce(reason, ''), count(*) FROM deployment_executions"
            " WHERE deployment_id = ANY (%s::uuid[]) GROUP BY 1, 2",
            ids,
        )
        return Counter({(status, reason): number for status, reason, number in rows})


def watched(stage: Stage) -> Watcher:
    """A watcher of the stage's scripts that looks already."""
    watcher = Watcher(stage.folder)
    watcher.start()
    return watcher
