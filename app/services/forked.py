"""After a fork: drop the parent's connections without a word to the other side."""

from app.adapters import broker
from app.extensions import db
from app.streaming import events


def forget_connections() -> None:
    """Call inside the app context, in the child, before anything is sent or read."""
    db.engine.dispose(close=False)
    events.after_fork()
    broker.after_fork()
    broker.celery.backend.client.connection_pool.reset()
