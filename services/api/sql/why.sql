-- What is known of one minute of one deployment.

-- name: why_deployment
-- With its host and device as they are now; `lock_owner` only of a lock that stands.
SELECT d.id, d.host_name, d.device_id, d.created_at, d.created_by, d.execution_count, d.next_fire_at, d.max_executions,
       h.name IS NOT NULL AND h.revoked_at IS NULL AS is_enrolled,
       coalesce(h.last_seen_at > (SELECT ledger.heard_since()), false) AS is_online, h.last_seen_at,
       coalesce(v.present, false) AS has_device,
       CASE WHEN v.lock_expires_at IS NULL OR v.lock_expires_at > ledger.now() THEN v.lock_owner END AS lock_owner,
       v.lock_reason, v.lock_expires_at,
       EXISTS (SELECT FROM backlogs b WHERE b.deployment_id = d.id AND b.from_at <= $2 AND $2 < b.until_at) AS in_backlog
FROM deployments d
LEFT JOIN hosts h ON h.name = d.host_name
LEFT JOIN devices v ON v.host_name = d.host_name AND v.device_id = d.device_id
WHERE d.id = $1;

-- name: why_versions
SELECT valid_from, counted_from, cron_expression, timezone, start_date, end_date, max_executions, status, status_reason,
       deleted, changed_by, on_device_busy, max_wait_seconds, catch_up_window_seconds
FROM deployment_versions WHERE deployment_id = $1
ORDER BY version DESC LIMIT 1000;

-- name: why_run
-- The fire of the minute ($2), else the run nearest to the instant that was asked for ($5) within the minute ($3 to $4),
-- in which all their ids lie.
SELECT id, kind, status, reason, coalesce(skip_reason, error_message) AS message, presumed, held, scheduled_at, decided_at,
       not_after, queued_at, started_at, completed_at, duration_seconds, triggered_by
FROM deployment_executions
WHERE deployment_id = $1 AND id >= $3 AND id < $4
ORDER BY id <> $2, abs(extract(epoch FROM scheduled_at - $5::timestamptz)), id
LIMIT 1;

-- name: why_neighbour
-- Who was on the device at the instant $4. Ids begin with the nominal time: what may still have run then is not older
-- than $5, which keeps the search short.
SELECT e.id, d.name AS deployment_name, e.deployment_id = $3 AS is_own, e.started_at
FROM deployment_executions e
JOIN deployments d ON d.id = e.deployment_id
WHERE e.host_name = $1 AND e.device_id = $2 AND e.id >= $5 AND e.started_at <= $4
  AND (e.completed_at > $4 OR e.status = 'running') AND e.id <> $6
ORDER BY e.started_at DESC
LIMIT 1;

-- name: why_typical
-- The median duration of its latest runs before the minute.
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_seconds)
FROM (
    SELECT duration_seconds FROM (
        SELECT duration_seconds FROM deployment_executions WHERE deployment_id = $1 AND id < $2 ORDER BY id DESC LIMIT 500
    ) latest
    WHERE duration_seconds IS NOT NULL LIMIT 20
) ran;

-- name: why_counted
-- What counts for the limit of fires before the minute; looked at only where there is one. What was removed was before it.
SELECT count(*)::integer
       + coalesce((SELECT r.counted FROM executions_removed r WHERE r.deployment_id = $1), 0)::integer
FROM deployment_executions
WHERE deployment_id = $1 AND id < $2 AND NOT presumed
  AND (status IN ('completed', 'failed') OR (status = 'cancelled' AND started_at IS NOT NULL));
