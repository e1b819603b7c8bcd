"""Questions for choices; their cache, which may be forgotten, is compressed."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply."""
    op.drop_table("catalog_cache")
    op.create_table(
        "catalog_cache",
        sa.Column("partner_id", sa.String(length=128), nullable=False),
        sa.Column("tenant", sa.String(length=512), nullable=False),
        sa.Column("cache_key", sa.String(length=512), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("choices", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("partner_id", "tenant", "cache_key", name=op.f("pk_catalog_cache")),
    )
    op.create_table(
        "catalog_questions",
        sa.Column("partner_id", sa.String(length=128), nullable=False),
        sa.Column("message_id", sa.String(length=128), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_json", sa.Text(), nullable=True),
        sa.Column("answer_json", sa.Text(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(due_at IS NULL) = (answer_json IS NOT NULL)", name=op.f("ck_catalog_questions_due_until_answered")
        ),
        sa.CheckConstraint(
            "(due_at IS NULL) = (event_json IS NULL)",
            name=op.f("ck_catalog_questions_what_was_asked_is_kept_until_answered"),
        ),
        sa.PrimaryKeyConstraint("partner_id", "message_id", name=op.f("pk_catalog_questions")),
    )
    op.create_index(
        "ix_catalog_questions_due",
        "catalog_questions",
        ["partner_id", "due_at"],
        postgresql_where=sa.text("due_at IS NOT NULL"),
        sqlite_where=sa.text("due_at IS NOT NULL"),
    )
