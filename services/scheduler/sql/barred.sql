-- name: barred
-- What would still fire where it may not any more: on a host that was revoked, or that is not shared with its team any more.
-- What expired meanwhile may still hold fires that catch up.
SELECT d.id, d.team_id, d.name, d.host_name, d.device_id, d.script_name, d.userinterface_name, d.parameters,
       d.cron_expression, d.timezone, d.start_date, d.end_date, d.max_executions, d.execution_count, d.status, d.catch_up,
       d.catch_up_window_seconds, d.on_device_busy, d.max_wait_seconds, d.timeout_seconds, d.silence_timeout_seconds,
       d.version, d.counted_from, d.next_fire_at, h.revoked_at IS NOT NULL AS is_revoked
FROM deployments d
JOIN hosts h ON h.name = d.host_name
WHERE d.deleted_at IS NULL
  AND (d.status = 'active'
       OR d.status = 'expired' AND EXISTS (SELECT FROM deployment_executions e WHERE e.deployment_id = d.id AND e.held))
  AND (h.revoked_at IS NOT NULL OR d.team_id <> h.team_id AND d.team_id <> ALL (h.shared_teams))
ORDER BY d.id
LIMIT $1
FOR NO KEY UPDATE OF d SKIP LOCKED;
