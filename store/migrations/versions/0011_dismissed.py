"""When a row of Sync Status was put away."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Apply."""
    op.add_column("company_status", sa.Column("dismissed_at", sa.DateTime(timezone=True), nullable=True))
