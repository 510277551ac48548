-- name: shards
-- A host's messages leave in order because one scheduler at a time drains its shard. The lock goes with the transaction,
-- and so with a killed scheduler.
SELECT shard FROM generate_series(0, 15) AS shard WHERE pg_try_advisory_xact_lock(1381122882, shard);

-- name: unpublished
-- What is late already is not sent: `end_late` ends it.
SELECT id, message_id, type, exchange, host_name, execution_id, body, attempts,
       extract(epoch FROM not_after - (SELECT ledger.now()))::double precision AS seconds_left
FROM outbox
WHERE published_at IS NULL
  AND hashtext(host_name) & 15 = ANY ($1::integer[])
  AND (not_after IS NULL OR not_after > (SELECT ledger.now()))
ORDER BY id
LIMIT $2;

-- name: lock_executions
-- In id order, as the ingest locks them: whoever answers while we wait for confirms must not meet us in a circle. The
-- executions before the outbox, for the same reason.
SELECT FROM deployment_executions WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE;

-- name: mark_published
WITH marked AS (
    UPDATE outbox SET published_at = ledger.now(), attempts = attempts + 1
    WHERE id = ANY ($1::bigint[])
    RETURNING execution_id, published_at
)
UPDATE deployment_executions e SET published_at = m.published_at
FROM marked m WHERE e.id = m.execution_id AND e.published_at IS NULL;

-- name: mark_attempt
UPDATE outbox SET attempts = attempts + 1 WHERE id = ANY ($1::bigint[]);

-- name: any_unpublished
SELECT EXISTS (
    SELECT FROM outbox WHERE published_at IS NULL AND (not_after IS NULL OR not_after > (SELECT ledger.now()))
);
