-- The ledger's tables. All columns of the owner's schema keep their names. Nothing here is newer than PostgreSQL 15.
-- Statuses and reasons are tested equal to libs/contracts.

CREATE SCHEMA ledger;

-- The one clock of all services. A test replaces it in its own database to shift time; services' roles cannot.
CREATE FUNCTION ledger.now() RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL SAFE
AS 'SELECT clock_timestamp()';

-- The team of the current transaction: set by the API with set_config('rigbeat.team_id', …, true). Nothing set: no team.
CREATE FUNCTION ledger.current_team() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT nullif(current_setting('rigbeat.team_id', true), '')::uuid $$;

-- One row: the ledger's epoch (raised by a restore) and whether firing is held.
CREATE TABLE ledger.epoch (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    ledger_epoch integer NOT NULL DEFAULT 1,
    firing boolean NOT NULL DEFAULT true
);
INSERT INTO ledger.epoch DEFAULT VALUES;

CREATE TABLE ledger.teams (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT ledger.now()
);

CREATE TABLE ledger.hosts (
    name text PRIMARY KEY CHECK (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    team_id uuid NOT NULL REFERENCES ledger.teams (id),
    shared_teams uuid[] NOT NULL DEFAULT '{}',
    enrolled_at timestamptz NOT NULL DEFAULT ledger.now(),
    revoked_at timestamptz,
    last_seen_at timestamptz,
    runner_id uuid,
    runner_version text,
    journal_id uuid,
    boot_id text,
    clock_offset_seconds double precision,
    max_parallel integer NOT NULL DEFAULT 1
);

CREATE TABLE ledger.devices (
    host_name text NOT NULL REFERENCES ledger.hosts (name),
    device_id text NOT NULL,
    model text NOT NULL DEFAULT '',
    labels jsonb NOT NULL DEFAULT '{}',
    status text NOT NULL DEFAULT 'free' CHECK (status IN ('free', 'running', 'waiting', 'locked')),
    execution_id uuid,
    pending uuid[] NOT NULL DEFAULT '{}',
    lock_version integer NOT NULL DEFAULT 0,
    lock_owner text,
    lock_reason text,
    lock_since timestamptz,
    lock_expires_at timestamptz,
    present boolean NOT NULL DEFAULT true,
    PRIMARY KEY (host_name, device_id)
);

CREATE TABLE ledger.host_scripts (
    host_name text NOT NULL REFERENCES ledger.hosts (name),
    name text NOT NULL,
    parameters jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (host_name, name)
);

-- Only a hash of a token is kept: SHA-256 of 256 random bits, which needs no salt and no slow hash.
CREATE TABLE ledger.api_tokens (
    id uuid PRIMARY KEY,
    team_id uuid REFERENCES ledger.teams (id),
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('viewer', 'editor', 'admin', 'operator', 'host')),
    host_name text REFERENCES ledger.hosts (name),
    prefix text NOT NULL UNIQUE,
    hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT ledger.now(),
    created_by text,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    CHECK ((role = 'host') = (host_name IS NOT NULL)),
    CHECK (role = 'operator' OR team_id IS NOT NULL)
);

