"""Sessions of the pages' users; the counts, choices and questions that the portal remembers."""

import sqlalchemy as sa
from alembic import op

revision = "0015a"
down_revision = "0015"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "web_sessions",
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("user_name", sa.String(length=128), nullable=False),
        sa.Column("credential", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_web_sessions")),
    )
    op.create_index("ix_web_sessions_user_name", "web_sessions", ["user_name"])
    op.create_table(
        "portal_counts",
        sa.Column("partner_id", sa.String(length=128), nullable=False),
        sa.Column("period_key", sa.String(length=32), nullable=False),
        sa.Column("company_id", sa.String(length=128), nullable=False),
        sa.Column("company_name", sa.String(length=256), nullable=False),
        sa.Column("billable_users", sa.Integer(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("imported_by", sa.String(length=256), nullable=False),
        sa.CheckConstraint("billable_users BETWEEN 0 AND 1000000", name=op.f("ck_portal_counts_billable_users")),
        sa.PrimaryKeyConstraint("partner_id", "period_key", "company_id", name=op.f("pk_portal_counts")),
    )
    op.create_table(
        "portal_choices",
        sa.Column("partner_id", sa.String(length=128), nullable=False),
        sa.Column("company_id", sa.String(length=128), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_json", sa.Text(), nullable=False),
        sa.Column("names_json", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner_id", "company_id", name=op.f("pk_portal_choices")),
    )
    op.create_table(
        "portal_questions",
        sa.Column("partner_id", sa.String(length=128), nullable=False),
        sa.Column("message_id", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("partner_id", "message_id", name=op.f("pk_portal_questions")),
    )
