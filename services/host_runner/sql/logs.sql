-- name: open_log
INSERT INTO logs (execution_id) VALUES (?) ON CONFLICT (execution_id) DO NOTHING;

-- name: end_log
UPDATE logs SET size = ?, ended_at = ? WHERE execution_id = ?;

-- name: select_open_logs
SELECT execution_id, sent, size FROM logs WHERE state = 'open' ORDER BY execution_id;

-- name: update_sent
UPDATE logs SET sent = ? WHERE execution_id = ?;

-- name: finish_log
UPDATE logs SET state = 'done' WHERE execution_id = ?;

-- name: select_removable_logs
SELECT execution_id FROM logs AS log WHERE log.state = 'done' AND log.ended_at < ?
AND NOT EXISTS (SELECT 1 FROM events WHERE events.execution_id = log.execution_id AND events.confirmed_at IS NULL)
AND NOT EXISTS (SELECT 1 FROM artifact_folders WHERE artifact_folders.execution_id = log.execution_id);

-- name: mark_removed
UPDATE logs SET state = 'removed' WHERE execution_id = ?;
