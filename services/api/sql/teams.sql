-- Teams: an operator sees and makes them all, everybody else sees the own one.

-- name: teams_page
SELECT id, name, created_at FROM teams
WHERE ($1::uuid IS NULL OR id = $1) AND ($2::text IS NULL OR name > $2)
ORDER BY name
LIMIT $3;

-- name: insert_team
INSERT INTO teams (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING
RETURNING id, name, created_at;
