"""The administrators' pages: users, clusters, audit, settings."""

from flask import Flask

from app.routes.admin import audit, clusters, settings, users


def init_app(app: Flask) -> None:
    """Register the blueprints."""
    for module in (users, clusters, audit, settings):
        app.register_blueprint(module.bp)
