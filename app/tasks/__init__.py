"""Celery's tasks: bells, behind which the services do the work."""

import pkgutil
from importlib import import_module


def register() -> None:
    """Let Celery know the tasks of every module here."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        import_module(module.name)
