-- I1: one decision for every fire.

-- name: fires_deployments
-- Those that may have had a fire in the period, page by page.
SELECT d.id, d.name, d.next_fire_at
FROM deployments d
WHERE ($1::uuid IS NULL OR d.id > $1)
  AND (d.status = 'active' OR d.updated_at >= $2
       OR EXISTS (SELECT FROM deployment_executions e
                  WHERE e.deployment_id = d.id AND e.id >= $3 AND e.kind IN ('cron', 'catch_up')))
ORDER BY d.id
LIMIT $4;

-- name: fires_versions
SELECT deployment_id, valid_from, counted_from, cron_expression, timezone, start_date, end_date, status, deleted
FROM deployment_versions
WHERE deployment_id = ANY ($1::uuid[])
ORDER BY deployment_id, version;

-- name: fires_backlogs
SELECT deployment_id, from_at, until_at FROM backlogs WHERE deployment_id = ANY ($1::uuid[]);

-- name: fires_rows
-- A row that only the host knew was decided, for all that the ledger knows, at its own time and for no window. The id is
-- worked out in the words of ledger.fire_id: the call of a function for each of 100,000 rows takes five times as long. Each
-- OFFSET 0 keeps its part from being worked out again wherever it is named.
SELECT e.deployment_id,
       array_agg(e.scheduled_at) FILTER (WHERE t.is_named AND NOT t.by_host) AS fires,
       array_agg(e.scheduled_at) FILTER (WHERE t.is_named AND t.by_host) AS told_by_host,
       array_agg(e.scheduled_at) FILTER (WHERE NOT t.is_named) AS misnamed
FROM deployment_executions e,
     LATERAL (SELECT int8send(floor(extract(epoch FROM e.scheduled_at) * 1000)::bigint) AS ms OFFSET 0) m,
     LATERAL (SELECT substring(m.ms FROM 3) || substring(sha256(uuid_send(e.deployment_id) || m.ms) FROM 1 FOR 10) AS raw
              OFFSET 0) r,
     LATERAL (SELECT uuid_send(e.id) = set_byte(
                         set_byte(r.raw, 6, (get_byte(r.raw, 6) & 15) | 128),
                         8, (get_byte(r.raw, 8) & 63) | 128) AS is_named,
                     e.not_after IS NULL AND e.decided_at = e.scheduled_at AS by_host
              OFFSET 0) t
WHERE e.deployment_id = ANY ($1::uuid[]) AND e.id >= $2 AND e.kind IN ('cron', 'catch_up')
GROUP BY e.deployment_id;

-- name: facts_without_execution
-- What hosts told of executions that are not theirs or nobody's, and a person has not dealt with: of the $1 newest open
-- dead letters. The words are those of services/api/ingest/fold.py.
SELECT count(*) OVER ()::integer AS rows,
       format('%s told of execution %s at %s: %s', coalesce(t.host_name, 'A host'), coalesce(t.execution_id::text, '?'), t.at,
              t.reason) AS sentence
FROM (
    SELECT id, at, reason, host_name, execution_id FROM dead_letters WHERE state = 'open' ORDER BY id DESC LIMIT $1
) t
WHERE t.reason LIKE 'unknown deployment:%' OR t.reason LIKE 'wrong deployment:%' OR t.reason LIKE 'wrong host:%'
ORDER BY t.id DESC LIMIT 10;
