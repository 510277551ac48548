"""What the API measures: how late runs start, each once, whatever hosts repeat."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from libs.stack.rabbitmq import RabbitMQ
from services.api.ingest.results import Results
from tests.support.ingest import NOW, Lab, Word, a_lab, ingesting
from tests.support.ledger import LedgerDatabase

PARTS = ("claim", "publish", "queue", "admission", "wait", "spawn")
KNOWN: dict[str, Any] = {"clock_offset_seconds": 0.0}


@pytest.fixture
async def lab(rabbitmq: RabbitMQ, ledger_database: LedgerDatabase) -> AsyncIterator[Lab]:
    async with a_lab(rabbitmq, ledger_database) as made:
        yield made


class Since:
    """What histograms have grown by since this was made."""

    def __init__(self) -> None:
        self._before = self._now()

    def _now(self) -> dict[tuple[str, str], float]:
        return {
            (sample.name, ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))): sample.value
            for metric in REGISTRY.collect()
            if metric.name in {"rigbeat_late_seconds", "rigbeat_lateness_seconds"}
            for sample in metric.samples
            if sample.name.endswith(("_count", "_sum"))
        }

    def grown(self, name: str, labels: str) -> float:
        key = (f"rigbeat_{name}", labels)
        return self._now().get(key, 0.0) - self._before.get(key, 0.0)


async def test_each_start_is_measured_once_by_its_parts_and_apart_by_kind(lab: Lab) -> None:
    deployment = lab.deploy("d")
    scheduled: dict[str, Any] = {"scheduled_at": NOW, "decided_at": NOW + timedelta(seconds=0.25)}
    cron = lab.trigger(deployment, published_at=NOW + timedelta(seconds=0.5))
    lab.database.execute(
        "UPDATE deployment_executions SET decided_at = %s WHERE id = %s", (scheduled["decided_at"], cron)
    )
    lone, deaf, unsent, manual = (lab.trigger(deployment) for _ in range(4))
    lab.database.execute("UPDATE deployment_executions SET kind = 'manual' WHERE id = %s", (manual,))
    since = Since()

    def word(execution: Any) -> Word:
        return Word(execution, deployment)

    timed = word(cron).started().model_copy(update=KNOWN)
    async with ingesting(lab, Results(lab.pool, lab.amqp_url)):
        await lab.tell(timed, timed)
        await lab.row_is(cron, "running", columns=("status",))
        await lab.tell(timed, word(cron).finished(**KNOWN), timed)
        # The first that is heard of this one is its end; the next has no offset, and the last its confirm unseen.
        await lab.tell(word(lone).finished(**KNOWN), word(deaf).finished())
        await lab.tell(word(unsent).finished(**KNOWN), word(manual).finished(**KNOWN))
        for execution in (cron, lone, deaf, unsent, manual):
            await lab.row_is(execution, "completed", columns=("status",))

    assert since.grown("late_seconds_count", "kind=cron") == 3, "cron, lone, unsent; not the one without an offset"
    assert since.grown("late_seconds_sum", "kind=cron") == pytest.approx(3 * 3.0)
    assert since.grown("late_seconds_count", "kind=manual") == 1
    for part in PARTS:
        assert since.grown("lateness_seconds_count", f"kind=cron,part={part}") == 3, part
        assert since.grown("lateness_seconds_count", f"kind=manual,part={part}") == 1, part
    parts = {part: since.grown("lateness_seconds_sum", f"kind=cron,part={part}") for part in PARTS}
    # Of `cron`: 0.25 to decide, 0.25 to publish, 0.5 in the queue; of the others 1 s to publish; then 2 s to admit.
    assert parts == pytest.approx(
        {"claim": 0.25, "publish": 0.25 + 2, "queue": 0.5, "admission": 6.0, "wait": 0.0, "spawn": 0.0}
    )
