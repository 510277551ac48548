-- name: clock
SELECT ledger.now();

-- name: late
-- Triggers whose window passed before the broker took them.
SELECT id, execution_id FROM outbox WHERE published_at IS NULL AND not_after <= (SELECT ledger.now())
ORDER BY id LIMIT 500;

-- name: end_late
-- They may have reached the broker without our seeing the confirm, so the ending is presumed, and the host is asked
-- (`void`). The caller holds the executions' locks; somebody else may have sent or ended them meanwhile.
WITH late AS (
    UPDATE outbox SET published_at = ledger.now(), result = 'late'
    WHERE id = ANY ($1::bigint[]) AND published_at IS NULL
    RETURNING execution_id
)
UPDATE deployment_executions e
SET status = 'skipped', reason = 'missed', presumed = true, completed_at = ledger.now(),
    skip_reason = 'Missed: the broker could not be reached until its window had passed'
FROM late WHERE e.id = late.execution_id AND e.status = 'triggered'
RETURNING e.id, e.deployment_id, e.team_id, e.host_name;

-- name: results_wait
-- Whether hosts have said what nobody has read: then they are neither asked again nor given up. An ingest that does not tell
-- holds nobody back: there is no row, or heartbeats are read and this has not been told of for an hour (an older release).
SELECT EXISTS (
    SELECT FROM liveness r
    WHERE r.name = 'results' AND r.at < (SELECT ledger.now()) - make_interval(secs => $1)
      AND NOT EXISTS (SELECT FROM liveness p WHERE p.name = 'presence' AND p.at > r.at + interval '1 hour'));

-- name: republish
-- A broker may lose its data: what was sent, is still open and still in time is sent again while its host is online. The
-- message is the same to the byte, and a host that has it already does nothing. Each time twice as late as the time before: a
-- host whose queue is only long must not be sent ever more.
UPDATE outbox SET published_at = NULL
WHERE id IN (
    SELECT o.id
    FROM deployment_executions e
    JOIN outbox o ON o.execution_id = e.id
    JOIN hosts h ON h.name = e.host_name
    WHERE e.status = 'triggered' AND NOT e.held
      AND o.not_after > (SELECT ledger.now())
      -- A short window is not waited out.
      AND o.published_at + least(greatest(make_interval(secs => $1), o.published_at - o.created_at),
                                 (o.not_after - o.published_at) / 2) < (SELECT ledger.now())
      AND h.last_seen_at > (SELECT ledger.now()) - make_interval(secs => $2)
    ORDER BY o.id LIMIT 500
    FOR UPDATE OF o SKIP LOCKED
)
RETURNING id;

-- name: republish_commands
-- Commands that a host answers, and has not although it is online: the broker may have lost them with its data. The same
-- message again, each time twice as late; to a host that knows it already it says nothing new. But for one: who is asked to
-- say all again begins anew, and answers when all is said, so that one is waited for five times as long.
UPDATE outbox SET published_at = NULL
WHERE id IN (
    SELECT o.id
    FROM outbox o
    JOIN hosts h ON h.name = o.host_name
    WHERE o.applied_at IS NULL
      AND o.type IN ('command.fence.v1', 'command.cancel.v1', 'command.void.v1', 'command.lock.v1', 'command.unlock.v1',
                     'command.resend.v1')
      AND o.published_at + greatest(make_interval(secs => $1 * CASE o.type WHEN 'command.resend.v1' THEN 5 ELSE 1 END),
                                    o.published_at - o.created_at) < (SELECT ledger.now())
      AND h.last_seen_at > (SELECT ledger.now()) - make_interval(secs => $2)
    ORDER BY o.id LIMIT 500
    FOR UPDATE OF o SKIP LOCKED
)
RETURNING id;

-- name: presume_missed
-- Triggers that an offline host did not take in their window; and those of an online one, well after it, of which neither
-- the host nor the dead letters ever spoke: its disk was lost with them.
UPDATE deployment_executions e
SET status = 'skipped', reason = 'missed', presumed = true, completed_at = ledger.now(),
    skip_reason = 'Missed: the host did not report it by the end of its window'
