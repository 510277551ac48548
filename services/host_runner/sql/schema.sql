-- The journal of one host: what it decided, what it holds, what it still has to say.
-- Times are text in UTC with six digits of a second, so that they compare as text.

-- name: create_schema
CREATE TABLE meta (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    journal_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    ledger_epoch INTEGER NOT NULL DEFAULT 0,
    synced_at TEXT,
    forgotten_before TEXT
);
CREATE TABLE runs (
    execution_id TEXT PRIMARY KEY,
    deployment_id TEXT NOT NULL,
    trigger_body TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'running', 'ended')),
    received_at TEXT NOT NULL,
    queued_at TEXT,
    waiting_since TEXT,
    admitted_at TEXT,
    started_at TEXT,
    not_after TEXT NOT NULL,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    ended_at TEXT
) WITHOUT ROWID;
CREATE UNIQUE INDEX runs_one_running ON runs (deployment_id) WHERE state = 'running';
CREATE UNIQUE INDEX runs_one_pending ON runs (deployment_id) WHERE state = 'pending';
CREATE INDEX runs_ended ON runs (not_after) WHERE state = 'ended';
CREATE TABLE logs (
    execution_id TEXT PRIMARY KEY,
    sent INTEGER NOT NULL DEFAULT 0,
    size INTEGER,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'removed')),
    ended_at TEXT
) WITHOUT ROWID;
CREATE INDEX logs_kept ON logs (state) WHERE state <> 'removed';
CREATE TABLE tombstones (
    execution_id TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    created_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE fences (
    deployment_id TEXT PRIMARY KEY,
    ledger_epoch INTEGER NOT NULL,
    version INTEGER NOT NULL,
    reason TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE locks (
    device_id TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    held INTEGER NOT NULL,
    owner TEXT NOT NULL,
    reason TEXT NOT NULL,
    since TEXT,
    expires_at TEXT
) WITHOUT ROWID;
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    routing_key TEXT NOT NULL,
    execution_id TEXT,
    body BLOB NOT NULL,
    created_at TEXT NOT NULL,
    confirmed_at TEXT
);
CREATE INDEX events_unconfirmed ON events (sequence) WHERE confirmed_at IS NULL;
CREATE INDEX events_of_execution ON events (execution_id) WHERE confirmed_at IS NULL;
