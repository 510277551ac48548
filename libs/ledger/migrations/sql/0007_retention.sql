-- As in 0003.
SET LOCAL lock_timeout = '5s';

-- What is kept, and how long. `kept_from`: what is older is removed, or about to be. It never moves back, so what was once
-- said to be gone stays gone, also for a longer policy after it. Only the owner's functions move it.
CREATE TABLE ledger.retention (
    kind text PRIMARY KEY,
    -- Null: for ever.
    keep_days integer,
    -- What no policy goes below: a floor also for whoever has an operator's token.
    least_days integer NOT NULL,
    kept_from timestamptz,
    changed_at timestamptz,
    changed_by text,
    CHECK (keep_days BETWEEN least_days AND 36500)
);
INSERT INTO ledger.retention (kind, keep_days, least_days) VALUES
    ('executions', 400, 14),
    -- Of a deployment's history, what ended before. Hosts ask back over catch-up windows of up to a year.
    ('versions', 400, 400),
    ('logs', 90, 1),
    ('artifacts', 90, 1),
    ('audit', 400, 90),
    -- Revoked or expired since.
    ('tokens', 400, 90),
    -- Closed, or run again.
    ('dead_letters', 90, 7);

-- When the next run begins, and who asked for it. The first one is a week away: time to choose other policies.
CREATE TABLE ledger.retention_next (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    at timestamptz NOT NULL DEFAULT ledger.now() + interval '7 days',
    asked_by text
);
INSERT INTO ledger.retention_next DEFAULT VALUES;

-- What each run removed: {"<kind>": {"count", "bytes"}}, counted in the very transactions that remove.
CREATE TABLE ledger.retention_runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at timestamptz NOT NULL,
    -- When it ended; for one that broke off, when the next one began.
    ended_at timestamptz,
    broke_off boolean NOT NULL DEFAULT false,
    asked_by text,
    removed jsonb NOT NULL DEFAULT '{}'
);

-- How many executions of a deployment are gone that its `execution_count` counts.
CREATE TABLE ledger.executions_removed (
    deployment_id uuid PRIMARY KEY,
    team_id uuid NOT NULL,
    counted bigint NOT NULL
);
ALTER TABLE ledger.executions_removed ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.executions_removed FORCE ROW LEVEL SECURITY;
CREATE POLICY all_teams ON ledger.executions_removed TO rigbeat_ingest, rigbeat_scheduler USING (true) WITH CHECK (true);
CREATE POLICY owner ON ledger.executions_removed TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY own_team ON ledger.executions_removed TO rigbeat_api
    USING (team_id = ledger.current_team() OR ledger.is_operator())
    WITH CHECK (team_id = ledger.current_team() OR ledger.is_operator());

GRANT SELECT ON ledger.retention TO rigbeat_api, rigbeat_ingest, rigbeat_scheduler;
GRANT SELECT ON ledger.executions_removed TO rigbeat_api, rigbeat_ingest, rigbeat_scheduler;
GRANT SELECT ON ledger.retention_next, ledger.retention_runs TO rigbeat_api, rigbeat_ingest;

CREATE INDEX dead_letters_settled ON ledger.dead_letters (at) WHERE state <> 'open';

-- Where each kind would be kept from if a run began now; whole days of UTC. Nothing outlives the execution that it is of,
-- and the history of deployments explains every execution that is there.
CREATE FUNCTION ledger.retention_horizons() RETURNS TABLE (kind text, horizon timestamptz)
LANGUAGE sql STABLE
AS $$
    WITH aged AS (
        SELECT r.kind, greatest(r.kept_from, (date_trunc('day', ledger.now() AT TIME ZONE 'UTC')
                                              - make_interval(days => r.keep_days)) AT TIME ZONE 'UTC') AS horizon
        FROM ledger.retention r
    )
    SELECT a.kind, CASE
        WHEN a.kind IN ('logs', 'artifacts') THEN greatest(a.horizon, e.horizon)
        WHEN a.kind = 'versions' AND e.horizon IS NULL THEN NULL
        WHEN a.kind = 'versions' THEN least(a.horizon, e.horizon)
        ELSE a.horizon
    END
    FROM aged a, aged e WHERE e.kind = 'executions'
$$;

-- Whether a deployment goes on and has a limit: what is only presumed to have ended has a place in it
-- (libs/ledger/sql/decisions.sql: in_flight).
CREATE FUNCTION ledger.goes_on_limited(of uuid) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (SELECT FROM ledger.deployments d
                   WHERE d.id = of AND d.max_executions IS NOT NULL AND d.status IN ('active', 'paused'))
$$;

-- Whether an execution may be removed that ended before `horizon`. One that is open may not; nor one whose ending is only
-- presumed, as long as it has a place in a limit. (In a function of its own that is: one with a subquery is never inlined.)
CREATE FUNCTION ledger.is_over(status text, ended timestamptz, presumed boolean, of uuid, horizon timestamptz)
RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT status NOT IN ('triggered', 'queued', 'running') AND ended < horizon
           AND NOT (presumed AND ledger.goes_on_limited(of))
$$;

