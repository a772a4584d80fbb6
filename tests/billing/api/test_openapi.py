"""The whole API, billing's part included, keeps what its OpenAPI document promises."""

import schemathesis

from metering.sources import operations as sources
from metering.sources.model import SCOPES
from tests import web
from tests.describing import promises_broken
from tests.trusts import ODS, Shown

EXAMPLES = 20
"""Requests of each operation; metering's own are asked in its own test."""

OURS = r"^/api/v1/(estimates|tariffs|invoices)"


def test_every_answer_of_billings_routes_is_one_that_the_description_promises(
    shown: Shown,
) -> None:
    with shown.database.transaction() as session:
        key = sources.issue_key(
            session,
            source_code="imaging-archive",
            label="asks everything",
            scopes=SCOPES,
            created_by="test",
            now=web.START,
        )
    whole = schemathesis.openapi.from_wsgi("/api/openapi.json", shown.app)
    ours = whole.include(path_regex=OURS)
    theirs = whole.exclude(path_regex=OURS)
    # Nothing of the document is asked by neither test.
    assert {found.ok().path for found in theirs.get_all_operations()} == {
        "/api/v1/events",
        "/api/v1/manifests",
        "/api/v1/quarantine",
        "/api/v1/sources/me/health",
        "/api/v1/usage",
    }
    ours.config.update(headers={"Authorization": f"Bearer {key.text}"})
    known = {"number": shown.numbers[ODS], "line": 1}
    broken = promises_broken(ours, examples=EXAMPLES, least=3, known=known)
    assert not broken, "\n\n".join(broken)
