-- What a schedule in question meets on its devices.

-- name: due_on_devices
-- Active deployments on these devices ($1 hosts, $2 devices, pair by pair), of every team: the caller's transaction has
-- shown that it may see these hosts. The names of others are not given: $3 is the caller's team, null for an operator.
SELECT d.host_name, d.device_id, CASE WHEN $3::uuid IS NULL OR d.team_id = $3 THEN d.name END AS name,
       d.cron_expression, d.timezone, d.start_date, d.end_date
FROM deployments d
JOIN (SELECT DISTINCT * FROM unnest($1::text[], $2::text[]) AS t (host_name, device_id)) t
  ON (d.host_name, d.device_id) = (t.host_name, t.device_id)
WHERE d.status = 'active' AND d.deleted_at IS NULL AND ($4::uuid IS NULL OR d.id <> $4)
ORDER BY d.id
LIMIT $5;

-- name: usual_duration
-- The median of the last 20 runs of a script, in seconds; looked for among the last 2000 executions only.
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_seconds) AS seconds
FROM (
    SELECT duration_seconds FROM (
        SELECT id, script_name, duration_seconds FROM deployment_executions
        WHERE $1::uuid IS NULL OR team_id = $1
        ORDER BY id DESC LIMIT 2000
    ) latest
    WHERE script_name = $2 AND duration_seconds IS NOT NULL
    ORDER BY id DESC LIMIT 20
) runs;
