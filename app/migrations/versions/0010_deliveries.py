"""Which notifications somebody wants, and where else they go: mail, webhooks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

MODE = sa.Enum("toast", "inbox", "none", name="mode", native_enum=False, length=24)
LEVEL = sa.Enum("all", "failures", name="level", native_enum=False, length=24)
STATE = sa.Enum("pending", "sent", "failed", name="deliverystate", native_enum=False, length=24)


def _at(name: str, *, now: bool = False, null: bool = False) -> "sa.Column[object]":
    default = sa.text("clock_timestamp()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=null)


def upgrade() -> None:
    op.create_table(
        "notification_preference",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("mode", MODE, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_notification_preference_user_id_user"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "kind", name=op.f("pk_notification_preference")),
    )
    op.create_table(
        "destination",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("service", sa.String(length=40), nullable=False),
        sa.Column("url", sa.LargeBinary(), nullable=False),
        sa.Column("level", LEVEL, nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default="true", nullable=False),
        _at("created_at", now=True),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_destination_user_id_user"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_destination")),
        sa.UniqueConstraint("user_id", "name", name=op.f("uq_destination_user_id_name")),
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("destination_id", sa.BigInteger(), nullable=False),
        sa.Column("notification_id", sa.BigInteger(), nullable=True),
        sa.Column("state", STATE, nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        _at("next_at", now=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        _at("created_at", now=True),
        _at("finished_at", null=True),
        sa.ForeignKeyConstraint(["destination_id"], ["destination.id"], name=op.f("fk_delivery_destination_id_destination"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["notification_id"], ["notification.id"], name=op.f("fk_delivery_notification_id_notification"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint("notification_id", "destination_id", name=op.f("uq_delivery_notification_id_destination_id")),
    )
    op.create_index("ix_delivery_due", "delivery", ["next_at"], postgresql_where=sa.text("state = 'pending'"))
    op.create_index(op.f("ix_delivery_destination_id"), "delivery", ["destination_id"])


def downgrade() -> None:
    for name in ("delivery", "destination", "notification_preference"):
        op.drop_table(name)
