"""Work on many servers at once: a group of actions or of runs, under one name."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# What PostgreSQL made of the old names.
CONSTRAINTS = (
    ("bulk", "pk_action_group", "pk_bulk"),
    ("bulk", "fk_action_group_created_by_id_user", "fk_bulk_created_by_id_user"),
    ("action", "fk_action_group_id_action_group", "fk_action_bulk_id_bulk"),
)
INDEXES = (("ix_action_group_created_by_id", "ix_bulk_created_by_id"), ("ix_action_group_id", "ix_action_bulk_id"))


def upgrade() -> None:
    op.rename_table("action_group", "bulk")
    op.alter_column("action", "group_id", new_column_name="bulk_id")
    for table, old, new in CONSTRAINTS:
        op.execute(f"alter table {table} rename constraint {old} to {new}")
    for old, new in INDEXES:
        op.execute(f"alter index {old} rename to {new}")
    for name, empty in (("arguments", "{}"), ("refused", "[]")):
        op.add_column("bulk", sa.Column(name, postgresql.JSONB(astext_type=sa.Text()), server_default=empty, nullable=False))
    op.add_column("run", sa.Column("bulk_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f("fk_run_bulk_id_bulk"), "run", "bulk", ["bulk_id"], ["id"], ondelete="SET NULL")
    op.create_index(op.f("ix_run_bulk_id"), "run", ["bulk_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_run_bulk_id"), table_name="run")
    op.drop_constraint(op.f("fk_run_bulk_id_bulk"), "run", type_="foreignkey")
    op.drop_column("run", "bulk_id")
    for name in ("refused", "arguments"):
        op.drop_column("bulk", name)
    for new, old in INDEXES:
        op.execute(f"alter index {old} rename to {new}")
    for table, new, old in CONSTRAINTS:
        op.execute(f"alter table {table} rename constraint {old} to {new}")
    op.alter_column("action", "bulk_id", new_column_name="group_id")
    op.rename_table("bulk", "action_group")