WHERE e.id IN (
    SELECT x.id FROM deployment_executions x
    JOIN hosts h ON h.name = x.host_name
    WHERE x.status = 'triggered' AND NOT x.held
      AND x.not_after + interval '30 seconds' < (SELECT ledger.now())
      AND (h.last_seen_at IS NULL OR h.last_seen_at < (SELECT ledger.now()) - make_interval(secs => $1)
           OR x.not_after + interval '5 minutes' < (SELECT ledger.now()))
      AND EXISTS (SELECT FROM liveness l WHERE l.name = 'presence'
                  AND l.at > (SELECT ledger.now()) - make_interval(secs => $1))
    ORDER BY x.id LIMIT 500 FOR NO KEY UPDATE OF x SKIP LOCKED
)
RETURNING e.id, e.deployment_id, e.team_id, e.host_name;

-- name: presume_lost
-- Runs of which nobody spoke for longer than they could have taken: their host is silent, or what it said was lost with
-- the broker's data (an online one is asked to say it again). Presumed: the host's word still counts.
UPDATE deployment_executions e
SET status = 'failed', reason = 'host_lost', presumed = true, success = false, completed_at = ledger.now(),
    error_message = 'The host went away and did not come back with a result'
FROM hosts eh
WHERE eh.name = e.host_name AND e.id IN (
    SELECT x.id FROM deployment_executions x
    JOIN deployments d ON d.id = x.deployment_id
    WHERE x.status IN ('queued', 'running')
      AND coalesce(x.started_at, x.queued_at, x.decided_at)
          + make_interval(secs => coalesce(x.timeout_seconds, 3600) + $2
                          + CASE WHEN x.status = 'queued' THEN d.max_wait_seconds ELSE 0 END) < (SELECT ledger.now())
      AND EXISTS (SELECT FROM liveness l WHERE l.name = 'presence'
                  AND l.at > (SELECT ledger.now()) - make_interval(secs => $1))
    ORDER BY x.id LIMIT 500 FOR NO KEY UPDATE OF x SKIP LOCKED
)
RETURNING e.id, e.deployment_id, e.team_id, e.host_name,
          coalesce(eh.last_seen_at > ledger.now() - make_interval(secs => $1), false) AS online;

-- name: unsaid
-- Hosts that have finished what the ledger believes to be under way: their devices do something else. What they said of it
-- was lost with the broker's data, or is on its way. They say it again, each at most once in ten times the pause ($1).
SELECT h.name AS host_name, h.team_id, array_agg(x.id) AS executions
FROM deployment_executions x
JOIN hosts h ON h.name = x.host_name AND h.revoked_at IS NULL
JOIN devices v ON v.host_name = x.host_name AND v.device_id = x.device_id
WHERE x.status IN ('queued', 'running')
  AND coalesce(x.started_at, x.queued_at, x.decided_at) + make_interval(secs => $1) < (SELECT ledger.now())
  AND h.last_seen_at > (SELECT ledger.now()) - make_interval(secs => $2)
  AND v.execution_id IS DISTINCT FROM x.id AND x.id <> ALL (coalesce(v.pending, '{}'))
  AND NOT EXISTS (
      SELECT FROM outbox o
      WHERE o.host_name = h.name AND o.type = 'command.resend.v1'
        AND (o.applied_at IS NULL OR o.created_at > (SELECT ledger.now()) - make_interval(secs => 10 * $1)))
GROUP BY h.name ORDER BY h.name LIMIT 100;

-- name: ensure_partitions
SELECT ledger.ensure_partitions(ledger.now());

-- name: forget_outbox
DELETE FROM outbox WHERE id IN (
    SELECT o.id FROM outbox o
    LEFT JOIN deployment_executions e ON e.id = o.execution_id
    WHERE o.published_at < (SELECT ledger.now()) - make_interval(secs => $1)
      AND (e.id IS NULL OR e.status <> 'triggered')
    ORDER BY o.published_at LIMIT 10000
);

-- name: forget_repeated
-- Further back than anybody asks (`rigbeat verify`: 31 days).
DELETE FROM repeated_endings WHERE (execution_id, journal_id, sequence) IN (
    SELECT execution_id, journal_id, sequence FROM repeated_endings
    WHERE at < (SELECT ledger.now()) - make_interval(secs => $1)
    ORDER BY at LIMIT 10000
);

-- name: forget_feed
-- The oldest by id, and of them what is old: no scan of the whole feed.
DELETE FROM change_feed WHERE id <= (
    SELECT max(id) FROM (SELECT id, at FROM change_feed ORDER BY id LIMIT 10000) oldest
    WHERE at < (SELECT ledger.now()) - make_interval(secs => $1)
);
