"""Whose token `rigbeat up` leaves in its home: an operator's of the team; one of a former version is raised."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from cli.up.drawn import Drawn
from cli.up.enrolment import enrol
from tests.support.ledger import LedgerDatabase


def holders(database: LedgerDatabase) -> list[tuple[str, bool]]:
    rows = database.execute("SELECT role, team_id IS NOT NULL FROM api_tokens WHERE role <> 'host' ORDER BY created_at")
    return [(role, has_team) for role, has_team in rows]


def test_the_token_is_an_operators_of_the_team_and_stays(ledger_database: LedgerDatabase, tmp_path: Path) -> None:
    drawn = Drawn()
    first = enrol(ledger_database.owner_url, tmp_path / "token", "lab-1", drawn)
    again = enrol(ledger_database.owner_url, tmp_path / "token", "lab-1", drawn)
    assert (first.admin_token, first.host_token) == (again.admin_token, again.host_token)
    assert holders(ledger_database) == [("operator", True)]


def test_an_admins_token_of_a_former_version_is_raised_and_no_other(
    ledger_database: LedgerDatabase, tmp_path: Path
) -> None:
    drawn = Drawn()
    token = enrol(ledger_database.owner_url, tmp_path / "token", "lab-1", drawn).admin_token
    ledger_database.execute("UPDATE api_tokens SET role = 'admin' WHERE role = 'operator'")
    [(team,)] = ledger_database.execute("SELECT id FROM teams")
    assert isinstance(team, UUID)
    own = ledger_database.token(team, "admin")
    assert enrol(ledger_database.owner_url, tmp_path / "token", "lab-1", drawn).admin_token == token
    assert holders(ledger_database) == [("operator", True), ("admin", True)]
    [(raised,)] = ledger_database.execute("SELECT count(*) FROM audit_log WHERE action = 'raise'")
    assert raised == 1
    # A token that a person made for it stays what it is.
    (tmp_path / "token").write_text(own)
    assert enrol(ledger_database.owner_url, tmp_path / "token", "lab-1", drawn).admin_token == own
    assert holders(ledger_database) == [("operator", True), ("admin", True)]
