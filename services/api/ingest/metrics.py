"""What the ingest measures."""

from __future__ import annotations

from libs.chassis import metrics

BATCHES = metrics.counter("ingest_batches", "Transactions of folded messages")
EVENTS = metrics.counter("ingest_events", "Messages of hosts that were taken into the ledger, by event", ["event"])
FOLD_SECONDS = metrics.histogram("ingest_fold_seconds", "From the start of a batch's transaction to its commit")
BURIED = metrics.counter("ingest_buried", "Messages of hosts that went to the dead letters, by why", ["why"])
DEAD_LETTERS = metrics.counter("dead_letters", "Dead letters that were stored, by reason", ["reason"])
IGNORED = metrics.counter(
    "ingest_ignored", "Messages without effect: of unknown or revoked hosts, or unreadable", ["event"]
)
CONSUMER_UP = metrics.gauge("ingest_consumer_up", "1 while the queue is consumed", ["queue"])
