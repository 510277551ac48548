"""What the scheduler measures."""

from __future__ import annotations

from libs.chassis import metrics

FIRES = metrics.counter("fires", "Nominal fires decided, by what became of them", ["outcome"])
CLAIM_SECONDS = metrics.histogram("claim_seconds", "From the start of a claim to its commit")
LATE_SECONDS = metrics.histogram("claim_late_seconds", "From a fire's nominal time to the decision")
PUBLISHED = metrics.counter("published", "Messages handed to the broker, by what it said", ["receipt"])
PUBLISH_SECONDS = metrics.histogram("publish_seconds", "From the first frame of a batch to its last confirm")
PRESUMED = metrics.counter("presumed", "Endings that no host reported", ["reason"])
REPUBLISHED = metrics.counter("republished", "Triggers sent again because their host did not take them")
