"""The answer to a check carries the correlation id of who asked for it."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Apply."""
    for table in ("connections", "mappings"):
        op.add_column(table, sa.Column("correlation_id", sa.String(128), nullable=True))
