-- As in 0003.
SET LOCAL lock_timeout = '5s';

-- The one-time secret of a host that is enrolled: exchanged for what is below. `token_id`: what it gave last; once that token
-- was used, the secret is spent, so that an answer that was lost can be asked for again, and nothing else can.
CREATE TABLE ledger.enrolments (
    host_name text PRIMARY KEY REFERENCES ledger.hosts (name),
    prefix text NOT NULL UNIQUE,
    hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT ledger.now(),
    created_by text,
    expires_at timestamptz NOT NULL,
    token_id uuid REFERENCES ledger.api_tokens (id)
);

-- A host's own user of the broker. The hash as the broker keeps it, so that one that lost its data gets the user again.
CREATE TABLE ledger.host_credentials (
    host_name text PRIMARY KEY REFERENCES ledger.hosts (name),
    broker_user text NOT NULL UNIQUE,
    broker_password_hash text NOT NULL,
    token_id uuid NOT NULL REFERENCES ledger.api_tokens (id),
    issued_at timestamptz NOT NULL,
    -- An admin wants new ones: the host is told with its next clock.
    renew_requested_at timestamptz
);

-- Of a revoked host whose queues are to go, until they are gone: the broker may be away when it is revoked.
ALTER TABLE ledger.hosts ADD COLUMN drop_queues boolean NOT NULL DEFAULT false;
GRANT UPDATE (drop_queues) ON ledger.hosts TO rigbeat_api, rigbeat_ingest;

DO $$
DECLARE
    host_table text;
BEGIN
    FOREACH host_table IN ARRAY ARRAY['enrolments', 'host_credentials'] LOOP
        EXECUTE format('ALTER TABLE ledger.%I ENABLE ROW LEVEL SECURITY', host_table);
        EXECUTE format('ALTER TABLE ledger.%I FORCE ROW LEVEL SECURITY', host_table);
        EXECUTE format('CREATE POLICY owner ON ledger.%I TO CURRENT_USER USING (true) WITH CHECK (true)', host_table);
        -- Of the own hosts; of one that is only shared, nothing.
        EXECUTE format(
            'CREATE POLICY of_own_hosts ON ledger.%I TO rigbeat_api
             USING (ledger.is_operator() OR host_name IN (SELECT name FROM ledger.hosts WHERE team_id = ledger.current_team()))
             WITH CHECK (ledger.is_operator() OR host_name IN (SELECT name FROM ledger.hosts WHERE team_id = ledger.current_team()))',
            host_table);
    END LOOP;
END
$$;
CREATE POLICY all_teams ON ledger.host_credentials FOR SELECT TO rigbeat_ingest USING (true);

GRANT SELECT (host_name, prefix, created_at, created_by, expires_at, token_id), INSERT, UPDATE, DELETE
    ON ledger.enrolments TO rigbeat_api;
GRANT SELECT (host_name, broker_user, token_id, issued_at, renew_requested_at), INSERT, UPDATE, DELETE
    ON ledger.host_credentials TO rigbeat_api;
GRANT SELECT ON ledger.host_credentials TO rigbeat_ingest;

-- A revoked host is told nothing any more, whoever writes: who may not see it asks this.
CREATE FUNCTION ledger.hears(host text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$ SELECT NOT EXISTS (SELECT FROM ledger.hosts h WHERE h.name = host AND h.revoked_at IS NOT NULL) $$;
REVOKE ALL ON FUNCTION ledger.hears(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.hears(text) TO rigbeat_api, rigbeat_ingest, rigbeat_scheduler;

-- What is written down for a host is for one that the team may use. On one that it may not use any more it ends what it
-- has there by commands, and what is due of that in the same moment is skipped. A host's token is for a host of its own.
CREATE POLICY of_known_hosts ON ledger.outbox AS RESTRICTIVE FOR INSERT TO rigbeat_api
    WITH CHECK (host_name IS NULL OR host_name IN (SELECT h.name FROM ledger.hosts h)
                OR (type LIKE 'command.%'
                    AND EXISTS (SELECT FROM ledger.deployments d WHERE d.host_name = outbox.host_name)));
CREATE POLICY of_known_hosts ON ledger.deployment_executions AS RESTRICTIVE FOR INSERT TO rigbeat_api
    WITH CHECK (host_name IN (SELECT h.name FROM ledger.hosts h)
                OR EXISTS (SELECT FROM ledger.deployments d WHERE d.host_name = deployment_executions.host_name
                           AND d.status = 'active'));
CREATE POLICY of_own_hosts ON ledger.api_tokens AS RESTRICTIVE FOR INSERT TO rigbeat_api
    WITH CHECK (host_name IS NULL OR ledger.is_operator()
                OR host_name IN (SELECT name FROM ledger.hosts WHERE team_id = ledger.current_team()));

-- Looked up before there is a team, as a token is.
CREATE FUNCTION ledger.enrolment(secret_prefix text)
RETURNS TABLE (host_name text, team_id uuid, hash bytea, expires_at timestamptz, checked_at timestamptz, spent boolean,
               revoked boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
    SELECT e.host_name, h.team_id, e.hash, e.expires_at, ledger.now(),
           EXISTS (SELECT FROM ledger.api_tokens t WHERE t.id = e.token_id AND t.last_used_at IS NOT NULL),
           h.revoked_at IS NOT NULL
    FROM ledger.enrolments e JOIN ledger.hosts h ON h.name = e.host_name
    WHERE e.prefix = secret_prefix
$$;
REVOKE ALL ON FUNCTION ledger.enrolment(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.enrolment(text) TO rigbeat_api;
