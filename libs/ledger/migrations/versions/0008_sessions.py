"""People sign in to the page: sessions, and links that are used once."""

from libs.ledger.migrate import run_sql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Load the SQL of this revision."""
    run_sql("0008_sessions.sql")
