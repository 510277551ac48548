"""An index for commands that nobody answered."""

from libs.ledger.migrate import run_sql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Load the SQL of this revision."""
    run_sql("0004_fault_suite.sql")
