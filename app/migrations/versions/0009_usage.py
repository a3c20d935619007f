"""The last loads of every server, for small curves, and what Proxmox has locked it for."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("server", sa.Column("cpu_recent", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False))
    op.add_column("server", sa.Column("lock", sa.String(length=32), nullable=True))
    op.add_column("server", sa.Column("usage_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    for name in ("usage_at", "lock"):
        op.drop_column("server", name)
    op.drop_column("server", "cpu_recent")
