-- As in 0003.
SET LOCAL lock_timeout = '5s';

-- What the schedulers look for every few seconds: commands that their hosts have not answered.
CREATE INDEX outbox_unanswered ON ledger.outbox (id)
    WHERE applied_at IS NULL AND published_at IS NOT NULL
      AND type IN ('command.fence.v1', 'command.cancel.v1', 'command.void.v1', 'command.lock.v1', 'command.unlock.v1',
                   'command.resend.v1');

-- Who was asked to say all again, and has not answered or was asked lately.
CREATE INDEX outbox_resends ON ledger.outbox (host_name, created_at) WHERE type = 'command.resend.v1';
