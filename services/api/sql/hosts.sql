-- Hosts with their devices, enrolment, scripts.

-- name: hosts_page
-- $2: only these. A device of a host that is away is shown as offline, with its lock. A lock that expired, or that was given
-- back a moment ago, is none, whatever the host said last.
SELECT h.name, h.last_seen_at, h.runner_version, h.clock_offset_seconds, h.max_parallel, h.team_id, h.shared_teams,
       h.boot_id, h.enrolled_at, s.status,
       (SELECT count(*)::integer FROM host_scripts c WHERE c.host_name = h.name) AS scripts,
       coalesce((
           SELECT jsonb_agg(jsonb_build_object(
               'device_id', d.device_id, 'model', d.model, 'labels', d.labels, 'execution_id', d.execution_id,
               'pending', d.pending,
               'status', CASE WHEN s.status <> 'online' THEN 'offline' WHEN l.locked AND d.status = 'free' THEN 'locked'
                              WHEN d.status = 'locked' AND NOT l.locked THEN 'free' ELSE d.status END,
               'lock', CASE WHEN l.locked THEN jsonb_build_object(
                   'owner', d.lock_owner, 'reason', coalesce(d.lock_reason, ''), 'since', d.lock_since,
                   'expires_at', d.lock_expires_at) END
           ) ORDER BY d.device_id)
           FROM devices d,
                LATERAL (SELECT d.lock_owner IS NOT NULL
                                AND (d.lock_expires_at IS NULL OR d.lock_expires_at > ledger.now()) AS locked) l
           WHERE d.host_name = h.name AND d.present
       ), '[]'::jsonb) AS devices
FROM hosts h,
     LATERAL (SELECT CASE WHEN h.revoked_at IS NOT NULL THEN 'revoked'
                          WHEN h.last_seen_at > (SELECT ledger.heard_since()) THEN 'online'
                          ELSE 'offline' END AS status) s
WHERE ($1::text IS NULL OR h.name > $1) AND ($2::text[] IS NULL OR h.name = ANY ($2))
ORDER BY h.name
LIMIT $3;

-- name: device_locked
-- The row of a device that the team may use, held until the transaction ends, with all that a change of its lock needs.
SELECT d.lock_version, d.lock_owner, d.lock_team, d.lock_reason, d.lock_since, d.lock_expires_at, h.team_id, h.shared_teams,
       h.revoked_at IS NOT NULL AS is_revoked,
       h.revoked_at IS NULL AND coalesce(h.last_seen_at > (SELECT ledger.heard_since()), false) AS is_online
FROM devices d
JOIN hosts h ON h.name = d.host_name
WHERE d.host_name = $1 AND d.device_id = $2 AND d.present
FOR NO KEY UPDATE OF d;

-- name: change_lock
UPDATE devices
SET lock_version = $3, lock_owner = $4, lock_reason = $5, lock_since = $6, lock_expires_at = $7, lock_team = $8
WHERE host_name = $1 AND device_id = $2;

-- name: enrol_host
INSERT INTO hosts (name, team_id, enrolled_at, shared_teams) VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO NOTHING RETURNING name;

-- name: share_host
UPDATE hosts SET shared_teams = $2 WHERE name = $1;

-- name: use_of_host
-- Whether the host $1 is revoked; no row for one that the team $2 may not use.
SELECT revoked_at IS NOT NULL AS revoked FROM hosts WHERE name = $1 AND ($2 = team_id OR $2 = ANY (shared_teams));

-- name: strangers_locks
-- Devices that somebody holds whose team may not use the host any more.
SELECT v.device_id FROM devices v JOIN hosts h ON h.name = v.host_name
WHERE v.host_name = $1 AND v.present AND v.lock_owner IS NOT NULL
  AND v.lock_team <> h.team_id AND v.lock_team <> ALL (h.shared_teams)
ORDER BY v.device_id;

-- name: team_exists
SELECT EXISTS (SELECT FROM teams WHERE id = $1);

-- name: insert_host_token
INSERT INTO api_tokens (id, team_id, name, role, host_name, prefix, hash, created_at, created_by)
VALUES ($1, $2, $3, 'host', $4, $5, $6, $7, $8);

-- name: revoke_host
-- Only the owning team's; a host that is only shared is not updatable and gives no row, nor does one that was revoked before.
UPDATE hosts SET revoked_at = $2 WHERE name = $1 AND revoked_at IS NULL RETURNING team_id;

-- name: drop_host_queues
-- Also of one that was revoked before, with its queues kept.
UPDATE hosts SET drop_queues = true WHERE name = $1 AND revoked_at IS NOT NULL;

-- name: queues_to_drop
-- As rigbeat_ingest: of all teams.
SELECT name FROM hosts WHERE drop_queues ORDER BY name;

-- name: queues_dropped
UPDATE hosts SET drop_queues = false WHERE name = $1;

-- name: is_own_host
SELECT team_id = ledger.current_team() OR ledger.is_operator() FROM hosts WHERE name = $1;

-- name: scripts_page
SELECT s.name, s.host_name, s.parameters FROM host_scripts s
WHERE ($1::text IS NULL OR (s.host_name, s.name) > ($1, $2))
  AND ($3::text IS NULL OR s.host_name = $3)
ORDER BY s.host_name, s.name
LIMIT $4;

-- name: script_names
-- Of all hosts that the team may use, each name once.
SELECT DISTINCT name FROM host_scripts ORDER BY name;

-- name: enrolled_hosts
-- For the declaration of queues, as rigbeat_ingest: of all teams.
SELECT name FROM hosts WHERE revoked_at IS NULL ORDER BY name;
