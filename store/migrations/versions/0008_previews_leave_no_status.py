"""Sync Status is that of pushes: what previews have put there gives way, and recorded answers name their mode."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

WITH_MODE = {
    "postgresql": "(({column})::jsonb || jsonb_build_object('mode', pushes.mode))::text",
    "sqlite": "json_set({column}, '$.mode', pushes.mode)",
}


def upgrade() -> None:
    """Apply."""
    op.execute(
        "DELETE FROM company_status WHERE EXISTS (SELECT 1 FROM pushes WHERE pushes.mode = 'preview'"
        " AND pushes.partner_id = company_status.partner_id AND pushes.push_id = company_status.push_id)"
    )
    with_mode = WITH_MODE[op.get_bind().dialect.name]
    op.execute(
        f"UPDATE push_lines SET result_json = {with_mode.format(column='result_json')} FROM pushes"
        " WHERE pushes.partner_id = push_lines.partner_id AND pushes.push_id = push_lines.push_id"
        " AND pushes.mode <> 'apply' AND result_json IS NOT NULL"
    )
    op.execute(
        f"UPDATE pushes SET completed_json = {with_mode.format(column='completed_json')}"
        " WHERE completed_json IS NOT NULL"
    )
    op.execute(
        sa.text(
            "INSERT INTO company_status (partner_id, company_id, period_start, period_key, requested_at, sequence,"
            " push_id, status, result_json)"
            " SELECT partner_id, company_id, period_start, period_key, requested_at, sequence, push_id, status,"
            " result_json FROM (SELECT push_lines.partner_id, push_lines.company_id, pushes.period_start,"
            " pushes.period_key, pushes.requested_at, push_lines.sequence, push_lines.push_id, push_lines.status,"
            " push_lines.result_json, row_number() OVER (PARTITION BY push_lines.partner_id, push_lines.company_id"
            " ORDER BY pushes.period_start DESC, pushes.requested_at DESC, pushes.push_id DESC) AS place"
            " FROM push_lines JOIN pushes ON pushes.partner_id = push_lines.partner_id"
            " AND pushes.push_id = push_lines.push_id"
            " WHERE pushes.mode <> 'preview' AND push_lines.result_json IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM company_status WHERE company_status.partner_id = push_lines.partner_id"
            " AND company_status.company_id = push_lines.company_id)) AS newest WHERE place = 1"
        )
    )
