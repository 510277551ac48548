-- I4: exactly one ending, and one that fits together.

-- name: contradictory_endings
SELECT count(*) OVER ()::integer AS rows, format('%s is %s %s', t.id, t.status, t.fault) AS sentence
FROM (
    SELECT id, status, CASE
        WHEN status IN ('completed', 'failed', 'skipped', 'cancelled') AND completed_at IS NULL THEN 'and has no time of its end'
        WHEN status IN ('triggered', 'queued', 'running') AND completed_at IS NOT NULL THEN 'and has ended'
        WHEN status IN ('triggered', 'queued', 'running') AND presumed THEN 'and presumed to have ended'
        WHEN status IN ('completed', 'cancelled') AND presumed THEN 'and presumed, which only a host says'
        WHEN status = 'triggered' AND started_at IS NOT NULL THEN 'and has started'
        WHEN status IN ('running', 'completed') AND started_at IS NULL THEN 'and never started'
        WHEN status = 'skipped' AND started_at IS NOT NULL THEN 'and has started'
        WHEN status = 'completed' AND (reason IS NOT NULL OR success IS FALSE) THEN 'and says why it failed'
        WHEN status = 'failed' AND reason IS NULL THEN 'without a reason'
        WHEN status = 'failed' AND success THEN 'and a success'
        WHEN status = 'skipped' AND reason IS NULL THEN 'without a reason'
        WHEN status IN ('skipped', 'cancelled') AND success IS NOT NULL THEN 'and has a verdict'
    END AS fault
    FROM deployment_executions
    WHERE id >= $1
) t
WHERE t.fault IS NOT NULL
ORDER BY t.id LIMIT 10;

-- name: presumed
SELECT count(*)::integer FROM deployment_executions WHERE id >= $1 AND presumed;

-- name: repeated_ids
-- Hosts that ended one execution by two facts: told since $1, whenever it ran.
SELECT count(*) OVER ()::integer AS rows,
       format('%s was ended again by %s, as %s: fact %s of journal %s', t.execution_id, t.host_name, t.status, t.sequence,
              t.journal_id) AS sentence
FROM repeated_endings t
WHERE t.at >= $1
ORDER BY t.execution_id, t.sequence LIMIT 10;
