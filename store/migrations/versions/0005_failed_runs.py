"""Leases count the runs of a partner in a row that a fault of ours has ended."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply."""
    op.add_column("leases", sa.Column("failed_runs", sa.Integer(), nullable=False, server_default=sa.text("0")))