CREATE TABLE ledger.deployments (
    id uuid PRIMARY KEY,
    team_id uuid NOT NULL REFERENCES ledger.teams (id),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    host_name text NOT NULL REFERENCES ledger.hosts (name),
    device_id text NOT NULL,
    script_name text NOT NULL,
    userinterface_name text NOT NULL DEFAULT '',
    parameters text,
    cron_expression text NOT NULL,
    timezone text NOT NULL DEFAULT 'UTC',
    start_date timestamptz,
    end_date timestamptz,
    max_executions integer CHECK (max_executions >= 1),
    execution_count integer NOT NULL DEFAULT 0 CHECK (execution_count >= 0),
    last_executed_at timestamptz,
    status text NOT NULL DEFAULT 'active'
        CHECK (status IN ('active', 'paused', 'stopped', 'completed', 'expired')),
    status_reason text,
    status_by text,
    catch_up text NOT NULL DEFAULT 'latest' CHECK (catch_up IN ('latest', 'none', 'all')),
    catch_up_window_seconds integer NOT NULL DEFAULT 600 CHECK (catch_up_window_seconds BETWEEN 1 AND 31536000),
    on_device_busy text NOT NULL DEFAULT 'skip' CHECK (on_device_busy IN ('skip', 'queue')),
    max_wait_seconds integer NOT NULL DEFAULT 3600 CHECK (max_wait_seconds >= 0),
    timeout_seconds double precision NOT NULL DEFAULT 3600 CHECK (timeout_seconds > 0),
    silence_timeout_seconds double precision CHECK (silence_timeout_seconds > 0),
    version integer NOT NULL DEFAULT 1,
    -- Fires before it are nobody's: the later of creation and the last resume.
    counted_from timestamptz NOT NULL,
    -- The first nominal fire that is not yet decided, and when the scheduler must look: least of it and the end date.
    next_fire_at timestamptz,
    next_due_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT ledger.now(),
    created_by text,
    updated_at timestamptz NOT NULL DEFAULT ledger.now(),
    deleted_at timestamptz,
    CHECK (end_date IS NULL OR start_date IS NULL OR start_date < end_date)
);
CREATE UNIQUE INDEX deployments_name ON ledger.deployments (team_id, name) WHERE deleted_at IS NULL;
-- A paused deployment is due at its end date only.
CREATE INDEX deployments_due ON ledger.deployments (next_due_at, host_name) WHERE status IN ('active', 'paused');
CREATE INDEX deployments_by_host ON ledger.deployments (host_name, device_id);
CREATE INDEX deployments_page ON ledger.deployments (team_id, id DESC) WHERE deleted_at IS NULL;

-- What a deployment was from when on: the history that "why" and "verify" read. A row for each change.
CREATE TABLE ledger.deployment_versions (
    deployment_id uuid NOT NULL REFERENCES ledger.deployments (id),
    version integer NOT NULL,
    team_id uuid NOT NULL,
    valid_from timestamptz NOT NULL,
    counted_from timestamptz NOT NULL,
    cron_expression text NOT NULL,
    timezone text NOT NULL,
    start_date timestamptz,
    end_date timestamptz,
    max_executions integer,
    status text NOT NULL,
    status_reason text,
    catch_up text NOT NULL,
    catch_up_window_seconds integer NOT NULL,
    on_device_busy text NOT NULL,
    max_wait_seconds integer NOT NULL,
    timeout_seconds double precision NOT NULL,
    silence_timeout_seconds double precision,
    deleted boolean NOT NULL DEFAULT false,
    changed_by text,
    PRIMARY KEY (deployment_id, version)
);

-- The script's own result, named by it (SCRIPT_RESULT_ID). No foreign key points here: a script may name anything.
CREATE TABLE ledger.script_results (
    id uuid PRIMARY KEY,
    team_id uuid NOT NULL,
    execution_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT ledger.now()
);

-- The fire ledger. Ids begin with the nominal time (libs/contracts/ids.py), so partitions by id are partitions by time.
-- No unique index says "one running": the ledger is folded from facts and refuses none; `rigbeat verify` looks.
CREATE TABLE ledger.deployment_executions (
    id uuid NOT NULL,
    deployment_id uuid NOT NULL REFERENCES ledger.deployments (id),
    script_result_id uuid,
    scheduled_at timestamptz NOT NULL,
    started_at timestamptz,
    completed_at timestamptz,
    status text NOT NULL DEFAULT 'triggered'
        CHECK (status IN ('triggered', 'queued', 'running', 'completed', 'failed', 'skipped', 'cancelled')),
    success boolean,
    skip_reason text,
    error_message text,
    team_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('cron', 'manual', 'catch_up')),
    version integer NOT NULL,
    host_name text NOT NULL,
    device_id text NOT NULL,
    script_name text NOT NULL,
    userinterface_name text NOT NULL DEFAULT '',
    parameters text,
    reason text CHECK (reason IN (
        'already_queued', 'device_busy', 'device_locked', 'host_busy', 'waited_too_long', 'missed', 'limit_in_flight',
        'limit_reached', 'paused', 'stopped', 'deleted', 'expired', 'undeliverable', 'unknown_device', 'timed_out',
        'silent', 'interrupted', 'host_lost', 'script_not_found', 'invalid_parameters', 'spawn_failed', 'exit_code',
        'signalled', 'script_reported_failure', 'cancelled_by_user'
    )),
    presumed boolean NOT NULL DEFAULT false,
    triggered_by text,
    decided_at timestamptz NOT NULL,
    not_after timestamptz,
    timeout_seconds double precision,
    published_at timestamptz,
    received_at timestamptz,
    queued_at timestamptz,
    admitted_at timestamptz,
    exit_code integer,
    signal text,
    duration_seconds double precision,
    log_bytes bigint NOT NULL DEFAULT 0,
    cancel_requested_at timestamptz,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX deployment_executions_of ON ledger.deployment_executions (deployment_id, id DESC);
