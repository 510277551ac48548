-- As in 0003.
SET LOCAL lock_timeout = '5s';

-- Closed: somebody has dealt with it. Dropped: nothing is to be done about it. Either way the row stays, and says who, when, why.
ALTER TABLE ledger.dead_letters DROP CONSTRAINT dead_letters_state_check;
ALTER TABLE ledger.dead_letters ADD CONSTRAINT dead_letters_state_check
    CHECK (state IN ('open', 'requeued', 'closed', 'dropped')) NOT VALID;
ALTER TABLE ledger.dead_letters ADD COLUMN settled_at timestamptz;
ALTER TABLE ledger.dead_letters ADD COLUMN settled_by text;
ALTER TABLE ledger.dead_letters ADD COLUMN settled_reason text;
GRANT UPDATE (settled_at, settled_by, settled_reason) ON ledger.dead_letters TO rigbeat_api;
