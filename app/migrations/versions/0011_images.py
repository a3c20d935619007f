"""Which image a template is, and which one a server was made from."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("template", sa.Column("image", sa.String(length=40), server_default="", nullable=False))
    op.add_column("template", sa.Column("image_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("server", sa.Column("template_image", sa.String(length=40), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("server", "template_image")
    op.drop_column("template", "image_at")
    op.drop_column("template", "image")
