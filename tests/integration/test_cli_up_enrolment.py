"""Whose token `rigbeat up` leaves in its home: an operator's of the team; one of a former version is raised."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

from cli.up.enrolment import enrol
from tests.support.ledger import LedgerDatabase


def holders(database: LedgerDatabase) -> list[tuple[str, bool]]:
    rows = database.execute("SELECT role, team_id IS NOT NULL FROM api_tokens WHERE role <> 'host' ORDER BY created_at")
    return [(role, has_team) for role, has_team in rows]


def test_the_token_is_an_operators_of_the_team_and_stays(ledger_database: LedgerDatabase, tmp_path: Path) -> None:
    first = enrol(ledger_database.owner_url, tmp_path / "token", "lab-1", tmp_path)
    again = enrol(ledger_database.owner_url, tmp_path / "token", "lab-1", tmp_path)
    assert first.admin_token == again.admin_token
    assert first.host_secret != again.host_secret, "nobody came in with the first"
    assert holders(ledger_database) == [("operator", True)]


def test_an_admins_token_of_a_former_version_is_raised_and_no_other(
    ledger_database: LedgerDatabase, tmp_path: Path
) -> None:
    token = enrol(ledger_database.owner_url, tmp_path / "token", "lab-1", tmp_path).admin_token
    ledger_database.execute("UPDATE api_tokens SET role = 'admin' WHERE role = 'operator'")
    [(team,)] = ledger_database.execute("SELECT id FROM teams")
    assert isinstance(team, UUID)
    own = ledger_database.token(team, "admin")
    assert enrol(ledger_database.owner_url, tmp_path / "token", "lab-1", tmp_path).admin_token == token
    assert holders(ledger_database) == [("operator", True), ("admin", True)]
    [(raised,)] = ledger_database.execute("SELECT count(*) FROM audit_log WHERE action = 'raise'")
    assert raised == 1
    # A token that a person made for it stays what it is.
    (tmp_path / "token").write_text(own)
    assert enrol(ledger_database.owner_url, tmp_path / "token", "lab-1", tmp_path).admin_token == own
    assert holders(ledger_database) == [("operator", True), ("admin", True)]


def test_a_runner_with_credentials_that_hold_needs_no_secret_and_others_are_put_away(
    ledger_database: LedgerDatabase, tmp_path: Path
) -> None:
    assert enrol(ledger_database.owner_url, tmp_path / "token", "lab-1", tmp_path).host_secret is not None
    [(team,)] = ledger_database.execute("SELECT id FROM teams")
    kept = tmp_path / "credentials.json"
    kept.write_text(json.dumps({"token": ledger_database.token(team, "host", host="lab-1"), "amqp_url": "amqp://x"}))
    assert enrol(ledger_database.owner_url, tmp_path / "token", "lab-1", tmp_path).host_secret is None
    assert kept.exists()
    ledger_database.execute("UPDATE api_tokens SET revoked_at = ledger.now() WHERE role = 'host'")
    assert enrol(ledger_database.owner_url, tmp_path / "token", "lab-1", tmp_path).host_secret is not None
    assert not kept.exists()
    ledger_database.execute("UPDATE hosts SET revoked_at = ledger.now()")
    ended = enrol(ledger_database.owner_url, tmp_path / "token", "lab-1", tmp_path)
    assert (ended.host_is_admitted, ended.host_secret) == (False, None)
