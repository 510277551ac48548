-- I2: one running and one queued execution of a deployment at most. Only checked, never enforced here.

-- name: two_at_once
-- Now; the newest of them must have been there for a while, since its predecessor's end may be on its way.
SELECT count(*) OVER ()::integer AS rows,
       format('%s (%s) has %s executions %s', d.name, d.id, t.number, t.status) AS sentence
FROM (
    SELECT deployment_id, status, count(*) AS number
    FROM deployment_executions
    WHERE status IN ('queued', 'running')
    GROUP BY deployment_id, status
    HAVING count(*) > 1
       AND max(coalesce(CASE status WHEN 'running' THEN started_at ELSE queued_at END, decided_at)) < $1
) t
JOIN deployments d ON d.id = t.deployment_id
ORDER BY d.id LIMIT 10;

-- name: overlapping_runs
-- Over history. A presumed ending has no time of its host's; and times with and without a known offset do not compare.
SELECT count(*) OVER ()::integer AS rows,
       format('%s (%s): %s started at %s, before the run before it had ended', d.name, d.id, t.id, t.started_at) AS sentence
FROM (
    SELECT id, deployment_id, started_at,
           max(CASE WHEN status = 'running' THEN 'infinity' ELSE completed_at END) OVER (
               PARTITION BY deployment_id, received_at IS NULL ORDER BY started_at, id
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS former_end
    FROM deployment_executions
    WHERE id >= $1 AND started_at IS NOT NULL AND NOT presumed
) t
JOIN deployments d ON d.id = t.deployment_id
WHERE t.started_at < $2 AND t.former_end > t.started_at + make_interval(secs => $3)
ORDER BY t.id LIMIT 10;

-- name: overlapping_waits
SELECT count(*) OVER ()::integer AS rows,
       format('%s (%s): %s was queued at %s, while another one waited', d.name, d.id, t.id, t.queued_at) AS sentence
FROM (
    SELECT id, deployment_id, queued_at,
           max(CASE WHEN status = 'queued' THEN 'infinity' ELSE least(admitted_at, started_at, completed_at) END) OVER (
               PARTITION BY deployment_id, received_at IS NULL ORDER BY queued_at, id
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS former_end
    FROM deployment_executions
    WHERE id >= $1 AND queued_at IS NOT NULL AND NOT presumed
) t
JOIN deployments d ON d.id = t.deployment_id
WHERE t.queued_at < $2 AND t.former_end > t.queued_at + make_interval(secs => $3)
ORDER BY t.id LIMIT 10;
