-- name: lock_host
SELECT name, team_id, shared_teams, revoked_at, journal_id FROM hosts WHERE name = $1 FOR NO KEY UPDATE;

-- name: is_answered
-- A hello is answered by one command, whose id is made from the hello: a second delivery finds it here.
SELECT EXISTS (SELECT FROM outbox WHERE message_id = $1);

-- name: update_host
UPDATE hosts
SET runner_id = $2, runner_version = $3, journal_id = $4, boot_id = $5, max_parallel = $6, last_seen_at = $7
WHERE name = $1;

-- name: upsert_devices
INSERT INTO devices (host_name, device_id, model, labels, present)
SELECT $1, f.device_id, f.model, f.labels::jsonb, true
FROM unnest($2::text[], $3::text[], $4::text[]) AS f (device_id, model, labels)
ON CONFLICT (host_name, device_id) DO UPDATE
SET model = excluded.model, labels = excluded.labels, present = true
WHERE (devices.model, devices.labels, devices.present) IS DISTINCT FROM (excluded.model, excluded.labels, true)
RETURNING device_id;

-- name: absent_devices
-- Kept, since locks and history name them.
UPDATE devices SET present = false
WHERE host_name = $1 AND present AND device_id <> ALL ($2::text[])
RETURNING device_id;

-- name: delete_scripts
DELETE FROM host_scripts WHERE host_name = $1 AND name <> ALL ($2::text[]);

-- name: upsert_scripts
INSERT INTO host_scripts (host_name, name, parameters)
SELECT $1, f.name, f.parameters::jsonb FROM unnest($2::text[], $3::text[]) AS f (name, parameters)
ON CONFLICT (host_name, name) DO UPDATE SET parameters = excluded.parameters
WHERE host_scripts.parameters IS DISTINCT FROM excluded.parameters;

-- name: fences
-- The version at which each deployment was last paused, stopped or deleted: triggers from before it are to be refused, runs
-- that were asked for while it was paused are not. A deployment that completed or expired sends none: what was fired
-- before that may run. History older than any trigger can be is left out.
WITH steps AS (
    SELECT v.deployment_id, v.version, v.status, v.deleted, v.valid_from,
           lag(v.status) OVER history AS former, coalesce(lag(v.deleted) OVER history, false) AS was_deleted
    FROM deployments d
    JOIN deployment_versions v ON v.deployment_id = d.id
    WHERE d.host_name = $1
    WINDOW history AS (PARTITION BY v.deployment_id ORDER BY v.version)
), last_left AS (
    SELECT DISTINCT ON (deployment_id) deployment_id, version, status, deleted, valid_from
    FROM steps
    WHERE (status IN ('paused', 'stopped') AND status IS DISTINCT FROM former) OR (deleted AND NOT was_deleted)
    ORDER BY deployment_id, version DESC
)
SELECT d.id AS deployment_id, coalesce(l.version, d.version) AS version,
       CASE WHEN coalesce(l.deleted, d.deleted_at IS NOT NULL) THEN 'deleted' ELSE coalesce(l.status, d.status) END AS reason
FROM deployments d
LEFT JOIN last_left l ON l.deployment_id = d.id
WHERE d.host_name = $1
  AND (l.deployment_id IS NOT NULL OR d.status IN ('paused', 'stopped'))
  AND coalesce(l.valid_from, d.updated_at)
      + make_interval(secs => greatest(d.catch_up_window_seconds, 604800)) > $2
ORDER BY d.id;

-- name: locks
SELECT device_id, lock_version, lock_owner, lock_reason, lock_since, lock_expires_at
FROM devices
WHERE host_name = $1 AND lock_owner IS NOT NULL AND (lock_expires_at IS NULL OR lock_expires_at > $2)
ORDER BY device_id;

-- name: deployment_states
SELECT id, name, version, status, cron_expression, timezone, last_executed_at, next_fire_at, execution_count, max_executions
FROM deployments
WHERE host_name = $1 AND status IN ('active', 'paused') AND deleted_at IS NULL
ORDER BY id;

-- name: mark_applied
-- Only by the host that the command was for; the first answer stands.
UPDATE outbox o SET applied_at = $4, result = f.result
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS f (message_id, host_name, result)
WHERE o.message_id = f.message_id AND o.host_name = f.host_name AND o.applied_at IS NULL
RETURNING o.message_id;

-- name: asked_to_resend
-- Of these hosts, those that have not answered yet: what they send then has everything in it.
SELECT DISTINCT host_name FROM outbox
WHERE host_name = ANY ($1::text[]) AND type = 'command.resend.v1' AND applied_at IS NULL;

-- name: update_devices
UPDATE devices d
SET status = f.status, execution_id = f.execution_id, pending = f.pending::uuid[]
FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::text[])
     AS f (host_name, device_id, status, execution_id, pending)
JOIN hosts h ON h.name = f.host_name AND h.revoked_at IS NULL
WHERE d.host_name = f.host_name AND d.device_id = f.device_id
  AND (d.status, d.execution_id, d.pending) IS DISTINCT FROM (f.status, f.execution_id, f.pending::uuid[])
RETURNING d.host_name, d.device_id, h.team_id, h.shared_teams;
