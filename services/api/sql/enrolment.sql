-- Hosts that come with a one-time secret and leave with credentials of their own.

-- name: enrolment
SELECT host_name, team_id, hash, expires_at, checked_at, spent, revoked FROM ledger.enrolment($1);

-- name: put_enrolment
INSERT INTO enrolments (host_name, prefix, hash, created_at, created_by, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (host_name) DO UPDATE -- by the values themselves: who may not read a hash may not name `excluded.hash`
SET prefix = $2, hash = $3, created_at = $4, created_by = $5, expires_at = $6, token_id = NULL;

-- name: enrolment_gave
-- Only for the secret that was presented: there may be another since.
UPDATE enrolments SET token_id = $2 WHERE host_name = $1 AND prefix = $3 RETURNING host_name;

-- name: drop_enrolment
DELETE FROM enrolments WHERE host_name = $1;

-- name: one_exchange_at_a_time
SELECT pg_advisory_xact_lock(hashtextextended('rigbeat host ' || $1, 0));

-- name: host_for_credentials
SELECT h.name, h.team_id, h.revoked_at FROM hosts h WHERE h.name = $1;

-- name: host_holds
-- Whether these are the credentials that it has; no row: it is revoked.
SELECT coalesce(c.token_id = $2, false) FROM hosts h LEFT JOIN host_credentials c ON c.host_name = h.name
WHERE h.name = $1 AND h.revoked_at IS NULL;

-- name: put_host_credentials
INSERT INTO host_credentials (host_name, broker_user, broker_password_hash, token_id, issued_at)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (host_name) DO UPDATE
SET broker_user = $2, broker_password_hash = $3, token_id = $4, issued_at = $5, renew_requested_at = NULL;

-- name: drop_host_credentials
DELETE FROM host_credentials WHERE host_name = $1 RETURNING host_name;

-- name: ask_to_renew
UPDATE host_credentials SET renew_requested_at = $2 WHERE host_name = $1 RETURNING host_name;

-- name: is_good_token
SELECT EXISTS (SELECT FROM api_tokens WHERE id = $1 AND revoked_at IS NULL
               AND (expires_at IS NULL OR expires_at > ledger.now()));

-- name: is_newest_host_token
-- Where hosts have no users of the broker.
SELECT NOT EXISTS (SELECT FROM api_tokens o JOIN api_tokens t ON t.id = $2
                   WHERE o.host_name = $1 AND o.revoked_at IS NULL AND o.created_at > t.created_at);

-- name: revoke_host_tokens
UPDATE api_tokens SET revoked_at = $3 WHERE host_name = $1 AND id <> $2 AND revoked_at IS NULL RETURNING id;

-- name: all_host_credentials
-- As rigbeat_ingest: of all teams, what the broker should know; null for a host that has none (yet).
SELECT h.name AS host_name, c.broker_password_hash
FROM hosts h LEFT JOIN host_credentials c ON c.host_name = h.name
WHERE h.revoked_at IS NULL ORDER BY h.name;
