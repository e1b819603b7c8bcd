"""Mappings count the attempts to check them, so each comes later than the last, and a refusal ends them."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Apply."""
    op.add_column("mappings", sa.Column("check_attempts", sa.Integer(), server_default=sa.text("0"), nullable=False))
