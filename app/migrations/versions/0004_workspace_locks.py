"""Who has locked a workspace, since when and why."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workspace", sa.Column("locked_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("workspace", sa.Column("locked_by_id", sa.BigInteger(), nullable=True))
    op.add_column("workspace", sa.Column("lock_reason", sa.String(length=500), nullable=True))
    op.create_foreign_key("fk_workspace_locked_by_id_user", "workspace", "user", ["locked_by_id"], ["id"], ondelete="SET NULL")
    op.create_index("ix_workspace_locked_by_id", "workspace", ["locked_by_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_workspace_locked_by_id", table_name="workspace")
    op.drop_constraint("fk_workspace_locked_by_id_user", "workspace", type_="foreignkey")
    op.drop_column("workspace", "lock_reason")
    op.drop_column("workspace", "locked_by_id")
    op.drop_column("workspace", "locked_at")
