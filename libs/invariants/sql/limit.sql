-- I5: the limit is exact.

-- name: wrong_counts
-- The count is that of the rows, whoever folded them, and of those that the retention removed. Of the deployments ($3 < id <= $4) that changed or ran since $1, those
-- with a limit first, then those that are quickly counted, until $2 rows would have to be read.
SELECT count(*) OVER ()::integer AS rows,
       format('%s (%s) counts %s executions, its rows are %s', t.name, t.id, t.execution_count, t.counted) AS sentence
FROM (
    SELECT d.id, d.name, d.execution_count, (
        SELECT count(*) FROM deployment_executions e
        WHERE e.deployment_id = d.id AND NOT e.presumed
          AND (e.status IN ('completed', 'failed') OR (e.status = 'cancelled' AND e.started_at IS NOT NULL))
    ) + coalesce((SELECT r.counted FROM executions_removed r WHERE r.deployment_id = d.id), 0) AS counted
    FROM (
        SELECT id, name, execution_count,
               sum(execution_count) OVER (ORDER BY max_executions IS NULL, execution_count, id) AS work
        FROM deployments
        WHERE (updated_at >= $1 OR last_executed_at >= $1)
          AND ($3::uuid IS NULL OR id > $3) AND ($4::uuid IS NULL OR id <= $4)
    ) d
    WHERE d.work <= $2
) t
WHERE t.execution_count <> t.counted
ORDER BY t.id LIMIT 10;

-- name: over_limit
-- Attempts: what counts and what runs.
SELECT count(*) OVER ()::integer AS rows,
       format('%s (%s) had %s attempts, its limit is %s', t.name, t.id, t.attempts, t.max_executions) AS sentence
FROM (
    SELECT d.id, d.name, d.max_executions, d.execution_count + (
        SELECT count(*) FROM deployment_executions e
        WHERE e.deployment_id = d.id AND e.status = 'running'
    ) AS attempts
    FROM (
        SELECT * FROM deployments
        WHERE max_executions IS NOT NULL AND (execution_count > 0 OR status IN ('active', 'paused'))
        ORDER BY id DESC LIMIT $1
    ) d
) t
WHERE t.attempts > t.max_executions
ORDER BY t.id LIMIT 10;
