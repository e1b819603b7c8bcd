"""Reverts: a push that takes another one back, and what its lines restore."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

CHECKS = {
    "ck_pushes_mode": ("mode IN ('apply', 'preview')", "mode IN ('apply', 'preview', 'revert')"),
    "ck_pushes_state": (
        "state IN ('accepted', 'completed', 'cancelled')",
        "state IN ('accepted', 'completed', 'cancelled', 'refused')",
    ),
}
NEW_CHECKS = {
    ("pushes", "reverts"): ("a_revert_names_its_push", "(mode = 'revert') = (reverts IS NOT NULL)"),
    ("push_lines", "restore_quantity"): (
        "restore_can_be_written",
        "restore_quantity IS NULL OR restore_quantity >= 0",
    ),
    ("push_lines", "restore_holds"): (
        "restore_is_whole",
        " AND ".join(
            f"(restore_{name} IS NULL) = (restore_holds IS NULL)"
            for name in ("tenant", "agreement_id", "addition_id", "quantity")
        ),
    ),
}


def upgrade() -> None:
    """Apply."""
    add = _add_sqlite if op.get_bind().dialect.name == "sqlite" else _add
    add("pushes", sa.Column("reverts", sa.String(length=128), nullable=True))
    add("push_lines", sa.Column("restore_tenant", sa.Text(), nullable=True))
    add("push_lines", sa.Column("restore_agreement_id", sa.Integer(), nullable=True))
    add("push_lines", sa.Column("restore_addition_id", sa.Integer(), nullable=True))
    add("push_lines", sa.Column("restore_quantity", sa.Float(), nullable=True))
    add("push_lines", sa.Column("restore_holds", sa.Float(), nullable=True))
    op.create_index("ix_ledger_partner", "ledger", ["partner_id", "id"], unique=False)
    if op.get_bind().dialect.name == "sqlite":
        _replace_sqlite()
        return
    for name, (_, new) in CHECKS.items():
        op.drop_constraint(op.f(name), "pushes", type_="check")
        op.create_check_constraint(op.f(name), "pushes", new)


def _add(table: str, column: sa.Column[object]) -> None:
    op.add_column(table, column)
    if (table, column.name) in NEW_CHECKS:
        name, condition = NEW_CHECKS[table, column.name]
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)


def _add_sqlite(table: str, column: sa.Column[object]) -> None:
    """SQLite adds a check only together with a column."""
    check = ""
    if (table, column.name) in NEW_CHECKS:
        name, condition = NEW_CHECKS[table, column.name]
        check = f" CONSTRAINT ck_{table}_{name} CHECK ({condition})"
    op.execute(f"ALTER TABLE {table} ADD COLUMN {column.name} {column.type.compile(op.get_bind().dialect)}{check}")


def _replace_sqlite() -> None:
    """Widen checks in place, as SQLite's documentation of ALTER TABLE says for changes that no stored row can break.

    To make the table anew would delete what refers to it, as references cannot be switched off in a transaction.
    """
    tx = op.get_bind()
    version = tx.exec_driver_sql("PRAGMA schema_version").scalar_one()
    tx.exec_driver_sql("PRAGMA writable_schema=ON")
    for old, new in CHECKS.values():
        changed = "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = 'pushes'"
        tx.exec_driver_sql(changed, (f"({old})", f"({new})"))
    tx.exec_driver_sql(f"PRAGMA schema_version={version + 1}")
    tx.exec_driver_sql("PRAGMA writable_schema=RESET")
