"""The administrators' pages: users, clusters, projects, audit, settings."""

from flask import Flask

from app.routes.admin import audit, clusters, projects, settings, users


def init_app(app: Flask) -> None:
    """Register the blueprints."""
    for module in (users, clusters, projects, audit, settings):
        app.register_blueprint(module.bp)
