-- Who may do what. None of the three is superuser or owner; none has a grant on a partition. Row level security is forced,
-- so it holds for the owner too, who gets just the policies that his SECURITY DEFINER functions need.

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['rigbeat_api', 'rigbeat_ingest', 'rigbeat_scheduler'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            -- Roles belong to the whole server: another database of it may create them at the same moment.
            BEGIN
                EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
            END;
        END IF;
    END LOOP;
END
$$;

-- A transaction of an operator's token sees all teams.
CREATE FUNCTION ledger.is_operator() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT coalesce(current_setting('rigbeat.operator', true), '') = 'on' $$;

REVOKE ALL ON SCHEMA ledger FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
GRANT USAGE ON SCHEMA ledger TO rigbeat_api, rigbeat_ingest, rigbeat_scheduler;
GRANT EXECUTE ON FUNCTION ledger.now(), ledger.current_team(), ledger.is_operator(), ledger.first_id(timestamptz),
    ledger.fire_id(uuid, timestamptz) TO rigbeat_api, rigbeat_ingest, rigbeat_scheduler;
GRANT EXECUTE ON FUNCTION ledger.authenticate(text) TO rigbeat_api;
GRANT EXECUTE ON FUNCTION ledger.feed_after(xid8, bigint, uuid, integer) TO rigbeat_ingest;
GRANT EXECUTE ON FUNCTION ledger.ensure_partitions(timestamptz) TO rigbeat_scheduler;

-- rigbeat_api: its team's rows, and of those only what a person may change.
GRANT SELECT ON ledger.epoch, ledger.teams, ledger.hosts, ledger.devices, ledger.host_scripts, ledger.deployments,
    ledger.deployment_versions, ledger.script_results, ledger.deployment_executions, ledger.outbox, ledger.audit_log,
    ledger.dead_letters, ledger.backlogs, ledger.liveness TO rigbeat_api;
GRANT INSERT ON ledger.hosts, ledger.api_tokens, ledger.deployments, ledger.deployment_versions,
    ledger.deployment_executions, ledger.outbox, ledger.change_feed, ledger.audit_log, ledger.backlogs TO rigbeat_api;
GRANT UPDATE (name, userinterface_name, parameters, cron_expression, timezone, start_date, end_date, max_executions,
    status, status_reason, status_by, catch_up, catch_up_window_seconds, on_device_busy, max_wait_seconds,
    timeout_seconds, silence_timeout_seconds, version, counted_from, next_fire_at, next_due_at, updated_at, deleted_at)
    ON ledger.deployments TO rigbeat_api;
GRANT UPDATE (cancel_requested_at) ON ledger.deployment_executions TO rigbeat_api;
GRANT UPDATE (revoked_at, shared_teams) ON ledger.hosts TO rigbeat_api;
GRANT UPDATE (lock_version, lock_owner, lock_reason, lock_since, lock_expires_at) ON ledger.devices TO rigbeat_api;

-- rigbeat_ingest: folds facts of all teams; fires nothing, deletes nothing but scripts that a host no longer has.
GRANT SELECT ON ledger.epoch, ledger.hosts, ledger.devices, ledger.host_scripts, ledger.deployments, ledger.script_results,
    ledger.deployment_versions, ledger.deployment_executions, ledger.outbox, ledger.change_feed, ledger.dead_letters,
    ledger.liveness TO rigbeat_ingest;
GRANT INSERT, UPDATE ON ledger.liveness TO rigbeat_ingest;
GRANT INSERT ON ledger.devices, ledger.host_scripts, ledger.script_results, ledger.deployment_versions,
    ledger.deployment_executions, ledger.outbox, ledger.change_feed, ledger.audit_log, ledger.dead_letters,
    ledger.backlogs TO rigbeat_ingest;
GRANT UPDATE (last_seen_at, runner_id, runner_version, journal_id, boot_id, clock_offset_seconds, max_parallel)
    ON ledger.hosts TO rigbeat_ingest;
GRANT UPDATE ON ledger.devices, ledger.host_scripts, ledger.script_results, ledger.dead_letters TO rigbeat_ingest;
GRANT DELETE ON ledger.host_scripts TO rigbeat_ingest;
GRANT UPDATE (execution_count, last_executed_at, status, status_reason, status_by, version, next_fire_at, next_due_at,
    updated_at) ON ledger.deployments TO rigbeat_ingest;
GRANT UPDATE (script_result_id, started_at, completed_at, status, success, skip_reason, error_message, reason, presumed,
    received_at, queued_at, admitted_at, exit_code, signal, duration_seconds, log_bytes)
    ON ledger.deployment_executions TO rigbeat_ingest;
GRANT UPDATE (applied_at, result) ON ledger.outbox TO rigbeat_ingest;

-- rigbeat_scheduler: fires for all teams, drains the outbox, presumes, retains.
GRANT SELECT ON ledger.epoch, ledger.hosts, ledger.deployments, ledger.deployment_versions, ledger.deployment_executions,
    ledger.outbox, ledger.change_feed, ledger.backlogs, ledger.liveness TO rigbeat_scheduler;
GRANT INSERT ON ledger.deployment_versions, ledger.deployment_executions, ledger.outbox, ledger.change_feed,
    ledger.backlogs, ledger.audit_log TO rigbeat_scheduler;
GRANT UPDATE (status, status_reason, status_by, version, next_fire_at, next_due_at, updated_at) ON ledger.deployments
    TO rigbeat_scheduler;
GRANT UPDATE (status, success, skip_reason, error_message, reason, presumed, completed_at, published_at)
    ON ledger.deployment_executions TO rigbeat_scheduler;
GRANT UPDATE (attempts, published_at, result) ON ledger.outbox TO rigbeat_scheduler;
GRANT UPDATE, DELETE ON ledger.backlogs TO rigbeat_scheduler;
GRANT DELETE ON ledger.outbox, ledger.change_feed TO rigbeat_scheduler;

-- Row level security on every team table, forced.
DO $$
DECLARE
    team_table text;
BEGIN
    FOREACH team_table IN ARRAY ARRAY[
        'teams', 'hosts', 'devices', 'host_scripts', 'api_tokens', 'deployments', 'deployment_versions', 'script_results',
        'deployment_executions', 'backlogs', 'outbox', 'change_feed', 'audit_log', 'dead_letters'
    ] LOOP
        EXECUTE format('ALTER TABLE ledger.%I ENABLE ROW LEVEL SECURITY', team_table);
        EXECUTE format('ALTER TABLE ledger.%I FORCE ROW LEVEL SECURITY', team_table);
        -- The two services that serve all teams; what they may do is in the grants above.
        EXECUTE format('CREATE POLICY all_teams ON ledger.%I TO rigbeat_ingest, rigbeat_scheduler USING (true) WITH CHECK (true)', team_table);
        -- The owner: migrations, and the SECURITY DEFINER functions.
        EXECUTE format('CREATE POLICY owner ON ledger.%I TO CURRENT_USER USING (true) WITH CHECK (true)', team_table);
    END LOOP;
    FOREACH team_table IN ARRAY ARRAY[
        'api_tokens', 'deployments', 'deployment_versions', 'script_results', 'deployment_executions', 'backlogs', 'outbox',
        'change_feed', 'audit_log', 'dead_letters'
    ] LOOP
        EXECUTE format(
            'CREATE POLICY own_team ON ledger.%I TO rigbeat_api
             USING (team_id = ledger.current_team() OR ledger.is_operator())
             WITH CHECK (team_id = ledger.current_team() OR ledger.is_operator())', team_table);
    END LOOP;
END
$$;
CREATE POLICY own_team ON ledger.teams TO rigbeat_api USING (id = ledger.current_team() OR ledger.is_operator());
-- A host belongs to one team and may be shared with others: those see it and its devices, only the owner changes it.
CREATE POLICY shared ON ledger.hosts FOR SELECT TO rigbeat_api
    USING (team_id = ledger.current_team() OR ledger.current_team() = ANY (shared_teams) OR ledger.is_operator());
CREATE POLICY own_team ON ledger.hosts FOR INSERT TO rigbeat_api
    WITH CHECK (team_id = ledger.current_team() OR ledger.is_operator());
CREATE POLICY own_team_update ON ledger.hosts FOR UPDATE TO rigbeat_api
    USING (team_id = ledger.current_team() OR ledger.is_operator())
    WITH CHECK (team_id = ledger.current_team() OR ledger.is_operator());
CREATE POLICY of_visible_hosts ON ledger.devices TO rigbeat_api
    USING (host_name IN (SELECT name FROM ledger.hosts)) WITH CHECK (host_name IN (SELECT name FROM ledger.hosts));
CREATE POLICY of_visible_hosts ON ledger.host_scripts FOR SELECT TO rigbeat_api
    USING (host_name IN (SELECT name FROM ledger.hosts));
-- A deployment goes to a host that its team may use.
CREATE POLICY on_own_host ON ledger.deployments AS RESTRICTIVE FOR INSERT TO rigbeat_api
    WITH CHECK (host_name IN (SELECT name FROM ledger.hosts));

SELECT ledger.ensure_partitions(ledger.now());
