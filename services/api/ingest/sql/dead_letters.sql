-- name: teams_of_hosts
SELECT name, team_id FROM hosts WHERE name = ANY ($1::text[]);

-- name: teams_of_deployments
-- Of those that are on the host which the letter names: a host may be shared, and what is in a trigger is its team's alone.
SELECT d.id, d.host_name, d.team_id
FROM unnest($1::uuid[], $2::text[]) AS f (id, host_name)
JOIN deployments d ON d.id = f.id AND d.host_name = f.host_name;

-- name: insert_dead_letters
INSERT INTO dead_letters (id, at, queue, reason, type, host_name, team_id, execution_id, headers, body, body_size)
SELECT f.id, $1::timestamptz, f.queue, f.reason, f.type, f.host_name, f.team_id, f.execution_id, f.headers::jsonb, f.body,
       f.body_size
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::uuid[], $9::text[], $10::bytea[],
            $11::bigint[])
     AS f (id, queue, reason, type, host_name, team_id, execution_id, headers, body, body_size)
ON CONFLICT (id) DO NOTHING
RETURNING id, team_id;
