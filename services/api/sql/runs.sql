-- Runs that people ask for or end.

-- name: cancel_held
-- It waits to be released and was never sent: it ends here, without a word of its host.
UPDATE deployment_executions
SET held = false, status = 'cancelled', reason = 'cancelled_by_user', error_message = $3, completed_at = $2,
    cancel_requested_at = $2
WHERE id = $1 AND held;
