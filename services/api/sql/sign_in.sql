-- Sessions of browsers, links that are used once, people of an issuer.

-- name: session_holder
SELECT id, token_id, token_prefix, team_id, role, name, expires_at, ended_at, token_revoked_at, last_used_at, checked_at,
       used_lately
FROM ledger.session_holder($1);

-- name: note_session_use
SELECT ledger.note_session_use($1);

-- name: insert_session
INSERT INTO sessions (id, hash, token_id, team_id, role, name, created_at, expires_at, last_used_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $7);

-- name: end_session
-- No row: it has ended before.
UPDATE sessions SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL RETURNING id;

-- name: drop_old_sessions
SELECT ledger.drop_old_sessions($1);

-- name: insert_login_link
INSERT INTO login_links (id, hash, token_id, team_id, role, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: login_link
SELECT id, token_prefix, expires_at, used_at, checked_at FROM ledger.login_link($1);

-- name: use_login_link
-- No row: somebody else was first.
UPDATE login_links SET used_at = $2 WHERE id = $1 AND used_at IS NULL RETURNING id;

-- name: teams_named
SELECT id, name FROM ledger.teams_named($1);

-- name: team_name
SELECT name FROM teams WHERE id = $1;
