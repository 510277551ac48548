"""What is kept, and how long: policies, and the functions that remove what is older."""

from libs.ledger.migrate import run_sql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Load the SQL of this revision."""
    run_sql("0007_retention.sql")
    run_sql("0007_removal.sql")
