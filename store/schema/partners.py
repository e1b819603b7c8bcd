"""Partners: their connections and mappings, the lease of the one worker that serves them, and pauses."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

from store.schema.columns import key, metadata, time

# All versions that were announced: the newest counts, and older ones tell under which ConnectWise tenant a mapping was
# made. Only the newest keeps its keys. `correlation_id` (in mappings too): that of the event that saved it, or last
# requested its check; NULL = stored by an older version.
connections = Table(
    "connections",
    metadata,
    key("partner_id"),
    time("changed_at"),
    key("message_id"),
    Column("disconnected", Boolean, nullable=False),
    Column("tenant", Text),
    Column("site_url", Text),
    Column("company_identifier", String(128)),
    Column("public_key", String(256)),
    Column("key_id", String(128)),
    Column("box", Text),
    Column("ca_bundle", Text),
    Column("base_url", Text),
    time("base_url_at", nullable=True),
    Column("api_version", Text),
    Column("answered", Boolean, nullable=False, server_default=text("false")),
    Column("check_json", Text),
    time("check_due_at", nullable=True),
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
    key("partner_id"),
    key("company_id"),
    time("changed_at"),
    key("message_id"),
    Column("company_name", String(256), nullable=False),
    Column("cw_company_id", Integer),
    Column("agreement_id", Integer),
    Column("addition_id", Integer),
    Column("rule", String(8), nullable=False),
    Column("minimum", Integer),
    Column("allow_not_billable", Boolean, nullable=False, server_default=text("false")),
    Column("check_json", Text),
    time("check_due_at", nullable=True),
    Column("check_attempts", Integer, nullable=False, server_default=text("0")),
    Column("correlation_id", String(128)),
    PrimaryKeyConstraint("partner_id", "company_id"),
    CheckConstraint("rule IN ('refuse', 'sum')", name="rule"),
    CheckConstraint("minimum IS NULL OR minimum BETWEEN 0 AND 1000000", name="minimum"),
    CheckConstraint("agreement_id IS NULL OR cw_company_id IS NOT NULL", name="agreement_needs_company"),
    CheckConstraint("addition_id IS NULL OR agreement_id IS NOT NULL", name="addition_needs_agreement"),
    Index("ix_mappings_addition", "partner_id", "agreement_id", "addition_id"),
)

# One row per partner: the lock of its transactions, and the lease of the one worker that calls its ConnectWise.
# `wake_at`: when a worker is to take the lease, NULL = nothing waits; the holder sets it when it releases the lease.
# `results_until`: when the last of the results that are spread over time is sent.
leases = Table(
    "leases",
    metadata,
    key("partner_id"),
    Column("token", String(36)),
    time("until", nullable=True),
    time("wake_at", nullable=True),
    Column("budget_tokens", Float),
    time("budget_at", nullable=True),
    time("paused_until", nullable=True),
    Column("paused_why", String(64)),
    Column("unreachable_count", Integer, nullable=False, server_default=text("0")),
    time("unreachable_since", nullable=True),
    time("limited_since", nullable=True),
    Column("failed_runs", Integer, nullable=False, server_default=text("0")),
    time("results_until", nullable=True),
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
    key("partner_id"),
    time("since"),
    Column("paused_by", String(256), nullable=False),
    Column("why", Text, nullable=False),
    PrimaryKeyConstraint("partner_id"),
)