-- Whether the log (or the artifacts) of an execution that ended then were removed, or are about to be.
CREATE FUNCTION ledger.files_are_gone(of text, status text, ended timestamptz) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(status NOT IN ('triggered', 'queued', 'running')
                    AND ended < (SELECT r.kept_from FROM ledger.retention r WHERE r.kind = of), false)
$$;

-- What a version is followed by, and so when it ended.
CREATE FUNCTION ledger.ended_versions(of uuid[], horizon timestamptz) RETURNS TABLE (deployment_id uuid, version integer)
LANGUAGE sql STABLE
AS $$
    SELECT s.deployment_id, s.version
    FROM (SELECT v.deployment_id, v.version,
                 lead(v.valid_from) OVER (PARTITION BY v.deployment_id ORDER BY v.version) AS until
          FROM ledger.deployment_versions v
          WHERE of IS NULL OR v.deployment_id = ANY (of)) s
    WHERE s.until < horizon
$$;

-- Whether a token let nobody in since `horizon`, and nothing refers to it.
CREATE FUNCTION ledger.is_spent(token uuid, ended timestamptz, horizon timestamptz) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(ended < horizon, false)
           AND NOT EXISTS (SELECT FROM ledger.enrolments e WHERE e.token_id = token)
           AND NOT EXISTS (SELECT FROM ledger.host_credentials c WHERE c.token_id = token)
$$;

-- A new policy, or null for ever. Answers false for a kind that is not there.
CREATE FUNCTION ledger.set_retention(of text, days integer, by text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
BEGIN
    IF NOT ledger.is_operator() THEN
        RAISE EXCEPTION 'only an operator may say how long things are kept' USING ERRCODE = 'insufficient_privilege';
    END IF;
    UPDATE ledger.retention SET keep_days = days, changed_at = ledger.now(), changed_by = by WHERE kind = of;
    RETURN FOUND;
END
$$;

-- Let the next run begin now.
CREATE FUNCTION ledger.ask_for_retention(by text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
BEGIN
    IF NOT ledger.is_operator() THEN
        RAISE EXCEPTION 'only an operator may let things be removed' USING ERRCODE = 'insufficient_privilege';
    END IF;
    UPDATE ledger.retention_next SET at = ledger.now(), asked_by = by;
END
$$;

-- What a run would remove of the rows if it began now, by the same rules: at most `most` of a kind are counted. Of logs and
-- artifacts the object store knows.
CREATE FUNCTION ledger.retention_plan(most integer) RETURNS TABLE (kind text, count bigint, oldest timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    horizons jsonb := (SELECT jsonb_object_agg(h.kind, h.horizon) FROM ledger.retention_horizons() h);
    executions timestamptz := horizons ->> 'executions';
    audit timestamptz := horizons ->> 'audit';
BEGIN
    IF NOT ledger.is_operator() THEN
        RAISE EXCEPTION 'only an operator may ask what would be removed' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN QUERY
        SELECT 'executions', count(*), min(x.scheduled_at)
        FROM (SELECT e.scheduled_at FROM ledger.deployment_executions e
              WHERE e.id < ledger.first_id(executions)
                AND ledger.is_over(e.status, coalesce(e.completed_at, e.decided_at), e.presumed, e.deployment_id, executions)
              LIMIT most) x
        UNION ALL
        SELECT 'versions', count(*), min(v.valid_from)
        FROM (SELECT w.* FROM ledger.ended_versions(NULL, (horizons ->> 'versions')::timestamptz) w LIMIT most) x
        JOIN ledger.deployment_versions v USING (deployment_id, version)
        UNION ALL
        SELECT 'audit', count(*), min(x.at)
        FROM (SELECT a.at FROM ledger.audit_log a WHERE a.at < audit ORDER BY a.id LIMIT most) x
        UNION ALL
        SELECT 'tokens', count(*), min(x.ended)
        FROM (SELECT least(t.revoked_at, t.expires_at) AS ended FROM ledger.api_tokens t
              WHERE ledger.is_spent(t.id, least(t.revoked_at, t.expires_at), (horizons ->> 'tokens')::timestamptz)
              LIMIT most) x
        UNION ALL
        SELECT 'dead_letters', count(*), min(x.at)
        FROM (SELECT l.at FROM ledger.dead_letters l
              WHERE l.state <> 'open' AND l.at < (horizons ->> 'dead_letters')::timestamptz LIMIT most) x;
END
$$;

REVOKE ALL ON FUNCTION ledger.retention_horizons(), ledger.goes_on_limited(uuid),
    ledger.is_over(text, timestamptz, boolean, uuid, timestamptz),
    ledger.files_are_gone(text, text, timestamptz), ledger.ended_versions(uuid[], timestamptz),
    ledger.is_spent(uuid, timestamptz, timestamptz), ledger.set_retention(text, integer, text),
    ledger.ask_for_retention(text), ledger.retention_plan(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.retention_horizons(), ledger.set_retention(text, integer, text),
    ledger.ask_for_retention(text), ledger.retention_plan(integer) TO rigbeat_api;
-- The reader of the change feed loads executions, too.
GRANT EXECUTE ON FUNCTION ledger.files_are_gone(text, text, timestamptz) TO rigbeat_api, rigbeat_ingest;
