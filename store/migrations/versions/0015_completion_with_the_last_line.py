"""A push is completed with its last line, and its completion leaves the outbox after its results.

Sync Status is written with the result: what was still to come back by a queue is caught up here.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

BODY = {"postgresql": "convert_from(body, 'UTF8')::json ->> '{}'", "sqlite": "json_extract(CAST(body AS TEXT), '$.{}')"}


def upgrade() -> None:
    """Apply. To drop `push_lines.reported` would rewrite the whole table, so it stays."""
    op.add_column("outbox", sa.Column("push_id", sa.String(128), nullable=True))
    body = BODY[op.get_bind().dialect.name]
    op.execute(
        f"UPDATE outbox SET partner_id = {body.format('partner_id')}, push_id = {body.format('push_id')}"
        " WHERE exchange = 'connectwise.sync' AND routing_key IN ('sync.result.v1', 'push.completed.v1')"
    )
    op.execute(
        """
        INSERT INTO company_status (
            partner_id, company_id, period_start, period_key, requested_at, sequence, push_id, status, result_json
        )
        SELECT partner_id, company_id, period_start, period_key, requested_at, sequence, push_id, status, result_json
        FROM (
            SELECT push_lines.partner_id, push_lines.company_id, pushes.period_start, pushes.period_key,
                pushes.requested_at, push_lines.sequence, pushes.push_id, push_lines.status, push_lines.result_json,
                row_number() OVER (
                    PARTITION BY push_lines.partner_id, push_lines.company_id
                    ORDER BY pushes.period_start DESC, pushes.requested_at DESC, pushes.push_id DESC
                ) AS place
            FROM push_lines
            JOIN pushes ON pushes.partner_id = push_lines.partner_id AND pushes.push_id = push_lines.push_id
            WHERE NOT push_lines.reported AND push_lines.result_json IS NOT NULL
                AND (
                    pushes.mode = 'apply'
                    OR pushes.mode = 'revert'
                    AND (
                        push_lines.status IN ('updated', 'unchanged')
                        OR push_lines.result_json LIKE '%"perhaps_written"\\:true%'
                    )
                )
        ) AS newest
        WHERE place = 1
        ON CONFLICT (partner_id, company_id) DO UPDATE SET
            period_start = excluded.period_start, period_key = excluded.period_key,
            requested_at = excluded.requested_at, sequence = excluded.sequence, push_id = excluded.push_id,
            status = excluded.status, result_json = excluded.result_json, dismissed_at = NULL
        WHERE (company_status.period_start, company_status.requested_at, company_status.push_id, company_status.sequence)
            < (excluded.period_start, excluded.requested_at, excluded.push_id, excluded.sequence)
        """
    )
    for name, table, columns, which in (
        ("ix_outbox_push", "outbox", ["partner_id", "push_id", "id"], "push_id IS NOT NULL"),
        ("ix_pushes_accepted", "pushes", ["partner_id", "push_id"], "state = 'accepted'"),
        ("ix_push_lines_open", "push_lines", ["partner_id", "push_id"], "status IN ('pending', 'retrying')"),
    ):
        op.create_index(name, table, columns, postgresql_where=sa.text(which), sqlite_where=sa.text(which))
    op.drop_index("ix_push_lines_unreported", "push_lines")
