-- Reading and changing deployments.

-- name: deployment
SELECT * FROM deployments WHERE id = $1;

-- name: deployment_locked
-- FOR NO KEY UPDATE: rows that refer to it may still be inserted.
SELECT d.*, h.revoked_at IS NULL AND h.last_seen_at > (SELECT ledger.heard_since()) AS host_online
FROM deployments d LEFT JOIN hosts h ON h.name = d.host_name
WHERE d.id = $1
FOR NO KEY UPDATE OF d;

-- name: deployments_page
SELECT * FROM deployments
WHERE ($1::uuid IS NULL OR team_id = $1)
  AND ($2::uuid IS NULL OR id < $2)
  AND ($3::text[] IS NULL OR status = ANY ($3))
  AND ($4::text IS NULL OR host_name = $4)
  AND ($5::text IS NULL OR device_id = $5)
  AND ($6::text IS NULL OR script_name = $6)
  AND ($7::text IS NULL OR strpos(lower(concat_ws(E'\n', name, script_name, parameters, userinterface_name)), lower($7)) > 0)
  AND ($8 OR deleted_at IS NULL)
ORDER BY id DESC
LIMIT $9;

-- name: places
-- What is known of the hosts that a new deployment names: only those that the team may use.
SELECT h.name, h.team_id, h.shared_teams, h.revoked_at,
       ARRAY(SELECT d.device_id FROM devices d WHERE d.host_name = h.name AND d.present ORDER BY d.device_id) AS devices,
       ARRAY(SELECT s.name FROM host_scripts s WHERE s.host_name = h.name ORDER BY s.name) AS scripts
FROM hosts h WHERE h.name = ANY ($1::text[]);

-- name: names_taken
-- The names that are `$2` or `$2_…`, among the team's deployments that are not deleted.
SELECT name FROM deployments
WHERE team_id = $1 AND deleted_at IS NULL AND (name = $2 OR starts_with(name, $2 || '_'));

-- name: insert_deployment
-- No row: somebody took the name meanwhile.
INSERT INTO deployments (
    id, team_id, name, host_name, device_id, script_name, userinterface_name, parameters, cron_expression, timezone,
    start_date, end_date, max_executions, catch_up, catch_up_window_seconds, on_device_busy, max_wait_seconds,
    timeout_seconds, silence_timeout_seconds, counted_from, next_fire_at, next_due_at, created_at, created_by, updated_at
) VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $20, $23, $20
)
ON CONFLICT (team_id, name) WHERE deleted_at IS NULL DO NOTHING
RETURNING *;

-- name: change_deployment
UPDATE deployments SET
    version = version + 1, name = $2, userinterface_name = $3, parameters = $4, cron_expression = $5, timezone = $6,
    start_date = $7, end_date = $8, max_executions = $9, status = $10, status_reason = $11, status_by = $12,
    catch_up = $13, catch_up_window_seconds = $14, on_device_busy = $15, max_wait_seconds = $16, timeout_seconds = $17,
    silence_timeout_seconds = $18, counted_from = $19, next_fire_at = $20, next_due_at = $21, deleted_at = $22,
    updated_at = $23
WHERE id = $1
RETURNING *;

-- name: running
SELECT count(*)::integer FROM deployment_executions WHERE deployment_id = $1 AND status = 'running';

-- name: under_way
-- What may still use up the limit (as libs/ledger: in_flight).
SELECT count(*)::integer FROM deployment_executions
WHERE deployment_id = $1 AND (status IN ('triggered', 'queued', 'running') OR presumed);

-- name: applied
-- Which of these commands their hosts have applied.
SELECT message_id FROM outbox WHERE message_id = ANY ($1::uuid[]) AND applied_at IS NOT NULL;
