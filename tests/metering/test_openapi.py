"""The API keeps what its OpenAPI document promises, whatever is asked of it."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from metering.app import create_app
from metering.kit.config import Settings
from metering.kit.db import Database
from tests.metering import make
from tests.metering.make import NOW

EXAMPLES = 15
"""Requests of each operation; all of them take some seconds."""


@pytest.fixture
def described(database: Database) -> Any:
    make.catalogue(database)
    chosen = {"PAYGO_DATA_DIR": "/nowhere", "PAYGO_REQUESTS_PER_MINUTE": "0"}
    app = create_app(Settings.from_environment(chosen), database, clock=lambda: NOW)
    made = schemathesis.openapi.from_wsgi("/api/openapi.json", app)
    made.config.update(headers={"Authorization": f"Bearer {make.key(database)}"})
    return made


def test_every_answer_is_one_that_the_description_promises(described: Any) -> None:
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) >= 7
    broken: list[str] = []
    for operation in operations:

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            # What a description cannot say (a gzip body, a known meter) may still be refused;
            # the key is always sent, so whether it is asked for is another test's.
            case.call_and_validate(excluded_checks=[positive_data_acceptance, ignored_auth])

        try:
            ask()
        except (Exception, BaseExceptionGroup) as error:  # all that is broken is told at once
            broken.append(f"{operation.method} {operation.path}: {error}")
    assert not broken, "\n\n".join(broken)
