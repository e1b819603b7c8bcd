"""The tables as they are from the start."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "catalog_cache",
        sa.Column("partner_id", sa.String(length=128), nullable=False),
        sa.Column("tenant", sa.String(length=512), nullable=False),
        sa.Column("cache_key", sa.String(length=512), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("choices_json", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner_id", "tenant", "cache_key", name=op.f("pk_catalog_cache")),
    )
    op.create_table(
        "company_status",
        sa.Column("partner_id", sa.String(length=128), nullable=False),
        sa.Column("company_id", sa.String(length=128), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("period_key", sa.String(length=32), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("push_id", sa.String(length=128), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("result_json", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner_id", "company_id", name=op.f("pk_company_status")),
    )
    op.create_table(
        "connections",
        sa.Column("partner_id", sa.String(length=128), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message_id", sa.String(length=128), nullable=False),
        sa.Column("disconnected", sa.Boolean(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=True),
        sa.Column("site_url", sa.Text(), nullable=True),
        sa.Column("company_identifier", sa.String(length=128), nullable=True),
        sa.Column("public_key", sa.String(length=256), nullable=True),
        sa.Column("key_id", sa.String(length=128), nullable=True),
        sa.Column("box", sa.Text(), nullable=True),
        sa.Column("ca_bundle", sa.Text(), nullable=True),
        sa.Column("base_url", sa.Text(), nullable=True),
        sa.Column("base_url_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("check_json", sa.Text(), nullable=True),
        sa.Column("check_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(base_url IS NULL) = (base_url_at IS NULL)", name=op.f("ck_connections_base_url_has_its_time")
        ),
        sa.CheckConstraint("(box IS NULL) = (key_id IS NULL)", name=op.f("ck_connections_box_names_its_key")),
        sa.CheckConstraint("NOT disconnected OR box IS NULL", name=op.f("ck_connections_tombstone_has_no_key")),
        sa.CheckConstraint(
            "NOT disconnected OR check_due_at IS NULL", name=op.f("ck_connections_tombstone_needs_no_check")
        ),
        sa.CheckConstraint("disconnected = (tenant IS NULL)", name=op.f("ck_connections_tombstone_has_no_tenant")),
        sa.PrimaryKeyConstraint("partner_id", "changed_at", "message_id", name=op.f("pk_connections")),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("partner_id", sa.String(length=128), nullable=True),
        sa.Column("message_id", sa.String(length=128), nullable=True),
        sa.Column("kind", sa.String(length=255), nullable=True),
        sa.Column("queue", sa.String(length=255), nullable=False),
        sa.Column("properties_json", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("error_type", sa.String(length=255), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("replays", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("state", sa.String(length=16), server_default=sa.text("'open'"), nullable=False),
        sa.Column("history_json", sa.Text(), server_default=sa.text("'[]'"), nullable=False),
        sa.CheckConstraint("state IN ('open', 'replayed', 'discarded')", name=op.f("ck_dead_letters_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
    )
    op.create_index("ix_dead_letters_fingerprint", "dead_letters", ["fingerprint", "state"], unique=False)
    op.create_index("ix_dead_letters_open", "dead_letters", ["state", "partner_id", "last_failed_at"], unique=False)
    op.create_table(
        "in_hand",
        sa.Column("queue", sa.String(length=255), nullable=False),
        sa.Column("message_key", sa.String(length=128), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("tries > 0", name=op.f("ck_in_hand_tries")),
        sa.PrimaryKeyConstraint("queue", "message_key", name=op.f("pk_in_hand")),
    )
    op.create_table(
        "leases",
        sa.Column("partner_id", sa.String(length=128), nullable=False),
        sa.Column("token", sa.String(length=36), nullable=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("wake_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("budget_tokens", sa.Float(), nullable=True),
        sa.Column("budget_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_why", sa.String(length=64), nullable=True),
        sa.Column("unreachable_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("unreachable_since", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(paused_until IS NULL) = (paused_why IS NULL)", name=op.f("ck_leases_a_pause_has_a_reason")
        ),
        sa.CheckConstraint("(token IS NULL) = (until IS NULL)", name=op.f("ck_leases_held_or_free")),
        sa.CheckConstraint(
            "(unreachable_count = 0) = (unreachable_since IS NULL)", name=op.f("ck_leases_unreachable_since_the_first")
        ),
        sa.PrimaryKeyConstraint("partner_id", name=op.f("pk_leases")),
    )
    op.create_table(
        "ledger",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("partner_id", sa.String(length=128), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("agreement_id", sa.Integer(), nullable=False),
        sa.Column("addition_id", sa.Integer(), nullable=False),
        sa.Column("push_id", sa.String(length=128), nullable=False),
        sa.Column("period_key", sa.String(length=32), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("period_end", sa.Date(), nullable=False),
        sa.Column("companies_json", sa.Text(), nullable=False),
        sa.Column("quantity_before", sa.Float(), nullable=True),
        sa.Column("quantity_wanted", sa.Float(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("call_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("quantity_after", sa.Float(), nullable=True),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "outcome <> 'written' OR (quantity_after IS NOT NULL AND quantity_after = quantity_wanted)",
            name=op.f("ck_ledger_written_means_kept"),
        ),
        sa.CheckConstraint(
            "outcome IN ('written', 'not_kept', 'refused', 'not_sent', 'not_applied', 'unknown')",
            name=op.f("ck_ledger_outcome"),
        ),
        sa.CheckConstraint("(outcome IS NULL) = (closed_at IS NULL)", name=op.f("ck_ledger_open_or_closed")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger")),
    )
    op.create_index(
        "ix_ledger_addition",
        "ledger",
        ["partner_id", "tenant", "agreement_id", "addition_id", "period_start"],
        unique=False,
    )
    op.create_index("ix_ledger_push", "ledger", ["partner_id", "push_id"], unique=False)
    op.create_index(
        "uq_ledger_open",
        "ledger",
        ["partner_id", "tenant", "agreement_id", "addition_id"],
        unique=True,
        postgresql_where=sa.text("closed_at IS NULL"),
        sqlite_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "mappings",
        sa.Column("partner_id", sa.String(length=128), nullable=False),
        sa.Column("company_id", sa.String(length=128), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message_id", sa.String(length=128), nullable=False),
        sa.Column("company_name", sa.String(length=256), nullable=False),
        sa.Column("cw_company_id", sa.Integer(), nullable=True),
        sa.Column("agreement_id", sa.Integer(), nullable=True),
        sa.Column("addition_id", sa.Integer(), nullable=True),
        sa.Column("rule", sa.String(length=8), nullable=False),
        sa.Column("minimum", sa.Integer(), nullable=True),
        sa.Column("check_json", sa.Text(), nullable=True),
        sa.Column("check_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("rule IN ('refuse', 'sum')", name=op.f("ck_mappings_rule")),
        sa.CheckConstraint(
            "addition_id IS NULL OR agreement_id IS NOT NULL", name=op.f("ck_mappings_addition_needs_agreement")
        ),
        sa.CheckConstraint(
            "agreement_id IS NULL OR cw_company_id IS NOT NULL", name=op.f("ck_mappings_agreement_needs_company")
        ),
        sa.CheckConstraint("minimum IS NULL OR minimum BETWEEN 0 AND 1000000", name=op.f("ck_mappings_minimum")),
        sa.PrimaryKeyConstraint("partner_id", "company_id", name=op.f("pk_mappings")),
    )
    op.create_index("ix_mappings_addition", "mappings", ["partner_id", "agreement_id", "addition_id"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("message_id", sa.String(length=128), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claim_token", sa.String(length=36), nullable=True),
        sa.Column("claim_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("exchange", sa.String(length=128), nullable=False),
        sa.Column("routing_key", sa.String(length=255), nullable=False),
        sa.Column("properties_json", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("(claim_token IS NULL) = (claim_until IS NULL)", name=op.f("ck_outbox_claimed_or_free")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index("ix_outbox_due", "outbox", ["not_before", "id"], unique=False)
    op.create_table(
        "pushes",
        sa.Column("partner_id", sa.String(length=128), nullable=False),
        sa.Column("push_id", sa.String(length=128), nullable=False),
        sa.Column("message_id", sa.String(length=128), nullable=False),
        sa.Column("correlation_id", sa.String(length=128), nullable=False),
        sa.Column("traceparent", sa.String(length=64), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_by", sa.String(length=256), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("period_end", sa.Date(), nullable=False),
        sa.Column("period_key", sa.String(length=32), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("connection_changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("body_hash", sa.String(length=64), nullable=False),
        sa.Column("line_count", sa.Integer(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("round", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("completed_json", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state = 'accepted') = (completed_json IS NULL)", name=op.f("ck_pushes_completion_is_kept")
        ),
        sa.CheckConstraint("mode IN ('apply', 'preview')", name=op.f("ck_pushes_mode")),
        sa.CheckConstraint("state IN ('accepted', 'completed', 'cancelled')", name=op.f("ck_pushes_state")),
        sa.CheckConstraint("period_start <= period_end", name=op.f("ck_pushes_period")),
        sa.PrimaryKeyConstraint("partner_id", "push_id", name=op.f("pk_pushes")),
    )
    op.create_table(
        "push_lines",
        sa.Column("partner_id", sa.String(length=128), nullable=False),
        sa.Column("push_id", sa.String(length=128), nullable=False),
        sa.Column("company_id", sa.String(length=128), nullable=False),
        sa.Column("company_name", sa.String(length=256), nullable=False),
        sa.Column("billable_users", sa.Integer(), nullable=False),
        sa.Column("mapping_changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("confirmation_json", sa.Text(), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("sequence", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("result_id", sa.String(length=128), nullable=True),
        sa.Column("result_json", sa.Text(), nullable=True),
        sa.Column("result_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("round", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("reported", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("preview_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(status = 'pending') = (result_json IS NULL)", name=op.f("ck_push_lines_every_answer_is_kept")
        ),
        sa.CheckConstraint(
            "NOT reported OR status NOT IN ('pending', 'retrying')", name=op.f("ck_push_lines_only_final_is_reported")
        ),
        sa.CheckConstraint(
            "preview_due_at IS NULL OR status = 'pending'", name=op.f("ck_push_lines_answered_is_not_due")
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'retrying', 'updated', 'unchanged', 'preview', 'held', 'skipped', 'superseded', 'cancelled', 'failed')",
            name=op.f("ck_push_lines_status"),
        ),
        sa.CheckConstraint(
            "(result_json IS NULL) = (result_id IS NULL)", name=op.f("ck_push_lines_every_answer_has_an_id")
        ),
        sa.CheckConstraint("billable_users BETWEEN 0 AND 1000000", name=op.f("ck_push_lines_billable_users")),
        sa.ForeignKeyConstraint(
            ["partner_id", "push_id"],
            ["pushes.partner_id", "pushes.push_id"],
            name=op.f("fk_push_lines_pushes"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("partner_id", "push_id", "company_id", name=op.f("pk_push_lines")),
    )
    op.create_index(
        "ix_push_lines_preview_due",
        "push_lines",
        ["partner_id", "preview_due_at"],
        unique=False,
        postgresql_where=sa.text("preview_due_at IS NOT NULL"),
        sqlite_where=sa.text("preview_due_at IS NOT NULL"),
    )
    op.create_index(
        "ix_push_lines_unreported",
        "push_lines",
        ["partner_id", "push_id"],
        unique=False,
        postgresql_where=sa.text("NOT reported"),
        sqlite_where=sa.text("NOT reported"),
    )
    op.create_table(
        "syncs",
        sa.Column("partner_id", sa.String(length=128), nullable=False),
        sa.Column("company_id", sa.String(length=128), nullable=False),
        sa.Column("period_key", sa.String(length=32), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("period_end", sa.Date(), nullable=False),
        sa.Column("billable_users", sa.Integer(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("push_id", sa.String(length=128), nullable=False),
        sa.Column("settled_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_push_id", sa.String(length=128), nullable=True),
        sa.Column("settled_tenant", sa.Text(), nullable=True),
        sa.Column("settled_agreement_id", sa.Integer(), nullable=True),
        sa.Column("settled_addition_id", sa.Integer(), nullable=True),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("first_failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(due_at IS NULL) = (settled_push_id IS NOT NULL AND settled_push_id = push_id AND settled_requested_at = requested_at)",
            name=op.f("ck_syncs_due_until_settled"),
        ),
        sa.CheckConstraint(
            "(settled_push_id IS NULL) = (settled_requested_at IS NULL)", name=op.f("ck_syncs_settled_version_is_whole")
        ),
        sa.CheckConstraint("billable_users BETWEEN 0 AND 1000000", name=op.f("ck_syncs_billable_users")),
        sa.ForeignKeyConstraint(
            ["partner_id", "push_id", "company_id"],
            ["push_lines.partner_id", "push_lines.push_id", "push_lines.company_id"],
            name=op.f("fk_syncs_push_lines"),
        ),
        sa.PrimaryKeyConstraint("partner_id", "company_id", "period_key", name=op.f("pk_syncs")),
    )
    op.create_index(
        "ix_syncs_due",
        "syncs",
        ["partner_id", "due_at"],
        unique=False,
        postgresql_where=sa.text("due_at IS NOT NULL"),
        sqlite_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "ix_syncs_settled_addition",
        "syncs",
        ["partner_id", "settled_agreement_id", "settled_addition_id"],
        unique=False,
    )
