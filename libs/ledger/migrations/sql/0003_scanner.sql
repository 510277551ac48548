-- Expands only: code of 0.2.0 runs on with it. Columns without a default, so no row is rewritten.

-- Behind somebody who reads for minutes everybody else would wait behind us: rather fail, and be run again.
SET LOCAL lock_timeout = '5s';

-- Which fact of its host ended an execution: (journal, sequence) is the same for every repetition of it. Null while it is
-- open, presumed, ended without a host, or ended before this was written down.
ALTER TABLE ledger.deployment_executions ADD COLUMN ended_journal_id uuid;
ALTER TABLE ledger.deployment_executions ADD COLUMN ended_sequence bigint;
GRANT UPDATE (ended_journal_id, ended_sequence) ON ledger.deployment_executions TO rigbeat_ingest;

-- A host ended an execution that it had ended before, by another fact: it ran an id twice, or said two things about one
-- run. The first ending stands; this is for whoever watches. A second delivery of the same word finds its row.
CREATE TABLE ledger.repeated_endings (
    execution_id uuid NOT NULL,
    journal_id uuid NOT NULL,
    sequence bigint NOT NULL,
    team_id uuid NOT NULL,
    host_name text NOT NULL,
    -- What the later word says.
    status text NOT NULL,
    at timestamptz NOT NULL DEFAULT ledger.now(),
    PRIMARY KEY (execution_id, journal_id, sequence)
);
CREATE INDEX repeated_endings_age ON ledger.repeated_endings (at);
ALTER TABLE ledger.repeated_endings ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.repeated_endings FORCE ROW LEVEL SECURITY;
CREATE POLICY all_teams ON ledger.repeated_endings TO rigbeat_ingest, rigbeat_scheduler USING (true) WITH CHECK (true);
CREATE POLICY owner ON ledger.repeated_endings TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY own_team ON ledger.repeated_endings TO rigbeat_api
    USING (team_id = ledger.current_team() OR ledger.is_operator())
    WITH CHECK (team_id = ledger.current_team() OR ledger.is_operator());
GRANT SELECT, INSERT ON ledger.repeated_endings TO rigbeat_ingest;
GRANT SELECT, DELETE ON ledger.repeated_endings TO rigbeat_scheduler;
GRANT SELECT ON ledger.repeated_endings TO rigbeat_api;

-- The schedulers check the invariants (services/scheduler/scan.py): what they could not read yet, and no more of it.
GRANT SELECT (host_name, device_id, status, execution_id, pending, lock_expires_at) ON ledger.devices
    TO rigbeat_scheduler;
GRANT SELECT (at, reason, host_name, execution_id) ON ledger.dead_letters TO rigbeat_scheduler;
