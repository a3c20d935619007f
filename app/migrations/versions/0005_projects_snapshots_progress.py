"""Approval policies of projects, arguments of actions, and what a run is doing: activity, stalls, what it retries."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ROLE = sa.Enum("administrator", "operator", "developer", "viewer", name="role", native_enum=False, length=24)
POLICY = sa.Enum("never", "adds_only", "destroying", "always", name="approvalpolicy", native_enum=False, length=24)


def _json() -> postgresql.JSONB:
    return postgresql.JSONB(astext_type=sa.Text())


def upgrade() -> None:
    op.add_column("project", sa.Column("approval", POLICY, server_default="never", nullable=False))
    op.add_column("project", sa.Column("approver_role", ROLE, nullable=True))
    op.add_column("project", sa.Column("four_eyes", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("action", sa.Column("arguments", _json(), server_default="{}", nullable=False))
    op.add_column("run", sa.Column("retry_of_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key("fk_run_retry_of_id_run", "run", "run", ["retry_of_id"], ["id"], ondelete="SET NULL")
    op.create_index("ix_run_retry_of_id", "run", ["retry_of_id"], unique=False)
    op.add_column("run", sa.Column("activity", _json(), server_default="{}", nullable=False))
    op.add_column("run", sa.Column("progressed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("run", sa.Column("stalled_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    for name in ("stalled_at", "progressed_at", "activity"):
        op.drop_column("run", name)
    op.drop_index("ix_run_retry_of_id", table_name="run")
    op.drop_constraint("fk_run_retry_of_id_run", "run", type_="foreignkey")
    op.drop_column("run", "retry_of_id")
    op.drop_column("action", "arguments")
    for name in ("four_eyes", "approver_role", "approval"):
        op.drop_column("project", name)
