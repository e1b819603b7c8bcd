"""The ledger has no rows of writes that were not sent."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Apply."""
    op.execute("DELETE FROM ledger WHERE outcome = 'not_sent'")
