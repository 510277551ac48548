-- After a restore: hold firing, have every host say again what it knows, fire on.

-- name: epoch
SELECT ledger_epoch, firing, held_at FROM epoch;

-- name: hold_firing
-- No row: it is held already.
SELECT new_epoch, since FROM ledger.hold_firing();

-- name: fire_on
SELECT ledger.fire_on($1);

-- name: recovering_hosts
-- Those that may still have something to say. A restored ledger has old heartbeats: `online` is true from the next one on.
SELECT name, team_id, coalesce(last_seen_at > ledger.now() - interval '30 seconds', false) AS online
FROM hosts WHERE revoked_at IS NULL ORDER BY name;

-- name: answered_commands
SELECT message_id FROM outbox WHERE message_id = ANY ($1::uuid[]) AND applied_at IS NOT NULL;

-- name: feed_reset
-- For every team: what they have loaded may be wrong.
INSERT INTO change_feed (team_id, kind, resource_id) VALUES (NULL, 'reset', $1);
