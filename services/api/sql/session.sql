-- Who asks, and in whose name a transaction runs.

-- name: authenticate
SELECT id, prefix, hash, team_id, role, host_name, name, expires_at, revoked_at, checked_at, used_lately
FROM ledger.token_holder($1);

-- name: note_token_use
SELECT ledger.note_token_use($1);

-- name: speak_for
SELECT set_config('rigbeat.team_id', $1, true), set_config('rigbeat.operator', $2, true),
       set_config('rigbeat.address', $3, true), set_config('rigbeat.token_prefix', $4, true);

-- name: speak_for_all
SELECT set_config('rigbeat.team_id', '', true), set_config('rigbeat.operator', 'on', true);

-- name: alive
SELECT ledger.now() AS now;
