-- name: lock_executions
-- In id order, so that two workers never wait for each other in a circle.
SELECT id, deployment_id, team_id, host_name, status, presumed, reason, skip_reason, error_message, success, exit_code,
       signal, duration_seconds, script_result_id, log_bytes, received_at, queued_at, admitted_at, started_at, completed_at,
       kind, scheduled_at, decided_at, published_at, ended_journal_id, ended_sequence
FROM deployment_executions
WHERE id = ANY ($1::uuid[])
ORDER BY id
FOR NO KEY UPDATE;

-- name: lock_lost
-- What a host had taken and, with its new journal, does not hold.
SELECT id, deployment_id, team_id, host_name, status, presumed, reason, skip_reason, error_message, success, exit_code,
       signal, duration_seconds, script_result_id, log_bytes, received_at, queued_at, admitted_at, started_at, completed_at,
       kind, scheduled_at, decided_at, published_at, ended_journal_id, ended_sequence
FROM deployment_executions
WHERE host_name = $1 AND status IN ('queued', 'running') AND id <> ALL ($2::uuid[])
ORDER BY id
FOR NO KEY UPDATE;

-- name: insert_unknown
-- Executions that only their host knows, of deployments that are that host's. The rest of the row is the deployment's.
INSERT INTO deployment_executions (
    id, deployment_id, team_id, scheduled_at, kind, status, version, decided_at, host_name, device_id, script_name,
    userinterface_name, parameters, timeout_seconds
)
SELECT f.id, d.id, d.team_id, f.scheduled_at, f.kind, 'triggered', f.version, f.scheduled_at, d.host_name, f.device_id,
       f.script_name, d.userinterface_name, d.parameters, d.timeout_seconds
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::integer[], $6::text[], $7::text[], $8::text[])
     AS f (id, deployment_id, scheduled_at, kind, version, host_name, device_id, script_name)
JOIN deployments d ON d.id = f.deployment_id AND d.host_name = f.host_name
ON CONFLICT (id) DO NOTHING;

-- name: update_executions
-- The guard is the status as it was read. `= ANY` lets the planner leave out the partitions of other months.
UPDATE deployment_executions e
SET status = f.status, presumed = f.presumed, received_at = f.received_at, queued_at = f.queued_at,
    admitted_at = f.admitted_at, started_at = f.started_at, completed_at = f.completed_at, reason = f.reason,
    skip_reason = f.skip_reason, error_message = f.error_message, success = f.success, exit_code = f.exit_code,
    signal = f.signal, duration_seconds = f.duration_seconds, script_result_id = f.script_result_id,
    log_bytes = f.log_bytes, ended_journal_id = f.ended_journal_id, ended_sequence = f.ended_sequence,
    -- A restored ledger may hold what a host ran long ago.
    held = e.held AND f.status = 'triggered'
FROM unnest(
    $1::uuid[], $2::text[], $3::boolean[], $4::text[], $5::boolean[], $6::timestamptz[], $7::timestamptz[],
    $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::text[], $12::text[], $13::text[], $14::boolean[],
    $15::integer[], $16::text[], $17::double precision[], $18::uuid[], $19::bigint[],
    $20::uuid[], $21::bigint[]
) AS f (
    id, was, was_presumed, status, presumed, received_at, queued_at, admitted_at, started_at, completed_at, reason,
    skip_reason, error_message, success, exit_code, signal, duration_seconds, script_result_id, log_bytes,
    ended_journal_id, ended_sequence
)
WHERE e.id = f.id AND e.id = ANY ($1::uuid[]) AND e.status = f.was AND e.presumed = f.was_presumed;

-- name: upsert_script_results
-- A script may name anything, but never another team's result.
INSERT INTO script_results (id, team_id, execution_id)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[])
ON CONFLICT (id) DO UPDATE SET execution_id = excluded.execution_id
WHERE script_results.team_id = excluded.team_id;

-- name: insert_repeated_endings
-- The same word may come any number of times; it is written down once.
INSERT INTO repeated_endings (execution_id, journal_id, sequence, team_id, host_name, status)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::text[])
ON CONFLICT DO NOTHING;
