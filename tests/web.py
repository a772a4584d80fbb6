"""A browser without a window, for tests of pages: signed in as whom the test says."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.test import TestResponse

from billing import grants
from billing.access import operations, session_operations
from billing.access.model import Grant
from billing.access.tables import UserRow
from billing.app import create_app
from billing.jobs import ALL_JOBS
from metering.kit.config import Settings
from metering.kit.db import Database
from metering.kit.roles import WEB
from metering.kit.web import Edge, edge
from tests import compiled

__all__ = ["START", "Clock", "Edge", "TestResponse", "csrf_token", "make_app", "send", "signed_in"]

START = datetime(2026, 4, 1, 9, 0, tzinfo=UTC)
_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        """Move on by so many `minutes`, `hours` or `days`."""
        self.now += timedelta(**by)


def make_app(database: Database, folder: Path, clock: Clock, **environment: str) -> Flask:
    """Return the whole application on a test's database, under the role that `paygo web` has."""
    settings = Settings.from_environment({"PAYGO_DATA_DIR": str(folder), **environment})
    app = create_app(settings, as_web(database), clock=clock, jobs=ALL_JOBS)
    app.testing = True
    compiled.share_templates(app)
    return app


def as_web(database: Database) -> Database:
    """Return a database under the role of the pages; as it is where there is no such role."""
    try:
        with database.engine.connect() as connection:
            return database.under(WEB) if grants.ready(connection, WEB) else database
    except SQLAlchemyError:  # a test of what happens without a database
        return database


def csrf_token(client: FlaskClient, path: str = "/sign-in") -> str:
    """Return the token of a form on the page at `path`."""
    page = client.get(path).text
    found = _TOKEN.search(page)
    assert found is not None, f"no form on {path}"
    return found[1]


def send(client: FlaskClient, path: str, fields: dict[str, str], *, page: str) -> TestResponse:
    """Send a form as the page at `page` would: with its token."""
    return client.post(path, data={**fields, "csrf_token": csrf_token(client, page)})


def signed_in(
    app: Flask, grants: Iterable[Grant], *, email: str = "ada@example.nhs.uk"
) -> FlaskClient:
    """Return a browser signed in as a new user with these roles, their password changed."""
    client = app.test_client()
    with app.app_context():
        now = edge().clock()
        with edge().database.transaction() as session:
            made = operations.create_user(
                session, now=now, email=email, name="Ada Lovelace", grants=grants, by="test"
            )
            row = session.get_one(UserRow, made.id)
            row.must_change_password = False
            token = session_operations.start_session(session, now=now, user_id=made.id)
    client.set_cookie("paygo_session", token)
    return client
