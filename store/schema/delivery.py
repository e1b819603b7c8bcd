"""Messages to be sent, messages in hand, and dead letters."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

from store.schema.columns import Counter, key, metadata, time

EXCHANGE_DEFERRED = "connectwise.deferred"
"""Not an exchange of the broker: a worker handles these outbox rows itself; the routing key is their queue."""

# Messages to send, and deferred messages (EXCHANGE_DEFERRED), which a worker handles from here.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Counter, autoincrement=True),
    key("message_id"),
    time("not_before"),
    Column("claim_token", String(36)),
    time("claim_until", nullable=True),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("exchange", String(128), nullable=False),
    Column("routing_key", String(255), nullable=False),
    Column("properties_json", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("partner_id", String(128)),
    Column("push_id", String(128)),
    PrimaryKeyConstraint("id"),
    CheckConstraint("(claim_token IS NULL) = (claim_until IS NULL)", name="claimed_or_free"),
    Index("ix_outbox_message", "message_id"),
    Index(
        "ix_outbox_push",
        "partner_id",
        "push_id",
        "id",
        postgresql_where=text("push_id IS NOT NULL"),
        sqlite_where=text("push_id IS NOT NULL"),
    ),
    Index(
        "ix_outbox_due",
        "not_before",
        "id",
        postgresql_where=text(f"exchange <> '{EXCHANGE_DEFERRED}'"),
        sqlite_where=text(f"exchange <> '{EXCHANGE_DEFERRED}'"),
    ),
    Index(
        "ix_outbox_deferred",
        "not_before",
        "id",
        postgresql_where=text(f"exchange = '{EXCHANGE_DEFERRED}'"),
        sqlite_where=text(f"exchange = '{EXCHANGE_DEFERRED}'"),
    ),
)

# Redelivered messages that are being handled, with the number of attempts.
in_hand = Table(
    "in_hand",
    metadata,
    Column("queue", String(255)),
    Column("message_key", String(128)),
    Column("tries", Integer, nullable=False),
    time("since"),
    PrimaryKeyConstraint("queue", "message_key"),
    CheckConstraint("tries > 0", name="tries"),
)

# `exchange` NULL = a replay goes straight to the queue; `sealed_with` = our key that the body is sealed to;
# `returns` = how often it failed again after a replay; `applied` = the number of the last replay that was handled.
dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", String(36)),
    Column("partner_id", String(128)),
    Column("message_id", String(128)),
    Column("kind", String(255)),
    Column("exchange", String(128)),
    Column("queue", String(255), nullable=False),
    Column("properties_json", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("sealed_with", String(128)),
    Column("reason", String(64), nullable=False),
    Column("error_type", String(255)),
    Column("error_at", String(255), nullable=False, server_default=text("''")),
    Column("error", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("attempts", Integer, nullable=False),
    time("first_failed_at"),
    time("last_failed_at"),
    Column("replays", Integer, nullable=False, server_default=text("0")),
    Column("returns", Integer, nullable=False, server_default=text("0")),
    Column("applied", Integer, nullable=False, server_default=text("0")),
    Column("state", String(16), nullable=False, server_default=text("'open'")),
    Column("history_json", Text, nullable=False, server_default=text("'[]'")),
    PrimaryKeyConstraint("id"),
    CheckConstraint("state IN ('open', 'replayed', 'discarded')", name="state"),
    Index("ix_dead_letters_open", "state", "partner_id", "last_failed_at"),
    Index("ix_dead_letters_fingerprint", "fingerprint", "state"),
    Index("ix_dead_letters_newest", "state", "last_failed_at", "id"),
    Index("ix_dead_letters_cause", "state", "reason", "kind"),
)

# The body of a dead letter before an operator corrected it for the replay of this number.
dead_letter_originals = Table(
    "dead_letter_originals",
    metadata,
    Column("letter_id", String(36), nullable=False),
    Column("number", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    time("corrected_at"),
    Column("corrected_by", String(256), nullable=False),
    PrimaryKeyConstraint("letter_id", "number"),
    ForeignKeyConstraint(["letter_id"], ["dead_letters.id"], ondelete="CASCADE"),
)
