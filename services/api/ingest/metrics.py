"""What the ingest measures. The names are a contract: docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterable

from libs.chassis import metrics
from services.api.core.lateness import late_seconds, lateness
from services.api.core.projection import Row

_LATE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)

BATCHES = metrics.counter("ingest_batches", "Transactions of folded messages")
EVENTS = metrics.counter("ingest_events", "Messages of hosts that were taken into the ledger, by event", ["event"])
FOLD_SECONDS = metrics.histogram("ingest_fold_seconds", "From the start of a batch's transaction to its commit")
BURIED = metrics.counter("ingest_buried", "Messages of hosts that went to the dead letters, by reason", ["reason"])
DEAD_LETTERS = metrics.counter("dead_letters", "Dead letters that were stored, by reason", ["reason"])
IGNORED = metrics.counter(
    "ingest_ignored", "Messages without effect: of unknown or revoked hosts, or unreadable", ["event"]
)
FORGOTTEN = metrics.counter("ingest_forgotten", "Facts about executions older than what is kept, which were dropped")
CONSUMER_UP = metrics.gauge("ingest_consumer_up", "1 while the queue is consumed", ["queue"])
LATE_SECONDS = metrics.histogram(
    "late_seconds", "From a fire's nominal time to the start of its script", ["kind"], buckets=_LATE_BUCKETS
)
LATENESS_SECONDS = metrics.histogram(
    "lateness_seconds", "The parts of late_seconds, by where the time went", ["part", "kind"], buckets=_LATE_BUCKETS
)


def observe_starts(rows: Iterable[Row]) -> None:
    """Measure how late these runs started; each has a timed start. Call it once for each, when that is committed."""
    for row in rows:
        fire, times = row.fire, row.times
        late = late_seconds(scheduled_at=fire.scheduled_at, received_at=times.received_at, started_at=times.started_at)
        if late is None:
            continue
        LATE_SECONDS.labels(fire.kind).observe(_at_least_nothing(late))
        parts = lateness(
            scheduled_at=fire.scheduled_at,
            decided_at=fire.decided_at,
            # Not yet written down: then it will be later than the receipt, which is what counts.
            published_at=fire.published_at or times.received_at,
            received_at=times.received_at,
            queued_at=times.queued_at,
            admitted_at=times.admitted_at,
            started_at=times.started_at,
        )
        for part, seconds in parts.items():
            if seconds is not None:
                LATENESS_SECONDS.labels(part, fire.kind).observe(_at_least_nothing(seconds))


def _at_least_nothing(seconds: float) -> float:
    """Below zero is only the error of the host's clock offset."""
    return max(seconds, 0.0)
