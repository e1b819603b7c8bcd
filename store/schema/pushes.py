"""Pushes with their lines, the targets and writes that come of them, and what is shown of each company."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
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

from store.schema.columns import Counter, key, metadata, time

FINAL_STATUSES = ("updated", "unchanged", "preview", "held", "skipped", "superseded", "cancelled", "failed")
OPEN_STATUSES = ("pending", "retrying")


def _quoted(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


pushes = Table(
    "pushes",
    metadata,
    key("partner_id"),
    key("push_id"),
    key("message_id"),
    Column("correlation_id", String(128), nullable=False),
    Column("traceparent", String(64)),
    time("requested_at"),
    Column("requested_by", String(256), nullable=False),
    Column("period_start", Date, nullable=False),
    Column("period_end", Date, nullable=False),
    Column("period_key", String(32), nullable=False),
    Column("mode", String(8), nullable=False),
    time("connection_changed_at", nullable=True),
    Column("reverts", String(128)),
    Column("body_hash", String(64), nullable=False),
    Column("line_count", Integer, nullable=False),
    time("accepted_at"),
    Column("round", Integer, nullable=False, server_default=text("0")),
    Column("state", String(16), nullable=False),
    Column("completed_json", Text),
    PrimaryKeyConstraint("partner_id", "push_id"),
    CheckConstraint("mode IN ('apply', 'preview', 'revert')", name="mode"),
    CheckConstraint("(mode = 'revert') = (reverts IS NOT NULL)", name="a_revert_names_its_push"),
    CheckConstraint("state IN ('accepted', 'completed', 'cancelled', 'refused')", name="state"),
    CheckConstraint("(state = 'accepted') = (completed_json IS NULL)", name="completion_is_kept"),
    CheckConstraint("period_start <= period_end", name="period"),
    Index(
        "ix_pushes_accepted",
        "partner_id",
        "push_id",
        postgresql_where=text("state = 'accepted'"),
        sqlite_where=text("state = 'accepted'"),
    ),
)

# `reported`: a version before 0015 has set it, and a line that is opened again takes it back. A preview's line is due
# itself; the line of an apply is due as a target (syncs), and so is a revert's that has something to restore: the
# quantity to put back, and the one that the addition must still hold. Both are from the ledger, as the mapping may have
# changed since.
push_lines = Table(
    "push_lines",
    metadata,
    key("partner_id"),
    key("push_id"),
    key("company_id"),
    Column("company_name", String(256), nullable=False),
    Column("billable_users", Integer, nullable=False),
    time("mapping_changed_at", nullable=True),
    Column("confirmation_json", Text),
    Column("status", String(16), nullable=False),
    Column("sequence", Integer, nullable=False, server_default=text("0")),
    Column("result_id", String(128)),
    Column("result_json", Text),
    time("result_at", nullable=True),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("round", Integer, nullable=False, server_default=text("0")),
    Column("reported", Boolean, nullable=False, server_default=text("false")),
    time("preview_due_at", nullable=True),
    Column("restore_tenant", Text),
    Column("restore_agreement_id", Integer),
    Column("restore_addition_id", Integer),
    Column("restore_quantity", Float),
    Column("restore_holds", Float),
    PrimaryKeyConstraint("partner_id", "push_id", "company_id"),
    ForeignKeyConstraint(["partner_id", "push_id"], ["pushes.partner_id", "pushes.push_id"], ondelete="CASCADE"),
    CheckConstraint(f"status IN ({_quoted(OPEN_STATUSES + FINAL_STATUSES)})", name="status"),
    CheckConstraint("billable_users BETWEEN 0 AND 1000000", name="billable_users"),
    CheckConstraint("(status = 'pending') = (result_json IS NULL)", name="every_answer_is_kept"),
    CheckConstraint("(result_json IS NULL) = (result_id IS NULL)", name="every_answer_has_an_id"),
    CheckConstraint("NOT reported OR status NOT IN ('pending', 'retrying')", name="only_final_is_reported"),
    CheckConstraint("preview_due_at IS NULL OR status = 'pending'", name="answered_is_not_due"),
    CheckConstraint(
        "(restore_tenant IS NULL) = (restore_holds IS NULL)"
        " AND (restore_agreement_id IS NULL) = (restore_holds IS NULL)"
        " AND (restore_addition_id IS NULL) = (restore_holds IS NULL)"
        " AND (restore_quantity IS NULL) = (restore_holds IS NULL)",
        name="restore_is_whole",
    ),
    CheckConstraint("restore_quantity IS NULL OR restore_quantity >= 0", name="restore_can_be_written"),
    Index(
        "ix_push_lines_preview_due",
        "partner_id",
        "preview_due_at",
        postgresql_where=text("preview_due_at IS NOT NULL"),
        sqlite_where=text("preview_due_at IS NOT NULL"),
    ),
    Index(
        "ix_push_lines_open",
        "partner_id",
        "push_id",
        postgresql_where=text(f"status IN ({_quoted(OPEN_STATUSES)})"),
        sqlite_where=text(f"status IN ({_quoted(OPEN_STATUSES)})"),
    ),
)

# Targets: the newest users requested, with their version; due as long as that version is not the settled one. The
# settled addition is the one that was made to match, NULL if the line ended in another way.
syncs = Table(
    "syncs",
    metadata,
    key("partner_id"),
    key("company_id"),
    Column("period_key", String(32), nullable=False),
    Column("period_start", Date, nullable=False),
    Column("period_end", Date, nullable=False),
    Column("billable_users", Integer, nullable=False),
    time("requested_at"),
    key("push_id"),
    time("settled_requested_at", nullable=True),
    Column("settled_push_id", String(128)),
    Column("settled_tenant", Text),
    Column("settled_agreement_id", Integer),
    Column("settled_addition_id", Integer),
    time("accepted_at"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    time("first_failed_at", nullable=True),
    time("reported_at", nullable=True),
    time("due_at", nullable=True),
    PrimaryKeyConstraint("partner_id", "company_id", "period_key"),
    ForeignKeyConstraint(
        ["partner_id", "push_id", "company_id"],
        ["push_lines.partner_id", "push_lines.push_id", "push_lines.company_id"],
    ),
    CheckConstraint("billable_users BETWEEN 0 AND 1000000", name="billable_users"),
    CheckConstraint("(settled_push_id IS NULL) = (settled_requested_at IS NULL)", name="settled_version_is_whole"),
    CheckConstraint(
        "(due_at IS NULL) = (settled_push_id IS NOT NULL AND settled_push_id = push_id"
        " AND settled_requested_at = requested_at)",
        name="due_until_settled",
    ),
    Index("ix_syncs_settled_addition", "partner_id", "settled_agreement_id", "settled_addition_id"),
    Index(
        "ix_syncs_due",
        "partner_id",
        "due_at",
        postgresql_where=text("due_at IS NOT NULL"),
        sqlite_where=text("due_at IS NOT NULL"),
    ),
)

# Cancelled pushes; a cancellation may arrive before its push.
cancellations = Table(
    "cancellations",
    metadata,
    key("partner_id"),
    key("push_id"),
    time("requested_at"),
    Column("requested_by", String(256), nullable=False),
    PrimaryKeyConstraint("partner_id", "push_id"),
)

# Append-only: opened before the PATCH, closed after it. An addition cannot have two open rows.
ledger = Table(
    "ledger",
    metadata,
    Column("id", Counter, autoincrement=True),
    key("partner_id"),
    Column("tenant", Text, nullable=False),
    Column("agreement_id", Integer, nullable=False),
    Column("addition_id", Integer, nullable=False),
    Column("push_id", String(128), nullable=False),
    Column("period_key", String(32), nullable=False),
    Column("period_start", Date, nullable=False),
    Column("period_end", Date, nullable=False),
    Column("companies_json", Text, nullable=False),
    Column("quantity_before", Float),
    Column("quantity_wanted", Float, nullable=False),
    time("opened_at"),
    time("call_until"),
    Column("quantity_after", Float),
    Column("http_status", Integer),
    Column("outcome", String(16)),
    time("closed_at", nullable=True),
    PrimaryKeyConstraint("id"),
    CheckConstraint("(outcome IS NULL) = (closed_at IS NULL)", name="open_or_closed"),
    CheckConstraint(
        "outcome IN ('written', 'not_kept', 'refused', 'not_sent', 'not_applied', 'unknown')", name="outcome"
    ),
    CheckConstraint(
        "outcome <> 'written' OR (quantity_after IS NOT NULL AND quantity_after = quantity_wanted)",
        name="written_means_kept",
    ),
    Index(
        "uq_ledger_open",
        "partner_id",
        "tenant",
        "agreement_id",
        "addition_id",
        unique=True,
        postgresql_where=text("closed_at IS NULL"),
        sqlite_where=text("closed_at IS NULL"),
    ),
    Index("ix_ledger_addition", "partner_id", "tenant", "agreement_id", "addition_id", "period_start"),
    Index("ix_ledger_push", "partner_id", "push_id"),
    Index("ix_ledger_partner", "partner_id", "id"),
)

# The read model of Sync Status: the newest result of each company, by (period, requested_at, sequence).
# `dismissed_at`: hidden by a user until the next result.
company_status = Table(
    "company_status",
    metadata,
    key("partner_id"),
    key("company_id"),
    Column("period_start", Date, nullable=False),
    Column("period_key", String(32), nullable=False),
    time("requested_at"),
    Column("sequence", Integer, nullable=False),
    key("push_id"),
    Column("status", String(16), nullable=False),
    Column("result_json", Text, nullable=False),
    time("dismissed_at", nullable=True),
    PrimaryKeyConstraint("partner_id", "company_id"),
)
