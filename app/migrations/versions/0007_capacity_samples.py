"""What clusters had and gave away, hour by hour."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "capacity_sample",
        sa.Column("cluster_id", sa.BigInteger(), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("memory_mib", "memory_used_mib", "memory_allocated_mib", "disk_gib", "disk_used_gib")
        ),
        sa.ForeignKeyConstraint(["cluster_id"], ["cluster.id"], name=op.f("fk_capacity_sample_cluster_id_cluster"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("cluster_id", "hour", name=op.f("pk_capacity_sample")),
    )
    # The dashboard counts what ended in the last weeks.
    op.create_index("ix_run_finished", "run", ["finished_at"], postgresql_where=sa.text("finished_at is not null"))


def downgrade() -> None:
    op.drop_index("ix_run_finished", table_name="run")
    op.drop_table("capacity_sample")
