"""Safe changes as chains of actions and a run, how often in a row a cluster did not answer, and which request work came from."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def _json(name: str, *, null: bool = True) -> "sa.Column[object]":
    return sa.Column(name, postgresql.JSONB(astext_type=sa.Text()), nullable=null)


def _at(name: str) -> "sa.Column[object]":
    return sa.Column(name, sa.DateTime(timezone=True), nullable=True)


def upgrade() -> None:
    op.create_table(
        "safe_change",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("server_id", sa.BigInteger(), nullable=False),
        sa.Column("created_by_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        _json("values", null=False),
        sa.Column("apply", sa.String(length=16), nullable=False),
        sa.Column("snapshot", sa.String(length=40), nullable=False),
        sa.Column("memory", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("keep_snapshot", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("verify_by", sa.String(length=24), nullable=False),
        sa.Column("port", sa.Integer(), nullable=True),
        sa.Column("timeout_s", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        _json("last_answer"),
        _at("verify_at"),
        _at("verified_at"),
        _at("next_at"),
        _json("error"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        _at("finished_at"),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_safe_change_server_id_server"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["created_by_id"], ["user.id"], name=op.f("fk_safe_change_created_by_id_user")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_safe_change")),
    )
    op.create_index(op.f("ix_safe_change_created_by_id"), "safe_change", ["created_by_id"])
    op.create_index("ix_safe_change_open", "safe_change", ["next_at"], postgresql_where=sa.text("finished_at is null"))
    op.create_index("ix_safe_change_server", "safe_change", ["server_id", "created_at"])
    for table in ("run", "action"):
        op.add_column(table, sa.Column("safe_change_id", sa.Uuid(), nullable=True))
        op.add_column(table, _json("origin"))
        op.create_foreign_key(op.f(f"fk_{table}_safe_change_id_safe_change"), table, "safe_change", ["safe_change_id"], ["id"], ondelete="SET NULL")
    # One part of each kind: whoever begins it twice is refused.
    op.create_index("uq_run_safe_change", "run", ["safe_change_id"], unique=True)
    op.create_index("uq_action_safe_change", "action", ["safe_change_id", "kind"], unique=True)
    op.add_column("server", sa.Column("safe_change_id", sa.Uuid(), nullable=True))
    op.create_index(op.f("ix_server_safe_change_id"), "server", ["safe_change_id"])
    op.add_column("cluster", sa.Column("failures", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("cluster", "failures")
    op.drop_index(op.f("ix_server_safe_change_id"), "server")
    op.drop_column("server", "safe_change_id")
    for table in ("run", "action"):
        op.drop_index(f"uq_{table}_safe_change", table)
        op.drop_constraint(op.f(f"fk_{table}_safe_change_id_safe_change"), table)
        op.drop_column(table, "safe_change_id")
        op.drop_column(table, "origin")
    op.drop_table("safe_change")
