"""The tables, for PostgreSQL and SQLite alike.

Times are UTC and sort as stored. `*_json` columns hold JSON text. Constraints make impossible states impossible,
so that a wrong line of code is an error and never a wrong invoice. All tables are in this one file, long as it is:
they refer to each other, and migrations are compared with the whole.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

FINAL_STATUSES = ("updated", "unchanged", "preview", "held", "skipped", "superseded", "cancelled", "failed")
OPEN_STATUSES = ("pending", "retrying")

EXCHANGE_DEFERRED = "connectwise.deferred"
"""Not an exchange of the broker: a worker handles these outbox rows itself; the routing key is their queue."""


def _quoted(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC datetime; naive ones are refused. SQLite keeps it as text that sorts."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Normalise to UTC; SQLite's text carries no zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the signature is SQLAlchemy's
        """Give the time back as UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite generates row numbers only for a column of exactly the type INTEGER.
_Counter = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


def _key(name: str) -> Column[str]:
    return Column(name, String(128), nullable=False)


def _time(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, UtcTime, nullable=nullable)


# All versions that were announced: the newest counts, and older ones tell under which ConnectWise tenant a mapping was
# made. Only the newest keeps its keys. `correlation_id` (in mappings too): that of the event that saved it, or last
# requested its check; NULL = stored by an older version.
connections = Table(
    "connections",
    metadata,
    _key("partner_id"),
    _time("changed_at"),
    _key("message_id"),
    Column("disconnected", Boolean, nullable=False),
    Column("tenant", Text),
    Column("site_url", Text),
    Column("company_identifier", String(128)),
    Column("public_key", String(256)),
    Column("key_id", String(128)),
    Column("box", Text),
    Column("ca_bundle", Text),
    Column("base_url", Text),
    _time("base_url_at", nullable=True),
    Column("api_version", Text),
    Column("answered", Boolean, nullable=False, server_default=text("false")),
    Column("check_json", Text),
    _time("check_due_at", nullable=True),
    Column("correlation_id", String(128)),
    PrimaryKeyConstraint("partner_id", "changed_at", "message_id"),
    CheckConstraint("disconnected = (tenant IS NULL)", name="tombstone_has_no_tenant"),
    CheckConstraint("NOT disconnected OR box IS NULL", name="tombstone_has_no_key"),
    CheckConstraint("NOT disconnected OR check_due_at IS NULL", name="tombstone_needs_no_check"),
    CheckConstraint("(box IS NULL) = (key_id IS NULL)", name="box_names_its_key"),
    CheckConstraint("(base_url IS NULL) = (base_url_at IS NULL)", name="base_url_has_its_time"),
)

mappings = Table(
    "mappings",
    metadata,
    _key("partner_id"),
    _key("company_id"),
    _time("changed_at"),
    _key("message_id"),
    Column("company_name", String(256), nullable=False),
    Column("cw_company_id", Integer),
    Column("agreement_id", Integer),
    Column("addition_id", Integer),
    Column("rule", String(8), nullable=False),
    Column("minimum", Integer),
    Column("allow_not_billable", Boolean, nullable=False, server_default=text("false")),
    Column("check_json", Text),
    _time("check_due_at", nullable=True),
    Column("check_attempts", Integer, nullable=False, server_default=text("0")),
    Column("correlation_id", String(128)),
    PrimaryKeyConstraint("partner_id", "company_id"),
    CheckConstraint("rule IN ('refuse', 'sum')", name="rule"),
    CheckConstraint("minimum IS NULL OR minimum BETWEEN 0 AND 1000000", name="minimum"),
    CheckConstraint("agreement_id IS NULL OR cw_company_id IS NOT NULL", name="agreement_needs_company"),
    CheckConstraint("addition_id IS NULL OR agreement_id IS NOT NULL", name="addition_needs_agreement"),
    Index("ix_mappings_addition", "partner_id", "agreement_id", "addition_id"),
)

