-- name: hosts_with_queues
SELECT name FROM hosts WHERE revoked_at IS NULL ORDER BY name;
