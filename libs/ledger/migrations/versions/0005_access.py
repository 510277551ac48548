"""Tokens that people make and take back, teams that operators make."""

from libs.ledger.migrate import run_sql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Load the SQL of this revision."""
    run_sql("0005_access.sql")
