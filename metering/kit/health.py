"""Whether this process is alive, and whether it can serve: for load balancers and supervisors."""

from flask import Blueprint, Flask, Response, jsonify
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from metering.kit import migrate
from metering.kit.guards import PUBLIC, guard_blueprint
from metering.kit.web import edge

blueprint = Blueprint("health", __name__)
guard_blueprint(blueprint, PUBLIC)


@blueprint.get("/healthz")
def alive() -> Response:
    """Say that the process answers; it asks nothing of the database."""
    return jsonify({"status": "alive"})


@blueprint.get("/readyz")
def ready() -> Response:
    """Say whether the database is reachable and at the version that this code expects.

    503 where it is not, so that requests go elsewhere. It tells versions and nothing else,
    since anybody may ask.
    """
    needed = migrate.newest()
    try:
        with edge().database.snapshot() as session:
            at = session.scalar(text("SELECT version_num FROM alembic_version"))
    except DBAPIError as error:
        # 42P01: the database is reachable, but was never migrated.
        empty = getattr(error.orig, "sqlstate", None) == "42P01"
        return _answer("schema-missing" if empty else "database-unreachable", None, needed)
    except SQLAlchemyError:  # no free connection in time
        return _answer("database-unreachable", None, needed)
    return _answer("ready" if at == needed else "schema-not-current", at, needed)


def _answer(status: str, at: str | None, needed: str) -> Response:
    response = jsonify({"status": status, "schema": at, "needed": needed})
    response.status_code = 200 if status == "ready" else 503
    return response


def register_health(app: Flask) -> None:
    """Add `/healthz` and `/readyz` to `app`."""
    app.register_blueprint(blueprint)
