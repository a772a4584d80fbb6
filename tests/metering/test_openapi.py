"""The API keeps what its OpenAPI document promises, whatever is asked of it."""

import schemathesis

from metering.app import create_app
from metering.kit.config import Settings
from metering.kit.db import Database
from tests.describing import promises_broken
from tests.metering import make
from tests.metering.make import NOW

EXAMPLES = 15
"""Requests of each operation; all of them take some seconds."""


def test_every_answer_is_one_that_the_description_promises(database: Database) -> None:
    make.catalogue(database)
    chosen = {"PAYGO_DATA_DIR": "/nowhere", "PAYGO_REQUESTS_PER_MINUTE": "0"}
    app = create_app(Settings.from_environment(chosen), database, clock=lambda: NOW)
    described = schemathesis.openapi.from_wsgi("/api/openapi.json", app)
    described.config.update(headers={"Authorization": f"Bearer {make.key(database)}"})
    broken = promises_broken(described, examples=EXAMPLES, least=7)
    assert not broken, "\n\n".join(broken)
