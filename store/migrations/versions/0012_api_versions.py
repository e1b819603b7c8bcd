"""Connections remember the API version that ConnectWise takes, and whether it has answered."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Apply."""
    op.add_column("connections", sa.Column("api_version", sa.Text(), nullable=True))
    op.add_column("connections", sa.Column("answered", sa.Boolean(), server_default=sa.text("false"), nullable=False))