CREATE INDEX deployment_executions_page ON ledger.deployment_executions (team_id, id DESC);
CREATE INDEX deployment_executions_of_host ON ledger.deployment_executions (host_name, id DESC);
CREATE INDEX deployment_executions_failed ON ledger.deployment_executions (team_id, id DESC) WHERE status = 'failed';
-- In flight for the limit: what is open, and what is only presumed to have ended.
CREATE INDEX deployment_executions_in_flight ON ledger.deployment_executions (deployment_id)
    WHERE status IN ('triggered', 'queued', 'running') OR presumed;
CREATE INDEX deployment_executions_open_on ON ledger.deployment_executions (host_name)
    WHERE status IN ('triggered', 'queued', 'running');
CREATE TABLE ledger.deployment_executions_rest PARTITION OF ledger.deployment_executions DEFAULT;

-- Nominal fires, from_at <= fire < until_at, that nobody was there for; written as missed in bounded steps.
CREATE TABLE ledger.backlogs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    deployment_id uuid NOT NULL REFERENCES ledger.deployments (id),
    team_id uuid NOT NULL,
    version integer NOT NULL,
    cron_expression text NOT NULL,
    timezone text NOT NULL,
    window_seconds integer NOT NULL,
    from_at timestamptz NOT NULL,
    until_at timestamptz NOT NULL
);

-- Triggers and commands on their way to the broker. Written with the decision, drained by schedulers only.
CREATE TABLE ledger.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id uuid NOT NULL UNIQUE,
    team_id uuid NOT NULL,
    type text NOT NULL,
    exchange text NOT NULL,
    host_name text NOT NULL,
    execution_id uuid,
    -- The message as it goes out, to the byte.
    body text NOT NULL,
    not_after timestamptz,
    created_at timestamptz NOT NULL DEFAULT ledger.now(),
    attempts integer NOT NULL DEFAULT 0,
    published_at timestamptz,
    applied_at timestamptz,
    result text
);
CREATE INDEX outbox_unpublished ON ledger.outbox (id) WHERE published_at IS NULL;
CREATE INDEX outbox_of_execution ON ledger.outbox (execution_id) WHERE execution_id IS NOT NULL;
CREATE INDEX outbox_age ON ledger.outbox (published_at) WHERE published_at IS NOT NULL;

-- What changed, for server-sent events. `xid` makes it safe against transactions that commit out of order: a reader takes
-- only rows whose transaction is older than every one still open (ledger.feed_after).
CREATE TABLE ledger.change_feed (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    team_id uuid,
    kind text NOT NULL CHECK (kind IN ('execution', 'deployment', 'host', 'device', 'reset')),
    resource_id text NOT NULL,
    at timestamptz NOT NULL DEFAULT ledger.now()
);
CREATE INDEX change_feed_order ON ledger.change_feed (xid, id);

-- That a consumer of the centre is alive, by name: `presence` says that heartbeats are being read, so that a stopped
-- reader never makes hosts look dead.
CREATE TABLE ledger.liveness (
    name text PRIMARY KEY,
    at timestamptz NOT NULL
);

CREATE TABLE ledger.audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT ledger.now(),
    team_id uuid,
    actor text NOT NULL,
    action text NOT NULL,
    resource text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_page ON ledger.audit_log (team_id, id DESC);

CREATE TABLE ledger.dead_letters (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT ledger.now(),
    queue text,
    reason text NOT NULL,
    type text,
    host_name text,
    team_id uuid,
    execution_id uuid,
    headers jsonb NOT NULL DEFAULT '{}',
    body bytea,
    body_size bigint NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'requeued', 'closed'))
);
CREATE INDEX dead_letters_page ON ledger.dead_letters (id DESC);
