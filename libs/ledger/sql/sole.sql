-- name: hold_alone
-- Bounds for this session, $2 to $4 in seconds, and whether it is the one: the lock $1 is its own until it ends.
SELECT pg_try_advisory_lock(hashtextextended($1, 0))
FROM (SELECT set_config('statement_timeout', (1000 * $2::double precision)::integer::text, false),
             set_config('lock_timeout', (1000 * $3::double precision)::integer::text, false),
             set_config('idle_session_timeout', (1000 * $4::double precision)::integer::text, false) OFFSET 0) AS bounds;
