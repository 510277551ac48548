-- Who changed what, newest first. Written by every change in its own transaction; nobody can alter it.

-- name: audit_page
-- $1 null: of all teams that may be seen, and of none.
SELECT id, at, team_id, actor, action, resource, address, token_prefix, detail
FROM audit_log
WHERE ($1::uuid IS NULL OR team_id = $1)
  AND ($2::bigint IS NULL OR id < $2)
  AND ($3::text IS NULL OR actor = $3)
  AND ($4::text[] IS NULL OR action = ANY ($4))
  AND ($5::text IS NULL OR resource = $5 OR starts_with(resource, $5 || '/'))
  AND ($6::timestamptz IS NULL OR at >= $6)
  AND ($7::timestamptz IS NULL OR at < $7)
ORDER BY id DESC
LIMIT $8;
