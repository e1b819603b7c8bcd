"""Lists read from ConnectWise, and questions for them."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

from store.schema.columns import key, metadata, time

# Lists of choices read from ConnectWise, compressed: a user with 20,000 companies asks at every letter typed.
catalog_cache = Table(
    "catalog_cache",
    metadata,
    key("partner_id"),
    Column("tenant", String(512)),
    Column("cache_key", String(512)),
    time("fetched_at"),
    Column("choices", LargeBinary, nullable=False),
    PrimaryKeyConstraint("partner_id", "tenant", "cache_key"),
)

# Catalog questions, due until answered. The answer is kept for a command that waits, and for a repeated question.
catalog_questions = Table(
    "catalog_questions",
    metadata,
    key("partner_id"),
    key("message_id"),
    time("asked_at"),
    Column("event_json", Text),
    Column("answer_json", Text),
    time("due_at", nullable=True),
    PrimaryKeyConstraint("partner_id", "message_id"),
    CheckConstraint("(due_at IS NULL) = (answer_json IS NOT NULL)", name="due_until_answered"),
    CheckConstraint("(due_at IS NULL) = (event_json IS NULL)", name="what_was_asked_is_kept_until_answered"),
    Index(
        "ix_catalog_questions_due",
        "partner_id",
        "due_at",
        postgresql_where=text("due_at IS NOT NULL"),
        sqlite_where=text("due_at IS NOT NULL"),
    ),
)
