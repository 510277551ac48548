-- Expands only: code of 0.1.0 runs on with it.

-- Catch-up `all`: a fire that waits for the one before it has its row, `triggered` and held. It is released (sent to its
-- host, `not_after` counted from then) when nothing else of its deployment is open.
ALTER TABLE ledger.deployment_executions ADD COLUMN held boolean NOT NULL DEFAULT false;
ALTER TABLE ledger.deployment_executions ADD CONSTRAINT held_is_triggered CHECK (NOT held OR status = 'triggered');
CREATE INDEX deployment_executions_held ON ledger.deployment_executions (deployment_id, id) WHERE held;

-- The files that a script left behind. No foreign key: executions leave by whole partitions.
CREATE TABLE ledger.artifacts (
    execution_id uuid NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    team_id uuid NOT NULL,
    size bigint NOT NULL CHECK (size >= 0),
    media_type text NOT NULL,
    -- The sums of a JUnit report: {"tests", "failures", "errors", "skipped"}; null for any other file.
    junit jsonb,
    at timestamptz NOT NULL DEFAULT ledger.now(),
    PRIMARY KEY (execution_id, name)
);
ALTER TABLE ledger.artifacts ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.artifacts FORCE ROW LEVEL SECURITY;
CREATE POLICY all_teams ON ledger.artifacts TO rigbeat_ingest, rigbeat_scheduler USING (true) WITH CHECK (true);
CREATE POLICY owner ON ledger.artifacts TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY own_team ON ledger.artifacts TO rigbeat_api
    USING (team_id = ledger.current_team() OR ledger.is_operator())
    WITH CHECK (team_id = ledger.current_team() OR ledger.is_operator());
GRANT SELECT, INSERT ON ledger.artifacts TO rigbeat_api;
GRANT UPDATE (size, media_type, junit, at) ON ledger.artifacts TO rigbeat_api;
GRANT SELECT ON ledger.artifacts TO rigbeat_ingest;

-- A dead letter that a person sends again becomes a run of its own.
ALTER TABLE ledger.dead_letters ADD COLUMN requeued_at timestamptz;
ALTER TABLE ledger.dead_letters ADD COLUMN requeued_by text;
ALTER TABLE ledger.dead_letters ADD COLUMN requeued_as uuid;
GRANT UPDATE (state, requeued_at, requeued_by, requeued_as) ON ledger.dead_letters TO rigbeat_api;

-- What was never sent is ended without asking a host: by a pause, a stop, a cancel.
GRANT UPDATE (held, status, reason, skip_reason, error_message, completed_at) ON ledger.deployment_executions TO rigbeat_api;
-- Of what was sent, only its host (by the ingest) says how it ended; a grant on a column cannot tell the two apart.
CREATE FUNCTION ledger.refuse_ending() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'execution % was sent to its host, which alone ends it', OLD.id USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER only_held_are_ended BEFORE UPDATE ON ledger.deployment_executions FOR EACH ROW
    WHEN (current_user = 'rigbeat_api' AND NOT OLD.held
          AND (OLD.status, OLD.reason, OLD.skip_reason, OLD.error_message, OLD.completed_at, NEW.held)
              IS DISTINCT FROM (NEW.status, NEW.reason, NEW.skip_reason, NEW.error_message, NEW.completed_at, false))
    EXECUTE FUNCTION ledger.refuse_ending();
REVOKE ALL ON FUNCTION ledger.refuse_ending() FROM PUBLIC;

GRANT UPDATE (held, not_after) ON ledger.deployment_executions TO rigbeat_scheduler;
GRANT UPDATE (held) ON ledger.deployment_executions TO rigbeat_ingest;

-- After a restore firing is held until the hosts have sent again what they know (`rigbeat recover`). The new epoch counts
-- minutes since 1970 and not restores: the epoch in a backup is older than hosts may know, and one that they know already
-- would not be new to them. Answers the epoch, and no row when it is held already.
ALTER TABLE ledger.epoch ADD COLUMN held_at timestamptz;
CREATE FUNCTION ledger.hold_firing() RETURNS TABLE (new_epoch integer, since timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
BEGIN
    IF NOT ledger.is_operator() THEN
        RAISE EXCEPTION 'only an operator may hold firing' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN QUERY
        UPDATE ledger.epoch
        SET ledger_epoch = greatest(ledger_epoch + 1, floor(extract(epoch FROM ledger.now()) / 60)::integer),
            firing = false, held_at = ledger.now()
        WHERE firing OR held_at IS NULL
        RETURNING ledger_epoch, held_at;
END
$$;

-- Ends it; answers whether it was held in this epoch.
CREATE FUNCTION ledger.fire_on(held_epoch integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
BEGIN
    IF NOT ledger.is_operator() THEN
        RAISE EXCEPTION 'only an operator may let firing go on' USING ERRCODE = 'insufficient_privilege';
    END IF;
    UPDATE ledger.epoch SET firing = true, held_at = NULL WHERE NOT firing AND ledger_epoch = held_epoch;
    RETURN FOUND;
END
$$;
REVOKE ALL ON FUNCTION ledger.hold_firing(), ledger.fire_on(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.hold_firing(), ledger.fire_on(integer) TO rigbeat_api;

-- A host whose last word is later than this is online. Silence is told from our own deafness: while nobody reads
-- heartbeats, what was known last goes on. Everybody who asks "is it online?" asks this.
CREATE FUNCTION ledger.heard_since() RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL SAFE
AS $$
    SELECT least(ledger.now(), (SELECT at FROM ledger.liveness WHERE name = 'presence')) - interval '30 seconds'
$$;

-- How far the change feed was forgotten: whoever read less far cannot be told what he missed. Kept by a trigger, so
-- that it is right whoever deletes.
CREATE TABLE ledger.feed_forgotten (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    xid xid8 NOT NULL DEFAULT '0',
    id bigint NOT NULL DEFAULT 0
);
INSERT INTO ledger.feed_forgotten DEFAULT VALUES;

CREATE FUNCTION ledger.remember_forgotten() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
BEGIN
    UPDATE ledger.feed_forgotten f SET xid = last.xid, id = last.id
    FROM (SELECT g.xid, g.id FROM gone g ORDER BY g.xid DESC, g.id DESC LIMIT 1) last
    WHERE (last.xid, last.id) > (f.xid, f.id);
    RETURN NULL;
END
$$;
CREATE TRIGGER forgotten AFTER DELETE ON ledger.change_feed
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION ledger.remember_forgotten();

REVOKE ALL ON FUNCTION ledger.heard_since(), ledger.remember_forgotten() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.heard_since() TO rigbeat_api, rigbeat_ingest, rigbeat_scheduler;
GRANT SELECT ON ledger.feed_forgotten TO rigbeat_ingest;

-- The schedulers count what is open for whoever watches.
CREATE INDEX dead_letters_open ON ledger.dead_letters (id) WHERE state = 'open';
GRANT SELECT (id, state) ON ledger.dead_letters TO rigbeat_scheduler;
