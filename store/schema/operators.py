"""Workers, and the actions of operators."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

from store.schema.columns import metadata, time

# Heartbeats of the workers, every few seconds. `clock_ahead`: seconds by which the machine's clock is ahead of the
# database's; negative = behind, NULL = a worker of an older version.
workers = Table(
    "workers",
    metadata,
    Column("id", String(36)),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    time("started_at"),
    time("seen_at"),
    Column("trouble", Text),
    Column("clock_ahead", Float),
    PrimaryKeyConstraint("id"),
)

# Actions of operators: what was chosen, by whom and why, and what became of it. One on many dead letters runs for a
# while: whoever carries it out has it claimed, and `step` counts its batches. `history_json` has who stopped it and who
# went on. `overtaken` and `failed` count lines of pushes, the others dead letters.
operations = Table(
    "operations",
    metadata,
    Column("id", String(36)),
    Column("kind", String(16), nullable=False),
    Column("origin", String(16), nullable=False),
    Column("begun_by", String(256), nullable=False),
    Column("why", Text),
    Column("partner_id", String(128)),
    Column("chosen_json", Text, nullable=False),
    time("begun_at"),
    time("ended_at", nullable=True),
    Column("state", String(16), nullable=False),
    Column("stopped_why", Text),
    Column("stop_by", String(256)),
    Column("history_json", Text, nullable=False, server_default=text("'[]'")),
    Column("rate", Float),
    Column("batch_seconds", Float, nullable=False),
    Column("step", Integer, nullable=False, server_default=text("0")),
    Column("claim_token", String(36)),
    time("claim_until", nullable=True),
    Column("total", Integer, nullable=False),
    Column("sent", Integer, nullable=False, server_default=text("0")),
    Column("done", Integer, nullable=False, server_default=text("0")),
    Column("came_back", Integer, nullable=False, server_default=text("0")),
    Column("refused", Integer, nullable=False, server_default=text("0")),
    Column("overtaken", Integer, nullable=False, server_default=text("0")),
    Column("failed", Integer, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("id"),
    CheckConstraint("state IN ('running', 'ended', 'stopped')", name="state"),
    CheckConstraint("(state = 'running') = (ended_at IS NULL)", name="ended_or_running"),
    CheckConstraint("(state = 'stopped') = (stopped_why IS NOT NULL)", name="stopped_for_a_reason"),
    CheckConstraint("(claim_token IS NULL) = (claim_until IS NULL)", name="claimed_or_free"),
    Index("ix_operations_begun_at", "begun_at", "id"),
    Index(
        "ix_operations_running",
        "claim_until",
        postgresql_where=text("state = 'running'"),
        sqlite_where=text("state = 'running'"),
    ),
)

# The dead letters of an operation, in its order. `returns_before`: how often the letter had come back before its
# replay, whose number is `number`. `problem`: why it was refused, or with which error it came back.
operation_letters = Table(
    "operation_letters",
    metadata,
    Column("operation_id", String(36), nullable=False),
    Column("position", Integer, nullable=False),
    Column("letter_id", String(36), nullable=False),
    Column("state", String(16), nullable=False),
    Column("number", Integer),
    Column("returns_before", Integer),
    Column("overtaken", Integer, nullable=False, server_default=text("0")),
    Column("failed", Integer, nullable=False, server_default=text("0")),
    Column("problem", Text),
    PrimaryKeyConstraint("operation_id", "position"),
    ForeignKeyConstraint(["operation_id"], ["operations.id"], ondelete="CASCADE"),
    CheckConstraint("state IN ('waiting', 'sent', 'done', 'came back', 'refused')", name="state"),
    CheckConstraint("state NOT IN ('refused', 'came back') OR problem IS NOT NULL", name="a_refusal_has_a_reason"),
    Index("ix_operation_letters_state", "operation_id", "state", "position"),
)
