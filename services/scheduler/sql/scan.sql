-- name: begin_scans
-- Bounds for this session, $1 and $2 in seconds, and whether it is the one that looks: the lock is its own until it ends.
SELECT pg_try_advisory_lock(hashtextextended('ledger.scan', 0))
FROM (SELECT set_config('statement_timeout', (1000 * $1::double precision)::integer::text, false),
             set_config('idle_session_timeout', (1000 * $2::double precision)::integer::text, false) OFFSET 0) AS bounds;
