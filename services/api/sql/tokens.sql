-- Tokens of a team, as people see them: never the hash. Row level security leaves operators' tokens to operators.

-- name: tokens_page
-- $1 null: of all teams that may be seen. Revoked and expired ones only if $4.
SELECT id, name, role, team_id, host_name, prefix, created_at, created_by, expires_at, revoked_at, last_used_at
FROM api_tokens
WHERE ($1::uuid IS NULL OR team_id = $1)
  AND ($2::uuid IS NULL OR id < $2)
  AND ($3::text[] IS NULL OR role = ANY ($3))
  AND ($4 OR (revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ledger.now())))
ORDER BY id DESC
LIMIT $5;

-- name: token
SELECT id, name, role, team_id, host_name, prefix, created_at, created_by, expires_at, revoked_at, last_used_at
FROM api_tokens WHERE id = $1;

-- name: insert_token
INSERT INTO api_tokens (id, team_id, name, role, prefix, hash, created_at, created_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: revoke_token
-- No row: there is none, or it was revoked before.
UPDATE api_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING team_id;
