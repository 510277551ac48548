-- Reading executions, and the wish to end one.

-- name: execution
SELECT e.*, d.name AS deployment_name,
       CASE WHEN e.status = 'queued' THEN array_position(v.pending, e.id) END AS queue_position, f.files,
       ledger.files_are_gone('logs', e.status, e.completed_at) AS log_removed,
       ledger.files_are_gone('artifacts', e.status, e.completed_at) AS artifacts_removed
FROM deployment_executions e
JOIN deployments d ON d.id = e.deployment_id
LEFT JOIN devices v ON v.host_name = e.host_name AND v.device_id = e.device_id
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('name', a.name, 'size', a.size, 'junit', a.junit) ORDER BY a.name) AS files
    FROM artifacts a WHERE a.execution_id = e.id
) f ON true
WHERE e.id = $1;

-- name: history_page
-- Of one deployment. Ids begin with the nominal time, so a stretch of time is a range of ids.
SELECT e.*, d.name AS deployment_name,
       CASE WHEN e.status = 'queued' THEN array_position(v.pending, e.id) END AS queue_position, f.files,
       ledger.files_are_gone('logs', e.status, e.completed_at) AS log_removed,
       ledger.files_are_gone('artifacts', e.status, e.completed_at) AS artifacts_removed
FROM (
    SELECT * FROM deployment_executions
    WHERE deployment_id = $1
      AND ($2::uuid IS NULL OR id < $2)
      AND ($3::text[] IS NULL OR status = ANY ($3))
      AND ($4::text[] IS NULL OR reason = ANY ($4))
      AND ($5::uuid IS NULL OR id >= $5)
      AND ($6::uuid IS NULL OR id < $6)
    ORDER BY id DESC
    LIMIT $7
) e
JOIN deployments d ON d.id = e.deployment_id
LEFT JOIN devices v ON v.host_name = e.host_name AND v.device_id = e.device_id
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('name', a.name, 'size', a.size, 'junit', a.junit) ORDER BY a.name) AS files
    FROM artifacts a WHERE a.execution_id = e.id
) f ON true
ORDER BY e.id DESC;

-- name: executions_page
SELECT e.*, d.name AS deployment_name,
       CASE WHEN e.status = 'queued' THEN array_position(v.pending, e.id) END AS queue_position, f.files,
       ledger.files_are_gone('logs', e.status, e.completed_at) AS log_removed,
       ledger.files_are_gone('artifacts', e.status, e.completed_at) AS artifacts_removed
FROM (
    SELECT * FROM deployment_executions
    WHERE ($1::uuid IS NULL OR team_id = $1)
      AND ($2::uuid IS NULL OR id < $2)
      AND ($3::text[] IS NULL OR status = ANY ($3))
      AND ($4::text[] IS NULL OR reason = ANY ($4))
      AND ($5::uuid IS NULL OR id >= $5)
      AND ($6::uuid IS NULL OR id < $6)
      AND ($7::uuid IS NULL OR deployment_id = $7)
      AND ($8::text IS NULL OR host_name = $8)
      AND ($9::text IS NULL OR device_id = $9)
    ORDER BY id DESC
    LIMIT $10
) e
JOIN deployments d ON d.id = e.deployment_id
LEFT JOIN devices v ON v.host_name = e.host_name AND v.device_id = e.device_id
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('name', a.name, 'size', a.size, 'junit', a.junit) ORDER BY a.name) AS files
    FROM artifacts a WHERE a.execution_id = e.id
) f ON true
ORDER BY e.id DESC;

-- name: execution_locked
SELECT * FROM deployment_executions WHERE id = $1 FOR NO KEY UPDATE;

-- name: request_cancel
UPDATE deployment_executions SET cancel_requested_at = $2 WHERE id = $1 AND cancel_requested_at IS NULL;

-- name: execution_of_host
-- For an upload: the execution, if it is this host's own and the host is not revoked.
SELECT e.id, e.team_id FROM deployment_executions e
JOIN hosts h ON h.name = e.host_name AND h.revoked_at IS NULL
WHERE e.id = $1 AND e.host_name = $2;

-- name: log_progress
SELECT status, log_bytes, host_name, completed_at < ledger.now() - interval '10 minutes' AS long_ago,
       ledger.files_are_gone('logs', status, completed_at) AS is_removed
FROM deployment_executions WHERE id = $1;
