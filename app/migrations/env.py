"""Alembic's entry: runs on the connection it is given, or makes one from the configuration."""

from alembic import context
from sqlalchemy import Connection, create_engine

from app.models import Base


def run(connection: Connection) -> None:
    """Migrate in one transaction on this connection."""
    context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    engine = create_engine(context.config.get_main_option("sqlalchemy.url") or "")
    with engine.connect() as made:
        run(made)
