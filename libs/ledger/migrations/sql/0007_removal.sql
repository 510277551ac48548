-- The removing itself. The role that calls these has no right to delete anything: it can only let go what is older than
-- the policies, in small steps, and each step is counted in its run. A step answers how many it removed and where the next
-- one goes on; `last` null: there is no more.

-- What a run removed, added to what it removed before. Without an open run nothing may be removed.
CREATE FUNCTION ledger.count_removed(run bigint, of text, number bigint, bytes bigint) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF number = 0 THEN
        RETURN;
    END IF;
    UPDATE ledger.retention_runs r
    SET removed = r.removed || jsonb_build_object(of, jsonb_build_object(
        'count', coalesce((r.removed -> of ->> 'count')::bigint, 0) + number,
        'bytes', coalesce((r.removed -> of ->> 'bytes')::bigint, 0) + count_removed.bytes))
    WHERE r.id = run AND r.ended_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'run % of the retention is not open', run USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$;

-- Ends a run, and says in the audit what it removed. One that broke off is made up for soon.
CREATE FUNCTION ledger.end_retention(run bigint, as_broken_off boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
DECLARE
    ended ledger.retention_runs;
BEGIN
    UPDATE ledger.retention_runs SET ended_at = ledger.now(), broke_off = as_broken_off
    WHERE id = run AND ended_at IS NULL RETURNING * INTO ended;
    IF FOUND AND as_broken_off THEN
        UPDATE ledger.retention_next SET at = least(at, ledger.now() + interval '10 minutes');
    END IF;
    IF ended.removed <> '{}' THEN
        INSERT INTO ledger.audit_log (at, actor, action, resource, detail)
        SELECT ended.ended_at, coalesce(ended.asked_by, 'rigbeat'), 'remove', 'retention/' || run,
               jsonb_build_object('removed', ended.removed, 'broke_off', as_broken_off, 'kept_from',
                                  (SELECT jsonb_object_agg(r.kind, r.kept_from) FROM ledger.retention r
                                   WHERE r.kept_from IS NOT NULL));
    END IF;
END
$$;

-- Begins a run if one is due, or one was left open by a process that is gone (the caller holds the lock that there is but
-- one). From now on everything older is taken as gone, whatever becomes of the run. No row: none is due.
CREATE FUNCTION ledger.begin_retention() RETURNS TABLE (run bigint, asked_by text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    who text;
BEGIN
    SELECT n.asked_by INTO who FROM ledger.retention_next n
    WHERE n.at <= ledger.now() OR EXISTS (SELECT FROM ledger.retention_runs r WHERE r.ended_at IS NULL) FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM ledger.end_retention(r.id, true) FROM ledger.retention_runs r WHERE r.ended_at IS NULL ORDER BY r.id;
    UPDATE ledger.retention_next SET at = ledger.now() + interval '1 day', asked_by = NULL;
    UPDATE ledger.retention r SET kept_from = h.horizon
    FROM ledger.retention_horizons() h WHERE h.kind = r.kind AND h.horizon IS DISTINCT FROM r.kept_from;
    DELETE FROM ledger.retention_runs r
    WHERE r.ended_at < (SELECT a.kept_from FROM ledger.retention a WHERE a.kind = 'audit');
    RETURN QUERY
        INSERT INTO ledger.retention_runs AS r (started_at, asked_by) VALUES (ledger.now(), who)
        RETURNING r.id, r.asked_by;
END
$$;

CREATE FUNCTION ledger.remove_executions(run bigint, after uuid, most integer, OUT removed integer, OUT last uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
DECLARE
    horizon timestamptz := (SELECT kept_from FROM ledger.retention WHERE kind = 'executions');
    looked_at uuid[];
BEGIN
    looked_at := ARRAY(SELECT e.id FROM ledger.deployment_executions e
                       WHERE e.id > after AND e.id < ledger.first_id(horizon) ORDER BY e.id LIMIT least(most, 10000));
    last := looked_at[cardinality(looked_at)];
    WITH gone AS (
        DELETE FROM ledger.deployment_executions e WHERE e.id = ANY (looked_at) AND ledger.is_over(
            e.status, coalesce(e.completed_at, e.decided_at), e.presumed, e.deployment_id, horizon)
        RETURNING e.id, e.deployment_id, e.team_id, e.script_result_id,
                  NOT e.presumed AND (e.status IN ('completed', 'failed')
                                      OR (e.status = 'cancelled' AND e.started_at IS NOT NULL)) AS counts
    ), their_results AS (
        DELETE FROM ledger.script_results s USING gone
        WHERE s.id = gone.script_result_id AND s.execution_id = gone.id
    ), counted AS (
        INSERT INTO ledger.executions_removed AS c (deployment_id, team_id, counted)
        SELECT deployment_id, team_id, count(*) FROM gone WHERE counts GROUP BY deployment_id, team_id
        ON CONFLICT (deployment_id) DO UPDATE SET counted = c.counted + excluded.counted
    )
    SELECT count(*) INTO removed FROM gone;
    PERFORM ledger.count_removed(run, 'executions', removed, 0);
END
$$;

CREATE FUNCTION ledger.remove_versions(run bigint, after uuid, most integer, OUT removed integer, OUT last uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
DECLARE
    horizon timestamptz := (SELECT kept_from FROM ledger.retention WHERE kind = 'versions');
    looked_at uuid[] := ARRAY(SELECT d.id FROM ledger.deployments d WHERE d.id > after ORDER BY d.id LIMIT least(most, 10000));
BEGIN
    last := looked_at[cardinality(looked_at)];
    DELETE FROM ledger.deployment_versions v USING ledger.ended_versions(looked_at, horizon) o
    WHERE v.deployment_id = o.deployment_id AND v.version = o.version;
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM ledger.count_removed(run, 'versions', removed, 0);
END
$$;

-- The rows of files, when the files are gone. They are counted with the files.
CREATE FUNCTION ledger.remove_artifact_rows(after uuid, most integer, OUT removed integer, OUT last uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
DECLARE
    horizon timestamptz := (SELECT kept_from FROM ledger.retention WHERE kind = 'artifacts');
    looked_at uuid[];
BEGIN
    looked_at := ARRAY(SELECT a.execution_id FROM ledger.artifacts a
                       WHERE a.execution_id > after AND a.execution_id < ledger.first_id(horizon)
                       ORDER BY a.execution_id LIMIT least(most, 10000));
    last := looked_at[cardinality(looked_at)];
    DELETE FROM ledger.artifacts a
    WHERE a.execution_id = ANY (looked_at)
      AND NOT EXISTS (SELECT FROM ledger.deployment_executions e
                      WHERE e.id = a.execution_id
                        AND NOT ledger.files_are_gone('artifacts', e.status, coalesce(e.completed_at, e.decided_at)));
    GET DIAGNOSTICS removed = ROW_COUNT;
END
$$;

CREATE FUNCTION ledger.remove_audit(run bigint, after bigint, most integer, OUT removed integer, OUT last bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
DECLARE
    horizon timestamptz := (SELECT kept_from FROM ledger.retention WHERE kind = 'audit');
    looked_at bigint[];
BEGIN
    looked_at := ARRAY(SELECT x.id FROM (SELECT a.id, a.at FROM ledger.audit_log a WHERE a.id > after
                                         ORDER BY a.id LIMIT least(most, 10000)) x WHERE x.at < horizon ORDER BY x.id);
    last := looked_at[cardinality(looked_at)];
    DELETE FROM ledger.audit_log a WHERE a.id = ANY (looked_at);
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM ledger.count_removed(run, 'audit', removed, 0);
END
$$;

CREATE FUNCTION ledger.remove_tokens(run bigint, after uuid, most integer, OUT removed integer, OUT last uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
DECLARE
    horizon timestamptz := (SELECT kept_from FROM ledger.retention WHERE kind = 'tokens');
    looked_at uuid[] := ARRAY(SELECT t.id FROM ledger.api_tokens t WHERE t.id > after ORDER BY t.id LIMIT least(most, 10000));
BEGIN
    last := looked_at[cardinality(looked_at)];
    DELETE FROM ledger.api_tokens t WHERE t.id = ANY (looked_at) AND ledger.is_spent(t.id, least(t.revoked_at, t.expires_at), horizon);
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM ledger.count_removed(run, 'tokens', removed, 0);
END
$$;

CREATE FUNCTION ledger.remove_dead_letters(run bigint, after timestamptz, most integer,
                                           OUT removed integer, OUT last timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
DECLARE
    horizon timestamptz := (SELECT kept_from FROM ledger.retention WHERE kind = 'dead_letters');
BEGIN
    -- `>=`: letters of one instant may be in two steps; those of the former one are gone.
    WITH gone AS (
        DELETE FROM ledger.dead_letters WHERE id IN (
            SELECT l.id FROM ledger.dead_letters l WHERE l.state <> 'open' AND l.at >= after AND l.at < horizon
            ORDER BY l.at LIMIT least(most, 10000))
          AND state <> 'open'
        RETURNING at
    )
    SELECT count(*), max(at) INTO removed, last FROM gone;
    PERFORM ledger.count_removed(run, 'dead_letters', removed, 0);
END
$$;

-- Files that were removed from the object store: logs or artifacts.
CREATE FUNCTION ledger.note_removed_files(run bigint, of text, files bigint, bytes bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
BEGIN
    IF of NOT IN ('logs', 'artifacts') OR files < 0 OR bytes < 0 THEN
        RAISE EXCEPTION 'only files are counted here' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM ledger.count_removed(run, of, files, bytes);
END
$$;

-- Drops one month of executions that is over and empty, and answers its name; null: there is none. Whoever holds the table
-- for longer than a blink wins: raises lock_not_available then. Not `DETACH … CONCURRENTLY`: PostgreSQL refuses it beside a
-- DEFAULT partition.
CREATE FUNCTION ledger.drop_empty_month() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
DECLARE
    kept_from timestamp := (SELECT r.kept_from FROM ledger.retention r WHERE kind = 'executions') AT TIME ZONE 'UTC';
    -- ledger.ensure_partitions makes those from last month on.
    kept_anyhow timestamp := date_trunc('month', ledger.now() AT TIME ZONE 'UTC') - interval '1 month';
    partition text;
    month timestamp;
    began timestamptz;
    first uuid;
BEGIN
    FOR partition IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'ledger.deployment_executions'::regclass AND c.relname ~ '^deployment_executions_[0-9]{6}$'
        ORDER BY c.relname
    LOOP
        month := to_date(right(partition, 6), 'YYYYMM');
        EXIT WHEN kept_from IS NULL OR month + interval '1 month' > kept_from OR month >= kept_anyhow;
        began := clock_timestamp();
        EXECUTE format('SELECT id FROM ledger.%I ORDER BY id LIMIT 1', partition) INTO first;
        CONTINUE WHEN first IS NOT NULL;
        -- It was not cleaned up since its rows went: the same look under the lock would keep everybody waiting.
        CONTINUE WHEN clock_timestamp() - began > interval '100 milliseconds';
        PERFORM set_config('lock_timeout', '50ms', true);
        LOCK TABLE ONLY ledger.deployment_executions IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('SELECT id FROM ledger.%I ORDER BY id LIMIT 1', partition) INTO first;
        IF first IS NULL THEN
            EXECUTE format('DROP TABLE ledger.%I', partition);
            RETURN partition;
        END IF;
        -- Somebody was quicker. The lock goes with the transaction.
        RETURN NULL;
    END LOOP;
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION ledger.count_removed(bigint, text, bigint, bigint), ledger.end_retention(bigint, boolean),
    ledger.begin_retention(), ledger.remove_executions(bigint, uuid, integer), ledger.remove_versions(bigint, uuid, integer),
    ledger.remove_artifact_rows(uuid, integer), ledger.remove_audit(bigint, bigint, integer),
    ledger.remove_tokens(bigint, uuid, integer), ledger.remove_dead_letters(bigint, timestamptz, integer),
    ledger.note_removed_files(bigint, text, bigint, bigint), ledger.drop_empty_month() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.end_retention(bigint, boolean), ledger.begin_retention(),
    ledger.remove_executions(bigint, uuid, integer), ledger.remove_versions(bigint, uuid, integer),
    ledger.remove_artifact_rows(uuid, integer), ledger.remove_audit(bigint, bigint, integer),
    ledger.remove_tokens(bigint, uuid, integer), ledger.remove_dead_letters(bigint, timestamptz, integer),
    ledger.note_removed_files(bigint, text, bigint, bigint), ledger.drop_empty_month() TO rigbeat_ingest;
