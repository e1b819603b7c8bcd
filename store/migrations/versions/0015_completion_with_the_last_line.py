"""A push is completed with its last line, and its completion leaves the outbox after its results."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Apply. To drop `push_lines.reported` would rewrite the whole table, so it stays, unused."""
    op.add_column("outbox", sa.Column("push_id", sa.String(128), nullable=True))
    for name, table, columns, which in (
        ("ix_outbox_push", "outbox", ["partner_id", "push_id", "id"], "push_id IS NOT NULL"),
        ("ix_pushes_accepted", "pushes", ["partner_id", "push_id"], "state = 'accepted'"),
        ("ix_push_lines_open", "push_lines", ["partner_id", "push_id"], "status IN ('pending', 'retrying')"),
    ):
        op.create_index(name, table, columns, postgresql_where=sa.text(which), sqlite_where=sa.text(which))
    op.drop_index("ix_push_lines_unreported", "push_lines")
