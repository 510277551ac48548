-- Who asks, and in whose name a transaction runs.

-- name: authenticate
SELECT id, hash, team_id, role, host_name, name, expires_at, revoked_at, checked_at FROM ledger.authenticate($1);

-- name: speak_for
SELECT set_config('rigbeat.team_id', $1, true), set_config('rigbeat.operator', $2, true);

-- name: alive
SELECT ledger.now() AS now;
