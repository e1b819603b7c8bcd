"""By how many seconds each worker's clock is fast."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply."""
    op.add_column("workers", sa.Column("clock_ahead", sa.Float(), nullable=True))
