-- name: insert_event
INSERT INTO events (sequence, message_id, type, routing_key, execution_id, body, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: select_unconfirmed
SELECT sequence, message_id, type, routing_key, execution_id, body, created_at FROM events
WHERE confirmed_at IS NULL ORDER BY sequence LIMIT ?;

-- name: count_unconfirmed
SELECT count(*) FROM events WHERE confirmed_at IS NULL;

-- name: confirm_event
UPDATE events SET confirmed_at = ? WHERE sequence = ?;

-- name: unconfirm_from
UPDATE events SET confirmed_at = NULL WHERE sequence >= ?;
