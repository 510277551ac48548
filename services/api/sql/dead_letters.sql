-- Dead letters, as people see and settle them. An operator sees those of no team too.

-- name: open_dead_letters
SELECT count(*)::integer FROM dead_letters WHERE state = 'open';

-- name: dead_letters_page
-- Of a team, or with $1 null all that may be seen. The bodies are left where they are.
SELECT id, at, queue, reason, type, host_name, team_id, execution_id, state, body_size, requeued_at, requeued_by, requeued_as,
       settled_at, settled_by, settled_reason
FROM dead_letters
WHERE ($1::uuid IS NULL OR team_id = $1)
  AND ($2::uuid IS NULL OR id < $2)
  AND ($3::text[] IS NULL OR state = ANY ($3))
  AND ($4::text IS NULL OR host_name = $4)
  AND ($5::text IS NULL OR type = $5)
ORDER BY id DESC
LIMIT $6;

-- name: dead_letter
SELECT * FROM dead_letters WHERE id = $1;

-- name: dead_letter_locked
SELECT * FROM dead_letters WHERE id = $1 FOR NO KEY UPDATE;

-- name: requeue_dead_letter
UPDATE dead_letters SET state = 'requeued', requeued_at = $2, requeued_by = $3, requeued_as = $4
WHERE id = $1
RETURNING *;

-- name: settle_dead_letter
-- Closed or dropped: the row stays.
UPDATE dead_letters SET state = $2, settled_at = $3, settled_by = $4, settled_reason = $5 WHERE id = $1 RETURNING *;
