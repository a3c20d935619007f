"""Migrations to the newest revision, by one process at a time."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from app.config import Settings

LOCK_KEY = 5_208_164_211  # any constant: held while migrating


def alembic_config(settings: Settings) -> Config:
    """Return Alembic's configuration for these settings."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("sqlalchemy.url", settings.database_url.replace("%", "%%"))
    return config


def upgrade(settings: Settings, revision: str = "head") -> None:
    """Bring the database to the newest revision, or to another one; a second process waits and then finds nothing to do."""
    engine = create_engine(settings.database_url, connect_args={"connect_timeout": 5})
    with engine.connect() as conn:
        conn.execute(text("select pg_advisory_lock(:key)"), {"key": LOCK_KEY})
        try:
            config = alembic_config(settings)
            config.attributes["connection"] = conn
            command.upgrade(config, revision)
            conn.commit()
        finally:
            conn.execute(text("select pg_advisory_unlock(:key)"), {"key": LOCK_KEY})
            conn.commit()
    engine.dispose()
