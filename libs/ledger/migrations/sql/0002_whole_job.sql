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
GRANT UPDATE (held, not_after) ON ledger.deployment_executions TO rigbeat_scheduler;
GRANT UPDATE (held) ON ledger.deployment_executions TO rigbeat_ingest;
