"""Who has this address: asked for each one that is handed out, of thousands of guests."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_guest_ip_addresses", "guest", ["ip_addresses"], postgresql_using="gin", postgresql_with={"fastupdate": "off"})


def downgrade() -> None:
    op.drop_index("ix_guest_ip_addresses", table_name="guest")
