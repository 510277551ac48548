-- The change feed and the resources that it names, as rigbeat_ingest: of all teams. Each row is filtered by its team before
-- a client sees it.

-- name: feed_head
-- Where reading begins: all that commits from now on comes after it. And what a cursor is compared with: how far the feed
-- was forgotten, and the first transaction that cannot have been yet.
SELECT e.ledger_epoch, pg_snapshot_xmin(s)::text AS xmin, pg_snapshot_xmax(s)::text AS xmax, f.xid::text AS forgotten_xid,
       f.id AS forgotten_id
FROM epoch e, feed_forgotten f, pg_current_snapshot() s;

-- name: feed_after
SELECT xid::text AS xid, id, team_id, kind, resource_id FROM ledger.feed_after($1::text::xid8, $2, $3, $4);

-- name: feed_is_behind
-- Whether there is more, which some open transaction still holds back.
SELECT EXISTS (SELECT FROM change_feed WHERE (xid, id) > ($1::text::xid8, $2::bigint));

-- name: executions_by_id
-- As `execution`, of many.
SELECT e.*, d.name AS deployment_name,
       CASE WHEN e.status = 'queued' THEN array_position(v.pending, e.id) END AS queue_position, f.files,
       ledger.files_are_gone('logs', e.status, e.completed_at) AS log_removed,
       ledger.files_are_gone('artifacts', e.status, e.completed_at) AS artifacts_removed
FROM deployment_executions e
JOIN deployments d ON d.id = e.deployment_id
LEFT JOIN devices v ON v.host_name = e.host_name AND v.device_id = e.device_id
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('name', a.name, 'size', a.size, 'junit', a.junit) ORDER BY a.name) AS files
    FROM artifacts a WHERE a.execution_id = e.id
) f ON true
WHERE e.id = ANY ($1::uuid[]);

-- name: deployments_by_id
SELECT * FROM deployments WHERE id = ANY ($1::uuid[]);
