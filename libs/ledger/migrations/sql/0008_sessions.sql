-- As in 0003.
SET LOCAL lock_timeout = '5s';

-- A browser that is signed in. Of its cookie only the SHA-256 is kept. Made from a token it ends with it, and role, team and
-- name are the token's; made from what an issuer said of a person (no `token_id`) they are here.
CREATE TABLE ledger.sessions (
    id uuid PRIMARY KEY,
    hash bytea NOT NULL UNIQUE,
    -- Worth nothing without its token: what retention removes takes its sessions along.
    token_id uuid REFERENCES ledger.api_tokens (id) ON DELETE CASCADE,
    team_id uuid REFERENCES ledger.teams (id),
    role text NOT NULL CHECK (role IN ('viewer', 'editor', 'admin', 'operator')),
    name text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    ended_at timestamptz,
    CHECK (role = 'operator' OR team_id IS NOT NULL)
);
CREATE INDEX sessions_old ON ledger.sessions (expires_at);
CREATE INDEX sessions_of_token ON ledger.sessions (token_id);

-- A link that signs in once, with the rights of the token that asked for it.
CREATE TABLE ledger.login_links (
    id uuid PRIMARY KEY,
    hash bytea NOT NULL UNIQUE,
    token_id uuid NOT NULL REFERENCES ledger.api_tokens (id) ON DELETE CASCADE,
    team_id uuid REFERENCES ledger.teams (id),
    role text NOT NULL CHECK (role IN ('viewer', 'editor', 'admin', 'operator')),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX login_links_old ON ledger.login_links (expires_at);
CREATE INDEX login_links_of_token ON ledger.login_links (token_id);

DO $$
DECLARE
    team_table text;
BEGIN
    FOREACH team_table IN ARRAY ARRAY['sessions', 'login_links'] LOOP
        EXECUTE format('ALTER TABLE ledger.%I ENABLE ROW LEVEL SECURITY', team_table);
        EXECUTE format('ALTER TABLE ledger.%I FORCE ROW LEVEL SECURITY', team_table);
        EXECUTE format('CREATE POLICY owner ON ledger.%I TO CURRENT_USER USING (true) WITH CHECK (true)', team_table);
        EXECUTE format(
            'CREATE POLICY own_team ON ledger.%I TO rigbeat_api
             USING (team_id = ledger.current_team() OR ledger.is_operator())
             WITH CHECK (team_id = ledger.current_team() OR ledger.is_operator())', team_table);
        -- As of tokens: an operator's is another's business than the team's.
        EXECUTE format(
            'CREATE POLICY operators_alone ON ledger.%I AS RESTRICTIVE TO rigbeat_api
             USING (role <> ''operator'' OR ledger.is_operator())
             WITH CHECK (role <> ''operator'' OR ledger.is_operator())', team_table);
    END LOOP;
END
$$;

GRANT INSERT, SELECT (id, token_id, team_id, role, name, created_at, expires_at, last_used_at, ended_at), UPDATE (ended_at)
    ON ledger.sessions TO rigbeat_api;
GRANT INSERT, SELECT (id, token_id, team_id, role, created_at, expires_at, used_at), UPDATE (used_at)
    ON ledger.login_links TO rigbeat_api;

-- Looked up before there is a team, as a token is: only by the hash, and only what tells whether it is good.
CREATE FUNCTION ledger.session_holder(cookie_hash bytea)
RETURNS TABLE (id uuid, token_id uuid, token_prefix text, team_id uuid, role text, name text, expires_at timestamptz,
               ended_at timestamptz, token_revoked_at timestamptz, last_used_at timestamptz, checked_at timestamptz,
               used_lately boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
    SELECT s.id, s.token_id, t.prefix, CASE WHEN t.id IS NULL THEN s.team_id ELSE t.team_id END, coalesce(t.role, s.role),
           coalesce(t.name, s.name), least(s.expires_at, t.expires_at), s.ended_at, t.revoked_at, s.last_used_at,
           ledger.now(), s.last_used_at > ledger.now() - interval '1 minute'
    FROM ledger.sessions s LEFT JOIN ledger.api_tokens t ON t.id = s.token_id
    WHERE s.hash = cookie_hash
$$;

-- When it was used last, to the minute: not a write for each request. One that idled too long is not asked for any more.
CREATE FUNCTION ledger.note_session_use(session_id uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
    UPDATE ledger.sessions SET last_used_at = ledger.now()
    WHERE id = session_id AND last_used_at <= ledger.now() - interval '1 minute'
$$;

CREATE FUNCTION ledger.login_link(code_hash bytea)
RETURNS TABLE (id uuid, token_prefix text, expires_at timestamptz, used_at timestamptz, checked_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
    SELECT l.id, t.prefix, l.expires_at, l.used_at, ledger.now()
    FROM ledger.login_links l JOIN ledger.api_tokens t ON t.id = l.token_id
    WHERE l.hash = code_hash
$$;

-- The team of a person, by the name that the installation's settings give it.
CREATE FUNCTION ledger.teams_named(names text[])
RETURNS TABLE (id uuid, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
    SELECT t.id, t.name FROM ledger.teams t WHERE t.name = ANY (names)
$$;

-- What ended a month ago tells nobody anything: the audit has who signed in when. At most so many of each in one go.
CREATE FUNCTION ledger.drop_old_sessions(most integer) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ledger, pg_temp
AS $$
    DELETE FROM ledger.sessions WHERE id IN (
        SELECT id FROM ledger.sessions WHERE expires_at < ledger.now() - interval '30 days' LIMIT most FOR UPDATE SKIP LOCKED);
    DELETE FROM ledger.login_links WHERE id IN (
        SELECT id FROM ledger.login_links WHERE expires_at < ledger.now() - interval '30 days' LIMIT most FOR UPDATE SKIP LOCKED);
$$;

REVOKE ALL ON FUNCTION ledger.session_holder(bytea), ledger.note_session_use(uuid), ledger.login_link(bytea),
    ledger.teams_named(text[]), ledger.drop_old_sessions(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.session_holder(bytea), ledger.note_session_use(uuid), ledger.login_link(bytea),
    ledger.teams_named(text[]), ledger.drop_old_sessions(integer) TO rigbeat_api;
