-- name: insert_meta
INSERT INTO meta (only_row, journal_id, sequence) VALUES (1, ?, 0);

-- name: select_meta
SELECT journal_id, sequence, ledger_epoch, synced_at, forgotten_before FROM meta;

-- name: update_sequence
UPDATE meta SET sequence = ?;

-- name: update_centre
UPDATE meta SET ledger_epoch = ?, synced_at = ?;

-- name: update_forgotten
-- Not after now, whatever a wrong clock wrote once: what may not start any more is refused for its lateness anyway.
UPDATE meta SET forgotten_before = min(max(coalesce(forgotten_before, ''), ?), ?);

-- name: knows_run
SELECT EXISTS (SELECT 1 FROM runs WHERE execution_id = ?);

-- name: upsert_run
INSERT INTO runs (
    execution_id, deployment_id, trigger_body, state, received_at, queued_at, waiting_since, admitted_at, started_at,
    not_after, cancel_requested, ended_at
) VALUES (
    :execution_id, :deployment_id, :trigger_body, :state, :received_at, :queued_at, :waiting_since, :admitted_at,
    :started_at, :not_after, :cancel_requested, :ended_at
)
ON CONFLICT (execution_id) DO UPDATE SET
    state = excluded.state, queued_at = excluded.queued_at, waiting_since = excluded.waiting_since,
    admitted_at = excluded.admitted_at, started_at = excluded.started_at,
    cancel_requested = excluded.cancel_requested, ended_at = excluded.ended_at;

-- name: select_open_runs
SELECT state, trigger_body, received_at, queued_at, waiting_since, admitted_at, started_at, cancel_requested
FROM runs WHERE state <> 'ended';

-- name: upsert_tombstone
INSERT INTO tombstones (execution_id, reason, created_at) VALUES (?, ?, ?)
ON CONFLICT (execution_id) DO UPDATE SET reason = excluded.reason;

-- name: select_tombstones
SELECT execution_id, reason FROM tombstones;

-- name: upsert_fence
INSERT INTO fences (deployment_id, ledger_epoch, version, reason) VALUES (?, ?, ?, ?)
ON CONFLICT (deployment_id) DO UPDATE SET
    ledger_epoch = excluded.ledger_epoch, version = excluded.version, reason = excluded.reason;

-- name: select_fences
SELECT deployment_id, ledger_epoch, version, reason FROM fences;

-- name: delete_locks
DELETE FROM locks;

-- name: insert_lock
INSERT INTO locks (device_id, version, held, owner, reason, since, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: select_locks
SELECT device_id, version, held, owner, reason, since, expires_at FROM locks;

-- name: forget_runs
DELETE FROM runs WHERE state = 'ended' AND not_after < ?;

-- name: forget_tombstones
DELETE FROM tombstones WHERE created_at < ?;

-- name: forget_events
DELETE FROM events WHERE confirmed_at < ?;

-- name: forget_logs
DELETE FROM logs WHERE state = 'removed' AND execution_id NOT IN (SELECT execution_id FROM runs);
