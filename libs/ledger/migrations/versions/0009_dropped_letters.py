"""A dead letter may be dropped, and its row says who settled it, when and why."""

from libs.ledger.migrate import run_sql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Load the SQL of this revision."""
    run_sql("0009_dropped_letters.sql")
