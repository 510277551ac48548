-- name: state
-- How things stand, for the gauges: one row. Each part is served by a partial index or a small table.
SELECT
    (SELECT firing FROM epoch) AS firing,
    (SELECT count(*) FROM outbox WHERE published_at IS NULL) AS outbox_waiting,
    -- The oldest by id is the oldest by time, but for transactions that overlapped.
    coalesce(extract(epoch FROM ledger.now() - (
        SELECT created_at FROM outbox WHERE published_at IS NULL ORDER BY id LIMIT 1
    )), 0)::double precision AS outbox_oldest_seconds,
    (SELECT count(*) FROM dead_letters WHERE state = 'open') AS dead_letters_open,
    open.triggered, open.held, open.queued, open.running,
    hosts.online, hosts.offline, hosts.revoked
FROM (
    SELECT count(*) FILTER (WHERE status = 'triggered' AND NOT held) AS triggered,
           count(*) FILTER (WHERE held) AS held,
           count(*) FILTER (WHERE status = 'queued') AS queued,
           count(*) FILTER (WHERE status = 'running') AS running
    FROM deployment_executions WHERE status IN ('triggered', 'queued', 'running')
) AS open, (
    SELECT count(*) FILTER (WHERE revoked_at IS NULL AND last_seen_at > since.at) AS online,
           count(*) FILTER (WHERE revoked_at IS NULL AND (last_seen_at <= since.at) IS NOT FALSE) AS offline,
           count(*) FILTER (WHERE revoked_at IS NOT NULL) AS revoked
    FROM hosts, (SELECT ledger.heard_since() AS at) AS since
) AS hosts;
