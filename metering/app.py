"""The metering API by itself, and its registration in a larger application."""

from importlib.resources import files

from flask import Blueprint, Flask, Response, send_from_directory

from metering.events import views as ingest_views
from metering.events.gate import Gate
from metering.events.ingest import Ingest
from metering.events.openapi import describe_ingest
from metering.kit import clock as kit_clock
from metering.kit.api import ProblemApi
from metering.kit.clock import Clock
from metering.kit.config import Settings
from metering.kit.db import Database
from metering.kit.guards import PUBLIC, guard_blueprint, guard_endpoint, install_guards
from metering.kit.health import register_health
from metering.kit.limits import Limiter
from metering.kit.problems import register_problems
from metering.kit.roles import INGEST
from metering.kit.web import edge, headers_of, install_edge, install_web
from metering.readings import views as usage_views
from metering.reports import views as report_views
from metering.sources.guards import install_limiter

_STATIC = files("metering") / "static"
_DOCS = """<!doctype html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Paygo API</title>
<link rel="stylesheet" href="/api/docs/vendor/swagger-ui/swagger-ui.css">
<link rel="stylesheet" href="/api/docs/docs.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript><p>The API is described at <a href="/api/openapi.json">openapi.json</a>.</p></noscript>
<script src="/api/docs/vendor/swagger-ui/swagger-ui-bundle.js"></script>
<script src="/api/docs/docs.js"></script>
</body>
</html>
"""

docs = Blueprint("api_docs", __name__)
guard_blueprint(docs, PUBLIC)


@docs.get("/api/docs")
def get_docs() -> Response:
    """Show the API's description; nothing is loaded from elsewhere."""
    return Response(_DOCS, content_type="text/html; charset=utf-8")


@docs.get("/api/docs/<path:name>")
def get_docs_file(name: str) -> Response:
    """Give a file of the page."""
    return send_from_directory(str(_STATIC), name, max_age=86_400)


def create_app(settings: Settings, database: Database, *, clock: Clock = kit_clock.now) -> Flask:
    """Return the metering API alone, without billing and its pages.

    Args:
        settings: read once, at start-up.
        database: migrated.
        clock: the present instant; tests give their own.
    """
    app = Flask("metering", static_folder=None)
    install_web(
        app,
        secure=settings.public_url is not None and settings.public_url.startswith("https://"),
        proxies=settings.trusted_proxies,
    )
    install_edge(app, database=database, clock=clock)
    install_guards(app)
    register_health(app)
    register_metering(app, settings)
    register_problems(app)
    return app


def register_metering(app: Flask, settings: Settings) -> None:
    """Add the metering API to an application that has its edge, web and guards installed.

    Call it before `register_problems`, whose error handlers must win.
    """
    app.config.update(
        API_TITLE="Paygo metering API",
        API_VERSION="v1",
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/api",
        OPENAPI_JSON_PATH="openapi.json",
    )
    with app.app_context():
        here = edge()
    # Usage is taken in under a role that sees no money, also beside the pages.
    database = here.database.acting_as(INGEST)
    way_in = app.extensions[ingest_views.INGEST] = Ingest(
        database, clock=here.clock, correction_months=settings.correction_months
    )
    limiter = Limiter(per_minute=settings.requests_per_minute, workers=settings.web_workers)
    install_limiter(app, limiter)
    app.extensions[ingest_views.GATE] = app.wsgi_app = Gate(  # type: ignore[method-assign]  # Flask documents this way
        app.wsgi_app,
        ingest=way_in,
        database=database,
        clock=here.clock,
        limiter=limiter,
        headers=headers_of(app),
        raising=lambda: app.testing,
    )
    api = ProblemApi(app)
    guard_endpoint(app, "api-docs.openapi_json", PUBLIC)
    api.spec.components.security_scheme(
        "key", {"type": "http", "scheme": "bearer", "bearerFormat": "pgk_<prefix>_<secret>"}
    )
    api.spec.options["security"] = [{"key": []}]
    app.register_blueprint(ingest_views.blueprint)
    describe_ingest(api.spec, rule=next(app.url_map.iter_rules("ingest.post_events")))
    api.register_blueprint(report_views.blueprint)
    api.register_blueprint(usage_views.blueprint)
    app.register_blueprint(docs)
