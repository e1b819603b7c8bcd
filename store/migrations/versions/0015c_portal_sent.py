"""Requests that the portal's forms have sent, the newest connection, and when questions for suggestions were asked."""

import sqlalchemy as sa
from alembic import op

revision = "0015c"
down_revision = "0015b"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "portal_requests",
        sa.Column("partner_id", sa.String(length=128), nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("event_json", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("partner_id", "request_id", name=op.f("pk_portal_requests")),
    )
    op.create_index("ix_portal_requests_sent_at", "portal_requests", ["sent_at"])
    op.add_column("portal_questions", sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "portal_connections",
        sa.Column("partner_id", sa.String(length=128), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("partner_id", name=op.f("pk_portal_connections")),
    )
