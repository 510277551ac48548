"""Hosts come with a one-time secret and have their own user of the broker."""

from libs.ledger.migrate import run_sql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Load the SQL of this revision."""
    run_sql("0006_hosts.sql")
