"""What the older application leaves behind: servers that nobody manages yet, and notifications in its own words."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("notification", sa.Column("legacy_text", sa.Text(), nullable=True))
    op.create_table(
        "unmanaged_server",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("source_key", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("vmid", sa.BigInteger(), nullable=True),
        sa.Column("role", sa.String(length=255), server_default="", nullable=False),
        sa.Column("os", sa.String(length=64), server_default="", nullable=False),
        sa.Column("cores", sa.Integer(), nullable=True),
        sa.Column("memory_mib", sa.Integer(), nullable=True),
        sa.Column("ip_addresses", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("former_status", sa.String(length=64), server_default="", nullable=False),
        sa.Column("former_created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unmanaged_server")),
        sa.UniqueConstraint("source_key", name=op.f("uq_unmanaged_server_source_key")),
    )
    op.create_index("ix_unmanaged_server_list", "unmanaged_server", ["name", "id"])


def downgrade() -> None:
    op.drop_table("unmanaged_server")
    op.drop_column("notification", "legacy_text")
