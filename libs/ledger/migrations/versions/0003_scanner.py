"""What ended an execution, repeated endings, and what the schedulers read to check the invariants."""

from libs.ledger.migrate import run_sql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Load the SQL of this revision."""
    run_sql("0003_scanner.sql")
