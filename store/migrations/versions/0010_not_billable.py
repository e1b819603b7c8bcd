"""Mappings remember whether an addition that is not billable is allowed."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "mappings",
        sa.Column("allow_not_billable", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
