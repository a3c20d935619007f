"""The application context for work that is started from the command line."""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import has_app_context

from app.config import Settings, get_settings


@contextmanager
def application(settings: Settings | None = None) -> Iterator[None]:
    """Use the current context, or make one for as long as this lasts."""
    if has_app_context():
        yield
        return
    from app import create_core  # noqa: PLC0415 - the package imports its services when it is wired

    app = create_core(settings or get_settings())
    with app.app_context():
        yield
