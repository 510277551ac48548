-- As in 0003.
SET LOCAL lock_timeout = '5s';

-- People of a team see its tokens, never their hashes, and take them back.
GRANT SELECT (id, team_id, name, role, host_name, prefix, created_at, created_by, expires_at, revoked_at, last_used_at)
    ON ledger.api_tokens TO rigbeat_api;
GRANT UPDATE (revoked_at) ON ledger.api_tokens TO rigbeat_api;
CREATE INDEX api_tokens_page ON ledger.api_tokens (team_id, id DESC);

-- An operator's token is another's business than the team's that it lies in, whatever the API forgets.
CREATE POLICY operators_alone ON ledger.api_tokens AS RESTRICTIVE TO rigbeat_api
    USING (role <> 'operator' OR ledger.is_operator())
    WITH CHECK (role <> 'operator' OR ledger.is_operator());

-- From where a change came and with which token, taken from the transaction, so that no statement forgets them.
ALTER TABLE ledger.audit_log
    ADD COLUMN address text DEFAULT nullif(current_setting('rigbeat.address', true), ''),
    ADD COLUMN token_prefix text DEFAULT nullif(current_setting('rigbeat.token_prefix', true), '');

-- Whose lock it is: on a host that teams share, a name alone does not say.
ALTER TABLE ledger.devices ADD COLUMN lock_team uuid;
GRANT UPDATE (lock_team) ON ledger.devices TO rigbeat_api;

-- Operators make teams.
GRANT INSERT ON ledger.teams TO rigbeat_api;
CREATE POLICY made_by_operators ON ledger.teams AS RESTRICTIVE FOR INSERT TO rigbeat_api WITH CHECK (ledger.is_operator());

-- Beside `authenticate`, which the former version of the API calls while both run. A host that is revoked has no token any
-- more. `used_lately`: `note_token_use` would do nothing.
CREATE FUNCTION ledger.token_holder(token_prefix text)
RETURNS TABLE (id uuid, prefix text, hash bytea, team_id uuid, role text, host_name text, name text, expires_at timestamptz,
               revoked_at timestamptz, checked_at timestamptz, used_lately boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
    SELECT t.id, t.prefix, t.hash, t.team_id, t.role, t.host_name, t.name, t.expires_at, coalesce(t.revoked_at, h.revoked_at),
           ledger.now(), coalesce(t.last_used_at > ledger.now() - interval '1 minute', false)
    FROM ledger.api_tokens t LEFT JOIN ledger.hosts h ON h.name = t.host_name
    WHERE t.prefix = token_prefix
$$;

-- When a token was used last, to the minute: not a write for each request.
CREATE FUNCTION ledger.note_token_use(token_id uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
    UPDATE ledger.api_tokens SET last_used_at = ledger.now()
    WHERE id = token_id AND (last_used_at IS NULL OR last_used_at <= ledger.now() - interval '1 minute')
$$;

REVOKE ALL ON FUNCTION ledger.token_holder(text), ledger.note_token_use(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.token_holder(text), ledger.note_token_use(uuid) TO rigbeat_api;
