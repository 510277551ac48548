-- name: lock_hosts
SELECT name, team_id, shared_teams, revoked_at, last_seen_at,
       coalesce(last_seen_at > (SELECT ledger.heard_since()), false) AS is_online,
       EXISTS (SELECT FROM host_credentials c WHERE c.host_name = hosts.name) AS has_user,
       EXISTS (SELECT FROM host_credentials c WHERE c.host_name = hosts.name AND c.renew_requested_at IS NOT NULL) AS renew
FROM hosts WHERE name = ANY ($1::text[]) ORDER BY name
FOR NO KEY UPDATE;

-- name: hosts_seen
UPDATE hosts h SET last_seen_at = $3, clock_offset_seconds = f.clock_offset_seconds
FROM unnest($1::text[], $2::double precision[]) AS f (name, clock_offset_seconds)
WHERE h.name = f.name;

-- name: hosts_gone_silent
-- Who was online by the former horizon and is not by the new one (both of ledger.heard_since()).
SELECT name, team_id, shared_teams FROM hosts
WHERE revoked_at IS NULL AND last_seen_at > $1 AND last_seen_at <= $2;

-- name: heard_since
SELECT ledger.heard_since();

-- name: heard
-- Heartbeats have been read without a break until now.
INSERT INTO liveness (name, at) VALUES ('presence', $1) ON CONFLICT (name) DO UPDATE SET at = excluded.at;

-- name: caught_up
-- What hosts have said until now was taken in, but for a batch or two.
INSERT INTO liveness (name, at) VALUES ('results', ledger.now()) ON CONFLICT (name) DO UPDATE SET at = excluded.at;

-- name: with_users
-- Which of these have a user of their own at the broker: only that one speaks for them.
SELECT host_name FROM host_credentials WHERE host_name = ANY ($1::text[]);
