"""Workers claim due partners and deferred messages themselves; results of one partner are spread over time."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

DEFERRED = "connectwise.deferred"


def upgrade() -> None:
    """Apply."""
    op.add_column("leases", sa.Column("results_until", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_leases_wake_at", "leases", ["wake_at"])
    op.create_index("ix_leases_until", "leases", ["until"])
    op.add_column("outbox", sa.Column("partner_id", sa.String(128), nullable=True))
    op.create_index("ix_outbox_message", "outbox", ["message_id"])
    op.drop_index("ix_outbox_due", "outbox")
    for name, which in (
        ("ix_outbox_due", f"exchange <> '{DEFERRED}'"),
        ("ix_outbox_deferred", f"exchange = '{DEFERRED}'"),
    ):
        op.create_index(
            name, "outbox", ["not_before", "id"], postgresql_where=sa.text(which), sqlite_where=sa.text(which)
        )
    # Wake-ups were messages, and messages that were set aside came back by their queue.
    op.execute("DELETE FROM outbox WHERE exchange = 'connectwise.internal'")
    op.execute(
        "UPDATE outbox SET exchange = 'connectwise.deferred'"
        " WHERE exchange = '' AND properties_json LIKE '%phin-had-its-turn%'"
    )
    op.execute("UPDATE leases SET wake_at = CURRENT_TIMESTAMP")
