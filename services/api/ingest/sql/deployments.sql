-- name: lock_deployments
-- Last in every transaction and briefly: schedulers and edits wait for these rows.
SELECT id, team_id, status, execution_count, max_executions, next_due_at
FROM deployments
WHERE id = ANY ($1::uuid[])
ORDER BY id
FOR NO KEY UPDATE;

-- name: deployment_rows
SELECT id, team_id, name, host_name, device_id, script_name, userinterface_name, parameters, cron_expression, timezone,
       start_date, end_date, max_executions, execution_count, status, catch_up, catch_up_window_seconds, on_device_busy,
       max_wait_seconds, timeout_seconds, silence_timeout_seconds, version, counted_from, next_fire_at
FROM deployments
WHERE id = ANY ($1::uuid[])
ORDER BY id;

-- name: count_executions
UPDATE deployments d
SET execution_count = f.execution_count, last_executed_at = greatest(d.last_executed_at, f.last_executed_at)
FROM unnest($1::uuid[], $2::integer[], $3::timestamptz[]) AS f (id, execution_count, last_executed_at)
WHERE d.id = f.id;

-- name: complete_deployments
UPDATE deployments
SET status = 'completed', status_reason = $2, status_by = 'rigbeat', version = version + 1, updated_at = $3,
    next_fire_at = NULL, next_due_at = NULL
WHERE id = ANY ($1::uuid[]) AND status IN ('active', 'paused');

-- name: any_held
-- Whether something of these deployments waits for what was before it.
SELECT EXISTS (SELECT FROM deployment_executions WHERE held AND deployment_id = ANY ($1::uuid[]));
