-- The writing of decisions: one set of statements, used by the scheduler to fire and by the API for edits and runs.

-- name: ledger_now
-- The instant of the transaction. Read once, after the row locks are held.
SELECT ledger.now() AS now, ledger_epoch, firing FROM epoch;

-- name: kept_from
-- What is older of this kind is gone, or about to be; null: nothing is.
SELECT kept_from FROM retention WHERE kind = $1;

-- name: in_flight
-- What may still use up the limit of each deployment: open, or only presumed to have ended, which keeps its place until
-- the host reports. Read under the deployment's row lock.
SELECT deployment_id, count(*)::integer AS in_flight
FROM deployment_executions
WHERE deployment_id = ANY ($1::uuid[])
  AND (status IN ('triggered', 'queued', 'running') OR presumed)
GROUP BY deployment_id;

-- name: held
-- Of them, what waits to be released (catch-up `all`).
SELECT deployment_id, count(*)::integer AS held
FROM deployment_executions
WHERE deployment_id = ANY ($1::uuid[]) AND held
GROUP BY deployment_id;

-- name: barred_among
-- Which of these may not fire any more. A host that the API's role does not see is one that the team may not use.
SELECT d.id FROM deployments d LEFT JOIN hosts h ON h.name = d.host_name
WHERE d.id = ANY ($1::uuid[])
  AND (h.name IS NULL OR h.revoked_at IS NOT NULL OR d.team_id <> h.team_id AND d.team_id <> ALL (h.shared_teams));

-- name: insert_executions
-- A nominal fire that has its row already is left alone, and its id is not returned: nothing is sent for it again.
INSERT INTO deployment_executions (
    id, deployment_id, team_id, scheduled_at, kind, status, reason, skip_reason, completed_at, not_after, decided_at,
    triggered_by, held, version, host_name, device_id, script_name, userinterface_name, parameters, timeout_seconds
)
SELECT f.id, d.id, d.team_id, f.scheduled_at, f.kind, f.status, f.reason, f.skip_reason,
       CASE WHEN f.status = 'skipped' THEN $9::timestamptz END, f.not_after, $9::timestamptz, f.triggered_by,
       f.held, d.version, d.host_name, d.device_id, d.script_name, d.userinterface_name, d.parameters, d.timeout_seconds
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[],
            $10::text[], $11::boolean[])
     AS f (id, deployment_id, scheduled_at, kind, status, reason, skip_reason, not_after, triggered_by, held)
JOIN deployments d ON d.id = f.deployment_id
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: drop_held
-- What waits to be released ends without a word of its host, who never heard of it.
UPDATE deployment_executions
SET held = false, status = 'skipped', reason = $2, skip_reason = $3, completed_at = $4
WHERE deployment_id = ANY ($1::uuid[]) AND held
RETURNING id, team_id;

-- name: drop_newest_held
-- The same, of the newest so many of one deployment: those before them run first.
UPDATE deployment_executions
SET held = false, status = 'skipped', reason = $3, skip_reason = $4, completed_at = $5
WHERE id IN (SELECT id FROM deployment_executions WHERE deployment_id = $1 AND held ORDER BY id DESC LIMIT $2) AND held
RETURNING id, team_id;

-- name: insert_outbox
-- A revoked host is told nothing any more: its queues may be gone, and its commands would be dead letters.
INSERT INTO outbox (message_id, team_id, type, exchange, host_name, execution_id, body, not_after)
SELECT m.*
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::text[], $8::timestamptz[])
     AS m (message_id, team_id, type, exchange, host_name, execution_id, body, not_after)
WHERE m.type NOT LIKE 'command.%'
   OR ledger.hears(m.host_name)
ON CONFLICT (message_id) DO NOTHING;

-- name: move_on
-- Where each deployment goes after its due fires were decided; a new status raises the version.
UPDATE deployments d
SET next_fire_at = f.next_fire_at,
    next_due_at = f.next_due_at,
    status = coalesce(f.status, d.status),
    status_reason = CASE WHEN f.status IS NULL THEN d.status_reason ELSE f.status_reason END,
    status_by = CASE WHEN f.status IS NULL THEN d.status_by ELSE 'rigbeat' END,
    version = d.version + (f.status IS NOT NULL)::integer,
    updated_at = CASE WHEN f.status IS NULL THEN d.updated_at ELSE $6::timestamptz END
FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[])
     AS f (id, next_fire_at, next_due_at, status, status_reason)
WHERE d.id = f.id;

-- name: insert_versions
-- The history row of each deployment as it is now, for those whose version rose.
INSERT INTO deployment_versions (
    deployment_id, version, team_id, valid_from, counted_from, cron_expression, timezone, start_date, end_date,
    max_executions, status, status_reason, catch_up, catch_up_window_seconds, on_device_busy, max_wait_seconds,
    timeout_seconds, silence_timeout_seconds, deleted, changed_by
)
SELECT id, version, team_id, updated_at, counted_from, cron_expression, timezone, start_date, end_date,
       max_executions, status, status_reason, catch_up, catch_up_window_seconds, on_device_busy, max_wait_seconds,
       timeout_seconds, silence_timeout_seconds, deleted_at IS NOT NULL, status_by
FROM deployments WHERE id = ANY ($1::uuid[])
ON CONFLICT (deployment_id, version) DO NOTHING;

-- name: insert_backlogs
INSERT INTO backlogs (deployment_id, team_id, version, cron_expression, timezone, window_seconds, from_at, until_at)
SELECT d.id, d.team_id, d.version, d.cron_expression, d.timezone, f.window_seconds, f.from_at, f.until_at
FROM unnest($1::uuid[], $2::integer[], $3::timestamptz[], $4::timestamptz[]) AS f (id, window_seconds, from_at, until_at)
JOIN deployments d ON d.id = f.id;

-- name: feed
INSERT INTO change_feed (team_id, kind, resource_id)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[]);

-- name: notify
SELECT pg_notify($1, $2);

-- name: audit
INSERT INTO audit_log (at, team_id, actor, action, resource, detail) VALUES ($1, $2, $3, $4, $5, $6);
