-- name: waiting
-- Deployments whose oldest held fire may go out. The snapshot may be older than the row lock, so `release` looks again.
SELECT d.id, d.team_id, d.name, d.host_name, d.device_id, d.script_name, d.userinterface_name, d.parameters,
       d.cron_expression, d.timezone, d.start_date, d.end_date, d.max_executions, d.execution_count, d.status, d.catch_up,
       d.catch_up_window_seconds, d.on_device_busy, d.max_wait_seconds, d.timeout_seconds, d.silence_timeout_seconds,
       d.version, d.counted_from, d.next_fire_at, d.deleted_at IS NOT NULL AS deleted
FROM deployments d
WHERE d.id IN (SELECT h.deployment_id FROM deployment_executions h WHERE h.held)
  AND d.status <> 'paused'
  -- What may not fire there any more is not released, and soon dropped.
  AND NOT EXISTS (SELECT FROM hosts s WHERE s.name = d.host_name
                  AND (s.revoked_at IS NOT NULL OR d.team_id <> s.team_id AND d.team_id <> ALL (s.shared_teams)))
  AND NOT EXISTS (SELECT FROM deployment_executions e
                  WHERE e.deployment_id = d.id AND e.status IN ('triggered', 'queued', 'running') AND NOT e.held)
ORDER BY d.id
LIMIT $1
FOR NO KEY UPDATE OF d SKIP LOCKED;

-- name: release
-- The caller holds the deployments' locks. A cancel may have taken the oldest meanwhile: then it is the next look's.
UPDATE deployment_executions e
SET held = false, not_after = f.not_after
FROM unnest($1::uuid[], $2::timestamptz[]) AS f (deployment_id, not_after)
WHERE e.held AND e.deployment_id = f.deployment_id
  AND e.id = (SELECT h.id FROM deployment_executions h WHERE h.held AND h.deployment_id = f.deployment_id
              ORDER BY h.id LIMIT 1)
  AND NOT EXISTS (SELECT FROM deployment_executions o
                  WHERE o.deployment_id = f.deployment_id AND o.status IN ('triggered', 'queued', 'running')
                    AND NOT o.held)
RETURNING e.id, e.deployment_id, e.team_id, e.kind, e.scheduled_at, e.not_after;
