-- The files that scripts left behind.

-- name: artifact_others
-- How much an execution has besides the file of this name.
SELECT count(*)::int AS files, coalesce(sum(size), 0)::bigint AS size
FROM artifacts WHERE execution_id = $1 AND name <> $2;

-- name: put_artifact
INSERT INTO artifacts (execution_id, name, team_id, size, media_type, junit)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (execution_id, name) DO UPDATE
SET size = EXCLUDED.size, media_type = EXCLUDED.media_type, junit = EXCLUDED.junit, at = ledger.now();

-- name: artifacts
SELECT name, size FROM artifacts WHERE execution_id = $1 ORDER BY name;

-- name: artifact
SELECT size, media_type FROM artifacts WHERE execution_id = $1 AND name = $2;

-- name: execution_exists
SELECT 1 FROM deployment_executions WHERE id = $1;
