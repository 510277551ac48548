-- What a first start needs before the API can be asked: a team, a token, a host. Written by the ledger's owner.

-- name: add_team
INSERT INTO ledger.teams (id, name) VALUES (%(id)s, %(name)s) ON CONFLICT (name) DO NOTHING;

-- name: team_id
SELECT id FROM ledger.teams WHERE name = %(name)s;

-- name: add_host
INSERT INTO ledger.hosts (name, team_id) VALUES (%(name)s, %(team_id)s) ON CONFLICT (name) DO NOTHING;

-- name: host_is_admitted
SELECT 1 FROM ledger.hosts WHERE name = %(name)s AND revoked_at IS NULL;

-- name: token_holds
SELECT 1 FROM ledger.api_tokens
WHERE prefix = %(prefix)s AND hash = %(hash)s AND revoked_at IS NULL
  AND (expires_at IS NULL OR expires_at > ledger.now());

-- name: raise_to_operator
-- Only what `rigbeat up` itself wrote: a token that a person put in its place stays what it is.
UPDATE ledger.api_tokens SET role = 'operator'
WHERE prefix = %(prefix)s AND role = 'admin' AND created_by = 'rigbeat up';

-- name: add_token
INSERT INTO ledger.api_tokens (id, team_id, name, role, host_name, prefix, hash, created_by)
VALUES (%(id)s, %(team_id)s, %(name)s, %(role)s, %(host_name)s, %(prefix)s, %(hash)s, 'rigbeat up');

-- name: put_enrolment
INSERT INTO ledger.enrolments (host_name, prefix, hash, created_by, expires_at)
VALUES (%(host_name)s, %(prefix)s, %(hash)s, 'rigbeat up', ledger.now() + interval '1 day')
ON CONFLICT (host_name) DO UPDATE
SET prefix = excluded.prefix, hash = excluded.hash, created_at = ledger.now(), created_by = excluded.created_by,
    expires_at = excluded.expires_at, token_id = NULL;

-- name: add_audit
INSERT INTO ledger.audit_log (team_id, actor, action, resource) VALUES (%(team_id)s, 'rigbeat up', %(action)s, %(resource)s);
