-- name: claim
-- Due deployments that no other scheduler holds, ordered so that a batch touches few hosts. NO KEY: the foreign-key check
-- of somebody else's insert must not hide a row. The scalar subquery is read once, so the index serves it.
SELECT id, team_id, name, host_name, device_id, script_name, userinterface_name, parameters, cron_expression, timezone,
       start_date, end_date, max_executions, execution_count, status, catch_up, catch_up_window_seconds, on_device_busy,
       max_wait_seconds, timeout_seconds, silence_timeout_seconds, version, counted_from, next_fire_at
FROM deployments
WHERE status IN ('active', 'paused') AND next_due_at <= (SELECT ledger.now())
ORDER BY next_due_at, host_name
LIMIT $1
FOR NO KEY UPDATE SKIP LOCKED;

-- name: earliest
-- How long until something is due, in seconds; negative: something is due that another scheduler holds. Null: nothing.
-- And whether any fire waits to be released.
SELECT (SELECT extract(epoch FROM min(next_due_at) - ledger.now())::double precision
        FROM (SELECT next_due_at FROM deployments WHERE status IN ('active', 'paused') AND next_due_at IS NOT NULL
              ORDER BY next_due_at LIMIT 1) soonest) AS seconds,
       EXISTS (SELECT FROM deployment_executions WHERE held) AS held;

-- name: backlog
SELECT id, deployment_id, cron_expression, timezone, window_seconds, from_at, until_at
FROM backlogs ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED;

-- name: deployment
SELECT id, team_id, name, host_name, device_id, script_name, userinterface_name, parameters, cron_expression, timezone,
       start_date, end_date, max_executions, execution_count, status, catch_up, catch_up_window_seconds, on_device_busy,
       max_wait_seconds, timeout_seconds, silence_timeout_seconds, version, counted_from, next_fire_at
FROM deployments WHERE id = $1;

-- name: shorten_backlog
UPDATE backlogs SET from_at = $2 WHERE id = $1;

-- name: end_backlog
DELETE FROM backlogs WHERE id = $1;
