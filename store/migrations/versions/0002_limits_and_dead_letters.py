"""Limits, operators' levers, and what a replay of dead letters needs."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "pauses",
        sa.Column("partner_id", sa.String(length=128), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("paused_by", sa.String(length=256), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner_id", name=op.f("pk_pauses")),
    )
    op.create_table(
        "cancellations",
        sa.Column("partner_id", sa.String(length=128), nullable=False),
        sa.Column("push_id", sa.String(length=128), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_by", sa.String(length=256), nullable=False),
        sa.PrimaryKeyConstraint("partner_id", "push_id", name=op.f("pk_cancellations")),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.add_column("leases", sa.Column("limited_since", sa.DateTime(timezone=True), nullable=True))
    for column in (
        sa.Column("exchange", sa.String(length=128), nullable=True),
        sa.Column("sealed_with", sa.String(length=128), nullable=True),
        sa.Column("error_at", sa.String(length=255), nullable=False, server_default=sa.text("''")),
        sa.Column("returns", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("applied", sa.Integer(), nullable=False, server_default=sa.text("0")),
    ):
        op.add_column("dead_letters", column)
