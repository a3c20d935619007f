"""Work that starts by itself."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def _word(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.String(length=24), nullable=False)


def _at(name: str, *, now: bool = False, null: bool = True) -> "sa.Column[object]":
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()") if now else None, nullable=null)


def upgrade() -> None:
    op.create_table(
        "schedule",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("created_by_id", sa.BigInteger(), nullable=False),
        _word("kind"),
        _at("first_at", null=False),
        sa.Column("cron", sa.String(length=120), server_default="", nullable=False),
        sa.Column("every_s", sa.Integer(), server_default="0", nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        _word("misfire"),
        _word("overlap"),
        sa.Column("work", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("paused", sa.Boolean(), server_default="false", nullable=False),
        _at("next_run_at"),
        _at("created_at", now=True, null=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(["created_by_id"], ["user.id"], name=op.f("fk_schedule_created_by_id_user"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule")),
    )
    op.create_index(op.f("ix_schedule_created_by_id"), "schedule", ["created_by_id"])
    op.create_index("ix_schedule_due", "schedule", ["next_run_at"], postgresql_where=sa.text("next_run_at is not null"))
    op.create_table(
        "schedule_execution",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("schedule_id", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        _at("due_at", null=False),
        sa.Column("by_hand", sa.Boolean(), server_default="false", nullable=False),
        _word("state"),
        _at("bell_at"),
        sa.Column("bulk_id", sa.Uuid(), nullable=True),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        _at("started_at"),
        _at("finished_at"),
        _at("created_at", now=True, null=False),
        sa.ForeignKeyConstraint(["schedule_id"], ["schedule.id"], name=op.f("fk_schedule_execution_schedule_id_schedule"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["bulk_id"], ["bulk.id"], name=op.f("fk_schedule_execution_bulk_id_bulk"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_schedule_execution_run_id_run"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule_execution")),
        sa.UniqueConstraint("task_id", name=op.f("uq_schedule_execution_task_id")),
        sa.UniqueConstraint("schedule_id", "due_at", name=op.f("uq_schedule_execution_schedule_id_due_at")),
    )
    op.create_index("ix_schedule_execution_open", "schedule_execution", ["schedule_id", "id"], postgresql_where=sa.text("finished_at is null"))


def downgrade() -> None:
    op.drop_table("schedule_execution")
    op.drop_table("schedule")
