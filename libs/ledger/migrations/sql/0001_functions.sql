-- What must be one statement for everybody, or needs more rights than its caller has.

-- The smallest id of an instant (libs/contracts/ids.py: first_id).
CREATE FUNCTION ledger.first_id(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $$;

-- Monthly partitions of the executions from last month until `until`, at least three months ahead. Answers how many it made.
-- Rows that wait in the DEFAULT partition for a month are moved: otherwise their partition could not be made.
CREATE FUNCTION ledger.ensure_partitions(until timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
DECLARE
    month timestamptz := date_trunc('month', ledger.now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '1 month';
    last timestamptz := greatest(until, ledger.now() + interval '3 months');
    following timestamptz;
    partition text;
    made integer := 0;
BEGIN
    IF last > ledger.now() + interval '2 years' THEN
        RAISE EXCEPTION 'partitions are made at most two years ahead, not until %', last USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Two schedulers may call at once.
    PERFORM pg_advisory_xact_lock(hashtextextended('ledger.ensure_partitions', 0));
    WHILE month <= last LOOP
        following := ((month AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
        partition := 'deployment_executions_' || to_char(month AT TIME ZONE 'UTC', 'YYYYMM');
        IF to_regclass('ledger.' || partition) IS NULL THEN
            EXECUTE format('CREATE TABLE ledger.%I (LIKE ledger.deployment_executions INCLUDING ALL)', partition);
            EXECUTE format(
                'WITH moved AS (DELETE FROM ledger.deployment_executions_rest WHERE id >= %L AND id < %L RETURNING *)
                 INSERT INTO ledger.%I SELECT * FROM moved',
                ledger.first_id(month), ledger.first_id(following), partition
            );
            EXECUTE format(
                'ALTER TABLE ledger.deployment_executions ATTACH PARTITION ledger.%I FOR VALUES FROM (%L) TO (%L)',
                partition, ledger.first_id(month), ledger.first_id(following)
            );
            made := made + 1;
        END IF;
        month := following;
    END LOOP;
    RETURN made;
END
$$;

-- The id of a nominal fire (libs/contracts/ids.py: fire_id), for checks in SQL; tested equal to the golden vectors.
CREATE FUNCTION ledger.fire_id(deployment_id uuid, scheduled_at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT encode(
        set_byte(
            set_byte(raw, 6, (get_byte(raw, 6) & 15) | 128),
            8, (get_byte(raw, 8) & 63) | 128
        ), 'hex')::uuid
    FROM (SELECT floor(extract(epoch FROM scheduled_at) * 1000)::bigint AS ms) t,
         LATERAL (SELECT substring(int8send(ms) FROM 3) || substring(sha256(uuid_send(deployment_id) || int8send(ms)) FROM 1 FOR 10) AS raw) r
$$;

-- A token is looked up before there is a team, so with the owner's rights: only by its prefix, and only what is needed to
-- compare the hash.
CREATE FUNCTION ledger.authenticate(token_prefix text)
RETURNS TABLE (id uuid, hash bytea, team_id uuid, role text, host_name text, name text, expires_at timestamptz,
               revoked_at timestamptz, checked_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
    SELECT t.id, t.hash, t.team_id, t.role, t.host_name, t.name, t.expires_at, t.revoked_at, ledger.now()
    FROM ledger.api_tokens t WHERE t.prefix = token_prefix
$$;

-- The change feed after a cursor, complete: a row is handed out only when no transaction that could commit before it is
-- still open. `team` null: all teams.
CREATE FUNCTION ledger.feed_after(after_xid xid8, after_id bigint, team uuid, most integer)
RETURNS SETOF ledger.change_feed
LANGUAGE sql STABLE
AS $$
    SELECT f.* FROM ledger.change_feed f
    WHERE (f.xid, f.id) > (after_xid, after_id)
      AND f.xid < pg_snapshot_xmin(pg_current_snapshot())
      AND (team IS NULL OR f.team_id = team OR f.team_id IS NULL)
    ORDER BY f.xid, f.id
    LIMIT most
$$;
