"""What the retention measures. The names are a contract: docs/metrics.md."""

from __future__ import annotations

from libs.chassis import metrics

REMOVED = metrics.counter("retention_removed", "Rows and files that were removed, by kind", ["kind"])
REMOVED_BYTES = metrics.counter("retention_removed_bytes", "The size of the files that were removed, by kind", ["kind"])
RUNS = metrics.counter("retention_runs", "Runs that ended, by what became of them", ["outcome"])
RUN_SECONDS = metrics.gauge("retention_run_seconds", "How long the last run took", over_processes="livemax")
RUN = metrics.gauge(
    "retention_run_timestamp_seconds", "When the last whole run ended (Unix time)", over_processes="livemax"
)
KEPT_FROM = metrics.gauge(
    "retention_kept_from_timestamp_seconds",
    "What is older is removed, by kind (Unix time)",
    ["kind"],
    over_processes="livemax",
)
