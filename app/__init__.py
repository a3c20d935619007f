"""The application: `create_app(settings)` wires the parts together and decides nothing."""

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

# redis and structlog load these only because they are installed, and nothing here uses what they do with them: 7 MB in each
# of five processes. Before either is imported; app/tracing.py lets the first one in again when traces are wanted.
for _unused in ("opentelemetry.sdk.metrics", "rich"):
    sys.modules.setdefault(_unused, None)  # type: ignore[arg-type]  # None makes an import fail, which both are prepared for

if TYPE_CHECKING:
    from flask import Flask

    from app.config import Settings

API = (
    "app.routes.api.servers",
    "app.routes.api.runs",
    "app.routes.api.workspaces",
    "app.routes.api.tasks",
    "app.routes.api.bulk",
    "app.routes.api.power",
    "app.routes.api.snapshots",
    "app.routes.api.usage",
    "app.routes.api.clusters",
    "app.routes.api.nodes",
    "app.routes.api.statistics",
    "app.routes.api.safe_changes",
    "app.routes.api.schedules",
    "app.routes.api.networks",
    "app.routes.api.templates",
    "app.routes.api.presets",
    "app.routes.api.notifications",
    "app.routes.api.destinations",
    "app.routes.api.users",
    "app.routes.api.tokens",
    "app.routes.api.audit",
    "app.routes.api.settings",
    "app.routes.api.projects",
    "app.routes.stream",
    "app.routes.health",
)
PAGES = (
    "app.routes.ui",
    "app.routes.auth",
    "app.routes.dashboard",
    "app.routes.server_list",
    "app.routes.bulk",
    "app.routes.safe_changes",
    "app.routes.schedules",
    "app.routes.servers",
    "app.routes.palette",
    "app.routes.snapshots",
    "app.routes.usage",
    "app.routes.runs",
    "app.routes.actions",
    "app.routes.workspaces",
    "app.routes.templates",
    "app.routes.networks",
    "app.routes.nodes",
    "app.routes.notifications",
    "app.routes.destinations",
    "app.routes.account",
    "app.routes.about",
    "app.routes.admin",
)
MAX_BODY = 1024 * 1024


def create_core(settings: "Settings") -> "Flask":
    """Return an application with database and languages only: for processes that answer no requests."""
    from flask import Flask  # noqa: PLC0415 - the package must be importable without its dependencies' cost

    from app import pool, web  # noqa: PLC0415
    from app.extensions import babel, db  # noqa: PLC0415

    app = Flask("app", static_folder=None)
    app.config.update(
        SECRET_KEY=settings.secret_key.get_secret_value(),
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=pool.engine_options(settings),
        BABEL_DEFAULT_LOCALE="en",
        TESTING=settings.app_env == "test",
        PROPAGATE_EXCEPTIONS=False,
        MAX_CONTENT_LENGTH=MAX_BODY,
        MAX_FORM_MEMORY_SIZE=MAX_BODY,
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_CHECK_DEFAULT=False,  # the guard decides: tokens need none
    )
    app.extensions["settings"] = settings
    db.init_app(app)
    babel.init_app(app, locale_selector=web.locale)
    with app.app_context():
        pool.watch(db.engine)
    return app


def create_app(settings: "Settings") -> "Flask":
    """Return the whole web application."""
    from app import metrics, session_store, web  # noqa: PLC0415
    from app.extensions import csrf, login_manager  # noqa: PLC0415
    from app.routes import access, errors  # noqa: PLC0415

    app = create_core(settings)
    metrics.init_app(app, settings)
    web.init_app(app)
    session_store.init_app(app, settings)
    login_manager.init_app(app)
    csrf.init_app(app)
    access.init_app(app)
    errors.init_app(app)
    for name in API + PAGES:
        module = import_module(name)
        if hasattr(module, "init_app"):
            module.init_app(app)
        if hasattr(module, "bp"):
            app.register_blueprint(module.bp)
    web.serve_static(app, Path(__file__).parent / "static" / "dist")
    return app
