"""Fixtures that every test may use; the makers are in `tests/make.py`."""

import gc
import hashlib
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, settings
from sqlalchemy.orm import Session

from billing.access import session_operations
from metering.kit.db import Database
from tests import compiled, databases, emptying, trusts, web
from tests.faults import tally as tally_rows

# A busy machine is no fault of a property: promises are tested, not milliseconds.
settings.register_profile("paygo", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("paygo"), max_examples=1500)
settings.load_profile("paygo")


SEED = pytest.StashKey[int]()
"""What faults are drawn with; `PAYGO_FAULT_SEED` repeats a run."""


def pytest_configure(config: pytest.Config) -> None:
    """Draw the run's seed, the same for every process of the run; collect garbage less often."""
    # Making applications and reading forms makes objects by the million: a quarter of the time
    # went into looking for garbage among them after each seven hundred.
    gc.set_threshold(20_000, 20, 20)
    workers = getattr(config, "workerinput", {})
    given = workers.get("fault_seed") or os.environ.get("PAYGO_FAULT_SEED")
    config.stash[SEED] = int(given or random.SystemRandom().randint(1, 999_999))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that hold long tests or share a Chromium or the filled application.

    They fall to one process, which need make those only once, and no process is left alone at
    the end with a long one: the other takes over what is short.
    """

    def is_long(item: pytest.Item) -> bool:
        needs = getattr(item, "fixturenames", ())
        return (
            any(item.get_closest_marker(name) for name in ("slow", "browser")) or "shown" in needs
        )

    first = {item.path for item in items if is_long(item)}
    items.sort(key=lambda item: item.path not in first)


def pytest_collection_finish() -> None:
    """Spare the collector what stays for the whole run: 300,000 objects of modules and tests."""
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of pytest-xdist the seed."""
    node.workerinput["fault_seed"] = node.config.stash[SEED]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Say how a process of pytest-xdist died; xdist itself does not."""
    if error is not None:
        try:
            status = node.gateway._io.popen.wait(timeout=20)
        except subprocess.TimeoutExpired:
            status = "none, it still runs"
        reporter = node.config.pluginmanager.get_plugin("terminalreporter")
        reporter.write_line(f"\n{node.gateway.id} died, exit status {status}: {error}", red=True)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table of faults, where there were any."""
    rows = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == tally_rows.PROPERTY
    ]
    if rows:
        seed = config.stash[SEED]
        terminalreporter.section(f"faults; the same again: PAYGO_FAULT_SEED={seed}")
        for line in tally_rows.table(rows):
            terminalreporter.write_line(line)


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> tally_rows.Tally:
    """Collects what faults cost; see `make test-faults`."""
    return tally_rows.Tally(request.node.user_properties, seed=request.config.stash[SEED])


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Passwords that cost little: people are made by the thousand here, and guessed by nobody."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_operations, "_hasher", cheap)
        yield


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[None]:
    """Addresses are compiled once a process, not for each of the applications it makes."""
    with pytest.MonkeyPatch.context() as patch:
        compiled.share_builders(patch)
        yield


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def server_urls(shared_folder: Path) -> Iterator[tuple[str, str | None]]:
    """URLs of the run's PostgreSQL server, as its owner and as superuser if there is one."""
    with databases.test_server(shared_folder) as urls:
        yield urls


@pytest.fixture(scope="session")
def server_url(server_urls: tuple[str, str | None]) -> Iterator[str]:
    """URL of the run's PostgreSQL server; create nothing in its own database."""
    with pytest.MonkeyPatch.context() as patch:
        compiled.share_statements(patch, server_urls[0])
        yield server_urls[0]


@pytest.fixture(scope="session")
def template_name(server_url: str, shared_folder: Path) -> Iterator[str]:
    """Name of the migrated database that the others are copied from."""
    run = hashlib.sha256(str(shared_folder.resolve()).encode()).hexdigest()[:8]
    with databases.migrated_template(server_url, shared_folder, run=run) as name:
        yield name


@pytest.fixture(scope="session")
def lender(server_urls: tuple[str, str | None], template_name: str) -> Iterator[emptying.Lender]:
    """Lends migrated, empty databases."""
    found = emptying.Lender(server_urls[0], template_name, server_urls[1])
    yield found
    found.close()


@pytest.fixture
def database_url(lender: emptying.Lender) -> Iterator[str]:
    """URL of this test's own migrated database, for programs that connect by themselves."""
    with lender.lend() as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """This test's own migrated database: what it commits, only it sees."""
    handle = Database(database_url)
    yield handle
    handle.dispose()


@pytest.fixture(scope="session")
def rolled_back_database(server_url: str, template_name: str) -> Iterator[Database]:
    """The migrated database behind `session`; nothing is ever committed to it."""
    with databases.cloned_database(server_url, template_name) as url:
        handle = Database(url)
        yield handle
        handle.dispose()


@pytest.fixture
def session(rolled_back_database: Database) -> Iterator[Session]:
    """A session whose transaction is rolled back at the end of the test."""
    with (
        rolled_back_database.engine.connect() as connection,
        connection.begin() as outer,
        Session(
            connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
        ) as inner,
    ):
        yield inner
        inner.close()
        outer.rollback()


@pytest.fixture
def clock() -> web.Clock:
    """The application's clock, which stands still until the test moves it."""
    return web.Clock()


@pytest.fixture
def app(database: Database, tmp_path: Path, clock: web.Clock) -> Flask:
    """The whole application on this test's own database."""
    return web.make_app(database, tmp_path, clock)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser in which nobody has signed in; `web.signed_in(app, grants)` gives one."""
    return app.test_client()


@pytest.fixture(scope="session")
def shown(
    server_url: str, template_name: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[trusts.Shown]:
    """The application with three trusts, their usage and invoices; only look at it."""
    folder = tmp_path_factory.mktemp("shown")
    with trusts.shown(server_url, template_name, folder) as found:
        yield found
