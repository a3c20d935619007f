"""An index for the servers that are being made."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_server_creating", "server", ["cluster_id"], unique=False, postgresql_where=sa.text("status = 'creating' and deleted_at is null")
    )


def downgrade() -> None:
    op.drop_index("ix_server_creating", table_name="server")
