"""What the scheduler measures. The names are a contract: docs/metrics.md."""

from __future__ import annotations

from libs.chassis import metrics

FIRES = metrics.counter("fires", "Nominal fires decided, by what became of them", ["outcome"])
CLAIM_SECONDS = metrics.histogram("claim_seconds", "From the start of a claim to its commit")
LATE_SECONDS = metrics.histogram("claim_late_seconds", "From a fire's nominal time to the decision")
PUBLISHED = metrics.counter("outbox_messages", "Messages handed to the broker, by what it said", ["receipt"])
PUBLISH_SECONDS = metrics.histogram("outbox_publish_seconds", "From the first frame of a batch to its last confirm")
PRESUMED = metrics.counter("presumed_endings", "Endings that no host reported", ["reason"])
REPUBLISHED = metrics.counter("republished_triggers", "Triggers sent again because their host did not take them")
REPUBLISHED_COMMANDS = metrics.counter(
    "republished_commands", "Commands sent again because their host did not answer them"
)

# The invariants, by the one scheduler that looks (services/scheduler/scan.py).
VIOLATIONS = metrics.gauge(
    "invariant_violations", "Rows that break an invariant, by the check that found them", ["invariant", "check"]
)
SCANS = metrics.counter("scans", "Looks at the invariants, by what became of them", ["outcome"])
SCAN_SECONDS = metrics.histogram("scan_seconds", "One look at the invariants")
SCANNED = metrics.gauge("scan_timestamp_seconds", "When this scheduler last looked at the invariants (Unix time)")

# How things stand, in the whole system (services/scheduler/watch.py).
FIRING = metrics.gauge("firing", "1 while fires are decided, 0 while they are held back (rigbeat recover)")
OUTBOX_WAITING = metrics.gauge("outbox_waiting", "Messages that the broker has not confirmed")
OUTBOX_OLDEST_SECONDS = metrics.gauge("outbox_oldest_seconds", "Age of the oldest message that waits; 0 without one")
OPEN = metrics.gauge("executions_open", "Executions that have not ended, by state", ["state"])
HOSTS = metrics.gauge("hosts", "Hosts, by state", ["state"])
DEAD_LETTERS_OPEN = metrics.gauge("dead_letters_open", "Dead letters that nobody has dealt with")
WATCHED = metrics.gauge("watched_timestamp_seconds", "When the gauges of the whole system were last read (Unix time)")
