-- The process that removes. Each step is a transaction of its own.

-- name: begin_run
SELECT run FROM ledger.begin_retention();

-- name: end_run
SELECT ledger.end_retention($1, $2);

-- name: executions
SELECT removed, last FROM ledger.remove_executions($1, $2, $3);

-- name: versions
SELECT removed, last FROM ledger.remove_versions($1, $2, $3);

-- name: artifact_rows
SELECT removed, last FROM ledger.remove_artifact_rows($1, $2);

-- name: audit
SELECT removed, last FROM ledger.remove_audit($1, $2, $3);

-- name: tokens
SELECT removed, last FROM ledger.remove_tokens($1, $2, $3);

-- name: dead_letters
SELECT removed, last FROM ledger.remove_dead_letters($1, $2, $3);

-- name: drop_empty_month
SELECT ledger.drop_empty_month();

-- name: note_removed_files
SELECT ledger.note_removed_files($1, $2, $3, $4);

-- name: is_anything_due
-- Fires that wait to be decided go first.
SELECT EXISTS (SELECT FROM deployments WHERE status IN ('active', 'paused') AND next_due_at <= (SELECT ledger.now()));

-- name: kept_from
SELECT kind, kept_from FROM retention;

-- name: last_whole_run
SELECT ended_at, extract(epoch FROM ended_at - started_at)::double precision AS seconds
FROM retention_runs WHERE ended_at IS NOT NULL AND NOT broke_off ORDER BY id DESC LIMIT 1;

-- name: still_kept
-- Of these executions, those whose files stay: they are open, or ended at $2 or later.
SELECT id FROM deployment_executions
WHERE id = ANY ($1::uuid[])
  AND (status IN ('triggered', 'queued', 'running') OR coalesce(completed_at, decided_at) >= $2);
