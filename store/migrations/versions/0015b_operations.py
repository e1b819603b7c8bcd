"""Operators' actions are kept with their progress; a dead letter that was corrected keeps its first body."""

import sqlalchemy as sa
from alembic import op

revision = "0015b"
down_revision = "0015a"

NONE = sa.text("0")
RUNNING = sa.text("state = 'running'")


def upgrade() -> None:
    """Apply."""
    op.create_index("ix_dead_letters_newest", "dead_letters", ["state", "last_failed_at", "id"])
    op.create_index("ix_dead_letters_cause", "dead_letters", ["state", "reason", "kind"])
    op.create_table(
        "dead_letter_originals",
        sa.Column("letter_id", sa.String(36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("corrected_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("corrected_by", sa.String(256), nullable=False),
        sa.PrimaryKeyConstraint("letter_id", "number", name=op.f("pk_dead_letter_originals")),
        sa.ForeignKeyConstraint(
            ["letter_id"],
            ["dead_letters.id"],
            name=op.f("fk_dead_letter_originals_dead_letters"),
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "operations",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("begun_by", sa.String(256), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("partner_id", sa.String(128), nullable=True),
        sa.Column("chosen_json", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("stopped_why", sa.Text(), nullable=True),
        sa.Column("stop_by", sa.String(256), nullable=True),
        sa.Column("history_json", sa.Text(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("rate", sa.Float(), nullable=True),
        sa.Column("batch_seconds", sa.Float(), nullable=False),
        sa.Column("step", sa.Integer(), server_default=NONE, nullable=False),
        sa.Column("claim_token", sa.String(36), nullable=True),
        sa.Column("claim_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("sent", sa.Integer(), server_default=NONE, nullable=False),
        sa.Column("done", sa.Integer(), server_default=NONE, nullable=False),
        sa.Column("came_back", sa.Integer(), server_default=NONE, nullable=False),
        sa.Column("refused", sa.Integer(), server_default=NONE, nullable=False),
        sa.Column("overtaken", sa.Integer(), server_default=NONE, nullable=False),
        sa.Column("failed", sa.Integer(), server_default=NONE, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
        sa.CheckConstraint("state IN ('running', 'ended', 'stopped')", name=op.f("ck_operations_state")),
        sa.CheckConstraint("(state = 'running') = (ended_at IS NULL)", name=op.f("ck_operations_ended_or_running")),
        sa.CheckConstraint(
            "(state = 'stopped') = (stopped_why IS NOT NULL)", name=op.f("ck_operations_stopped_for_a_reason")
        ),
        sa.CheckConstraint("(claim_token IS NULL) = (claim_until IS NULL)", name=op.f("ck_operations_claimed_or_free")),
    )
    op.create_index("ix_operations_begun_at", "operations", ["begun_at", "id"])
    op.create_index(
        "ix_operations_running", "operations", ["claim_until"], postgresql_where=RUNNING, sqlite_where=RUNNING
    )
    op.create_table(
        "operation_letters",
        sa.Column("operation_id", sa.String(36), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("letter_id", sa.String(36), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("returns_before", sa.Integer(), nullable=True),
        sa.Column("overtaken", sa.Integer(), server_default=NONE, nullable=False),
        sa.Column("failed", sa.Integer(), server_default=NONE, nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("operation_id", "position", name=op.f("pk_operation_letters")),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["operations.id"],
            name=op.f("fk_operation_letters_operations"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "state IN ('waiting', 'sent', 'done', 'came back', 'refused')", name=op.f("ck_operation_letters_state")
        ),
        sa.CheckConstraint(
            "state NOT IN ('refused', 'came back') OR problem IS NOT NULL",
            name=op.f("ck_operation_letters_a_refusal_has_a_reason"),
        ),
    )
    op.create_index("ix_operation_letters_state", "operation_letters", ["operation_id", "state", "position"])
