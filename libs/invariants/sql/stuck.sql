-- I7: nothing stays stuck. $1 is the instant before which it should have moved.

-- name: stuck_executions
-- Open for longer than its window, its wait and its time limit; as services/scheduler gives it up, and well after.
SELECT count(*) OVER ()::integer AS rows,
       format('%s of %s is still %s, since %s', t.id, t.name, t.status, t.since) AS sentence
FROM (
    SELECT e.id, d.name, e.status, CASE e.status
        WHEN 'triggered' THEN coalesce(e.not_after, e.decided_at)
        ELSE coalesce(e.started_at, e.queued_at, e.decided_at)
             + make_interval(secs => coalesce(e.timeout_seconds, 3600)
                             + CASE WHEN e.status = 'queued' THEN d.max_wait_seconds ELSE 0 END)
        END AS ends_by,
        coalesce(e.started_at, e.queued_at, e.decided_at) AS since
    FROM deployment_executions e
    JOIN deployments d ON d.id = e.deployment_id
    WHERE e.status IN ('triggered', 'queued', 'running') AND NOT e.held
) t
WHERE t.ends_by < $1
ORDER BY t.id LIMIT 10;

-- name: held_for_nothing
-- Held for a run before it, and there is none.
SELECT count(*) OVER ()::integer AS rows,
       format('%s of %s is held and nothing is before it', e.id, d.name) AS sentence
FROM deployment_executions e
JOIN deployments d ON d.id = e.deployment_id
WHERE e.held AND e.decided_at < $1 AND d.status <> 'paused'
  AND NOT EXISTS (
      SELECT FROM deployment_executions o
      WHERE o.deployment_id = e.deployment_id AND NOT o.held
        AND (o.status IN ('triggered', 'queued', 'running') OR o.completed_at >= $1))
ORDER BY e.id LIMIT 10;

-- name: unsent_messages
SELECT count(*) OVER ()::integer AS rows,
       format('%s for %s was written at %s and never sent', type, host_name, created_at) AS sentence
FROM outbox
WHERE published_at IS NULL AND coalesce(not_after, created_at) < $1
ORDER BY id LIMIT 10;

-- name: locks_of_finished_runs
-- What an online host ($2: heard since) says of a device, although its run ended long ago.
SELECT count(*) OVER ()::integer AS rows, t.sentence
FROM (
    SELECT v.host_name, v.device_id,
           format('%s/%s is said to run %s, which is %s', v.host_name, v.device_id, e.id, e.status) AS sentence
    FROM devices v
    JOIN hosts h ON h.name = v.host_name AND h.revoked_at IS NULL AND h.last_seen_at > $2
    JOIN deployment_executions e ON e.id = v.execution_id
    WHERE v.status = 'running' AND e.status IN ('completed', 'failed', 'skipped', 'cancelled') AND NOT e.presumed
      AND e.completed_at < $1
    UNION ALL
    SELECT v.host_name, v.device_id,
           format('%s/%s has %s waiting, which is %s', v.host_name, v.device_id, e.id, e.status)
    FROM devices v
    JOIN hosts h ON h.name = v.host_name AND h.revoked_at IS NULL AND h.last_seen_at > $2
    JOIN deployment_executions e ON e.id = ANY (v.pending)
    WHERE e.status IN ('completed', 'failed', 'skipped', 'cancelled') AND NOT e.presumed AND e.completed_at < $1
) t
ORDER BY t.host_name, t.device_id LIMIT 10;

-- name: expired_locks
-- A lock that an online host ($2: heard since) keeps beyond its end.
SELECT count(*) OVER ()::integer AS rows,
       format('%s/%s is locked, by a lock that ran out at %s', v.host_name, v.device_id, v.lock_expires_at) AS sentence
FROM devices v
JOIN hosts h ON h.name = v.host_name AND h.revoked_at IS NULL AND h.last_seen_at > $2
WHERE v.status = 'locked' AND v.lock_expires_at < $1
ORDER BY v.host_name, v.device_id LIMIT 10;

-- name: overdue_fires
-- Due, and no scheduler decided it.
SELECT count(*) OVER ()::integer AS rows,
       format('%s (%s) has been due since %s and is not decided', name, id, next_due_at) AS sentence
FROM deployments
WHERE status IN ('active', 'paused') AND next_due_at < $1 AND (SELECT firing FROM epoch)
ORDER BY next_due_at LIMIT 10;

-- name: firing_held
SELECT 1 AS rows, format('Firing has been held since %s: call rigbeat recover again', held_at) AS sentence
FROM epoch WHERE NOT firing AND held_at < $1;