pushes = Table(
    "pushes",
    metadata,
    _key("partner_id"),
    _key("push_id"),
    _key("message_id"),
    Column("correlation_id", String(128), nullable=False),
    Column("traceparent", String(64)),
    _time("requested_at"),
    Column("requested_by", String(256), nullable=False),
    Column("period_start", Date, nullable=False),
    Column("period_end", Date, nullable=False),
    Column("period_key", String(32), nullable=False),
    Column("mode", String(8), nullable=False),
    _time("connection_changed_at", nullable=True),
    Column("reverts", String(128)),
    Column("body_hash", String(64), nullable=False),
    Column("line_count", Integer, nullable=False),
    _time("accepted_at"),
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
    _key("partner_id"),
    _key("push_id"),
    _key("company_id"),
    Column("company_name", String(256), nullable=False),
    Column("billable_users", Integer, nullable=False),
    _time("mapping_changed_at", nullable=True),
    Column("confirmation_json", Text),
    Column("status", String(16), nullable=False),
    Column("sequence", Integer, nullable=False, server_default=text("0")),
    Column("result_id", String(128)),
    Column("result_json", Text),
    _time("result_at", nullable=True),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("round", Integer, nullable=False, server_default=text("0")),
    Column("reported", Boolean, nullable=False, server_default=text("false")),
    _time("preview_due_at", nullable=True),
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
    _key("partner_id"),
    _key("company_id"),
    Column("period_key", String(32), nullable=False),
    Column("period_start", Date, nullable=False),
    Column("period_end", Date, nullable=False),
    Column("billable_users", Integer, nullable=False),
    _time("requested_at"),
    _key("push_id"),
    _time("settled_requested_at", nullable=True),
    Column("settled_push_id", String(128)),
    Column("settled_tenant", Text),
    Column("settled_agreement_id", Integer),
    Column("settled_addition_id", Integer),
    _time("accepted_at"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    _time("first_failed_at", nullable=True),
    _time("reported_at", nullable=True),
    _time("due_at", nullable=True),
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

# One row per partner: the lock of its transactions, and the lease of the one worker that calls its ConnectWise.
# `wake_at`: when a worker is to take the lease, NULL = nothing waits; the holder sets it when it releases the lease.
# `results_until`: when the last of the results that are spread over time is sent.
leases = Table(
    "leases",
    metadata,
    _key("partner_id"),
    Column("token", String(36)),
    _time("until", nullable=True),
    _time("wake_at", nullable=True),
    Column("budget_tokens", Float),
    _time("budget_at", nullable=True),
    _time("paused_until", nullable=True),
    Column("paused_why", String(64)),
    Column("unreachable_count", Integer, nullable=False, server_default=text("0")),
    _time("unreachable_since", nullable=True),
    _time("limited_since", nullable=True),
    Column("failed_runs", Integer, nullable=False, server_default=text("0")),
    _time("results_until", nullable=True),
    PrimaryKeyConstraint("partner_id"),
    CheckConstraint("(token IS NULL) = (until IS NULL)", name="held_or_free"),
    CheckConstraint("(paused_until IS NULL) = (paused_why IS NULL)", name="a_pause_has_a_reason"),
    CheckConstraint("(unreachable_count = 0) = (unreachable_since IS NULL)", name="unreachable_since_the_first"),
    Index("ix_leases_wake_at", "wake_at"),
    Index("ix_leases_until", "until"),
)

# Pauses by operators, of one partner or of all (the empty id, which no partner has).
pauses = Table(
    "pauses",
    metadata,
    _key("partner_id"),
    _time("since"),
    Column("paused_by", String(256), nullable=False),
    Column("why", Text, nullable=False),
    PrimaryKeyConstraint("partner_id"),
)

# Cancelled pushes; a cancellation may arrive before its push.
cancellations = Table(
    "cancellations",
    metadata,
    _key("partner_id"),
    _key("push_id"),
    _time("requested_at"),
    Column("requested_by", String(256), nullable=False),
    PrimaryKeyConstraint("partner_id", "push_id"),
)

# Heartbeats of the workers, every few seconds. `clock_ahead`: seconds by which the machine's clock is ahead of the
# database's; negative = behind, NULL = a worker of an older version.
workers = Table(
    "workers",
    metadata,
    Column("id", String(36)),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    _time("started_at"),
    _time("seen_at"),
    Column("trouble", Text),
    Column("clock_ahead", Float),
    PrimaryKeyConstraint("id"),
)

# Append-only: opened before the PATCH, closed after it. An addition cannot have two open rows.
ledger = Table(
    "ledger",
    metadata,
    Column("id", _Counter, autoincrement=True),
    _key("partner_id"),
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
    _time("opened_at"),
    _time("call_until"),
    Column("quantity_after", Float),
    Column("http_status", Integer),
    Column("outcome", String(16)),
    _time("closed_at", nullable=True),
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

# Messages to send, and deferred messages (EXCHANGE_DEFERRED), which a worker handles from here.
outbox = Table(
    "outbox",
    metadata,
    Column("id", _Counter, autoincrement=True),
    _key("message_id"),
    _time("not_before"),
    Column("claim_token", String(36)),
    _time("claim_until", nullable=True),
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
    _time("first_failed_at"),
    _time("last_failed_at"),
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
    _time("corrected_at"),
    Column("corrected_by", String(256), nullable=False),
    PrimaryKeyConstraint("letter_id", "number"),
    ForeignKeyConstraint(["letter_id"], ["dead_letters.id"], ondelete="CASCADE"),
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
    _time("begun_at"),
    _time("ended_at", nullable=True),
    Column("state", String(16), nullable=False),
    Column("stopped_why", Text),
    Column("stop_by", String(256)),
    Column("history_json", Text, nullable=False, server_default=text("'[]'")),
    Column("rate", Float),
    Column("batch_seconds", Float, nullable=False),
    Column("step", Integer, nullable=False, server_default=text("0")),
    Column("claim_token", String(36)),
    _time("claim_until", nullable=True),
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

# Redelivered messages that are being handled, with the number of attempts.
in_hand = Table(
    "in_hand",
    metadata,
    Column("queue", String(255)),
    Column("message_key", String(128)),
    Column("tries", Integer, nullable=False),
    _time("since"),
    PrimaryKeyConstraint("queue", "message_key"),
    CheckConstraint("tries > 0", name="tries"),
)

# Lists of choices read from ConnectWise, compressed: a user with 20,000 companies asks at every letter typed.
catalog_cache = Table(
    "catalog_cache",
    metadata,
    _key("partner_id"),
    Column("tenant", String(512)),
    Column("cache_key", String(512)),
    _time("fetched_at"),
    Column("choices", LargeBinary, nullable=False),
    PrimaryKeyConstraint("partner_id", "tenant", "cache_key"),
)

# Catalog questions, due until answered. The answer is kept for a command that waits, and for a repeated question.
catalog_questions = Table(
    "catalog_questions",
    metadata,
    _key("partner_id"),
    _key("message_id"),
    _time("asked_at"),
    Column("event_json", Text),
    Column("answer_json", Text),
    _time("due_at", nullable=True),
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

# The read model of Sync Status: the newest result of each company, by (period, requested_at, sequence).
# `dismissed_at`: hidden by a user until the next result.
company_status = Table(
    "company_status",
    metadata,
    _key("partner_id"),
    _key("company_id"),
    Column("period_start", Date, nullable=False),
    Column("period_key", String(32), nullable=False),
    _time("requested_at"),
    Column("sequence", Integer, nullable=False),
    _key("push_id"),
    Column("status", String(16), nullable=False),
    Column("result_json", Text, nullable=False),
    _time("dismissed_at", nullable=True),
    PrimaryKeyConstraint("partner_id", "company_id"),
)

# The pages' own. `credential`: a fingerprint of the hash of the password that began the session.
web_sessions = Table(
    "web_sessions",
    metadata,
    Column("session_id", String(64)),
    Column("user_name", String(128), nullable=False),
    Column("credential", String(64), nullable=False),
    _time("created_at"),
    _time("seen_at"),
    PrimaryKeyConstraint("session_id"),
    Index("ix_web_sessions_user_name", "user_name"),
)

# The portal's own: the billable users of a period, as its files named them last. No worker reads them.
portal_counts = Table(
    "portal_counts",
    metadata,
    _key("partner_id"),
    Column("period_key", String(32), nullable=False),
    _key("company_id"),
    Column("company_name", String(256), nullable=False),
    Column("billable_users", Integer, nullable=False),
    _time("imported_at"),
    Column("imported_by", String(256), nullable=False),
    PrimaryKeyConstraint("partner_id", "period_key", "company_id"),
    CheckConstraint("billable_users BETWEEN 0 AND 1000000", name="billable_users"),
)

# The portal's own: what was chosen for a company last, as its event was sent, with the names that the user saw. It is
# shown until `mappings` has that version and its check.
portal_choices = Table(
    "portal_choices",
    metadata,
    _key("partner_id"),
    _key("company_id"),
    _time("changed_at"),
    Column("event_json", Text, nullable=False),
    Column("names_json", Text, nullable=False),
    PrimaryKeyConstraint("partner_id", "company_id"),
)

# The portal's own: the questions for suggestions that a partner has asked last.
portal_questions = Table(
    "portal_questions",
    metadata,
    _key("partner_id"),
    _key("message_id"),
    _time("asked_at", nullable=True),
    PrimaryKeyConstraint("partner_id", "message_id"),
)

# The portal's own: when it has sent a connection last, so that a push that follows waits for it.
portal_connections = Table(
    "portal_connections",
    metadata,
    _key("partner_id"),
    _time("changed_at"),
    PrimaryKeyConstraint("partner_id"),
)

# The portal's own: the events that its forms have sent, until a worker has had them for a day. A form that is sent
# twice sends the same event.
portal_requests = Table(
    "portal_requests",
    metadata,
    _key("partner_id"),
    _key("request_id"),
    Column("event_json", Text, nullable=False),
    _time("sent_at"),
    PrimaryKeyConstraint("partner_id", "request_id"),
    Index("ix_portal_requests_sent_at", "sent_at"),
)
