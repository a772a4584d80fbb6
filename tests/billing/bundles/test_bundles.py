"""A run's documents in one zip: complete, streamed, and the same whenever it is made."""

import hashlib
import io
import zipfile
from datetime import timedelta

import pytest

from billing import jobs
from billing.bundles import operations, work
from billing.bundles.tables import BundlePartRow
from billing.documents.render import DOCUMENTS
from metering.kit.db import Database
from tests.scenarios import story
from tests.scenarios.story import APRIL, month_end, service, trusts, uses

NOW = story.after(APRIL)


@pytest.fixture
def run_id(database: Database) -> str:
    """Two trusts invoiced for April."""
    service(database)
    trusts(database, "RA1", "RA2")
    uses(database, "RA1", "10")
    uses(database, "RA2", "20")
    month_end(database, APRIL)
    return story.start(database, APRIL)


def ask(database: Database, run_id: str) -> str:
    with database.transaction() as session:
        return operations.ask_for_bundle(session, run_id=run_id, principal="usr_a", now=NOW).id


def made(database: Database, bundle_id: str) -> bytes:
    return b"".join(work.content(database, bundle_id=bundle_id))


def test_every_document_of_the_run_is_in_it_and_it_is_the_same_each_time(
    database: Database, run_id: str
) -> None:
    first = ask(database, run_id)
    with pytest.raises(operations.BundleNotReady):
        work.content(database, bundle_id=first)
    # Before the documents are kept they are made for the bundle, and after it again.
    assert work.make_bundles(database, now=NOW) == {"bundles": 1, "failed": 0}
    jobs.make_documents(database, now=NOW + timedelta(days=1))
    second = ask(database, run_id)
    work.make_bundles(database, now=NOW + timedelta(days=2))
    content = made(database, first)
    assert content == made(database, second)
    assert content == b"".join(work.pack_run(database, run_id=run_id))
    with database.snapshot() as session:
        row = operations.bundle(session, bundle_id=first)
        assert (row.status, row.invoices_done, row.size) == ("done", 2, len(content))
        assert row.sha256 == hashlib.sha256(content).hexdigest()
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    assert len(archive.namelist()) == 2 * len(DOCUMENTS)
    assert "RA1/PG-2627-000001.pdf" in archive.namelist()
    assert archive.read("RA2/PG-2627-000002.pdf").startswith(b"%PDF-")


def test_one_that_was_killed_half_way_is_begun_anew(database: Database, run_id: str) -> None:
    bundle_id = ask(database, run_id)
    with database.transaction() as session:
        row = operations.bundle(session, bundle_id=bundle_id)
        row.status, row.invoices_done = "running", 1
        session.add(BundlePartRow(bundle_id=bundle_id, number=1, content=b"half"))
    work.make_bundles(database, now=NOW)
    assert zipfile.ZipFile(io.BytesIO(made(database, bundle_id))).testzip() is None


def test_a_run_without_documents_has_no_bundle(database: Database) -> None:
    service(database)
    run_id = story.start(database, APRIL)
    with pytest.raises(operations.NothingToBundle):
        ask(database, run_id)
    with database.transaction() as session, pytest.raises(operations.BundleUnknown):
        operations.bundle(session, bundle_id="bnd_none")
