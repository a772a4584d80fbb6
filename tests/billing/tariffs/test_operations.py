"""A tariff version's life: who may move it on, and how versions follow each other."""

from datetime import date

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from billing.tariffs import operations, queries
from billing.tariffs.files import load_document
from billing.tariffs.model import TariffRefused, parse_tariff
from tests import make

APRIL, MAY, JUNE = date(2026, 4, 1), date(2026, 5, 1), date(2026, 6, 1)

FILE = """
tariff: imaging-archive
version: "2026-04"
effective_from: 2026-04-01
vat: standard
prices:
  - meter: studies-archived
    model: graduated
    scope: pool
    tiers:
      - {up_to: "100000", unit_price: "0.50"}
      - {up_to: null, unit_price: "0.35"}
"""


@pytest.fixture
def service(session: Session) -> None:
    make.source(session)
    make.meter(session)


def _imported(session: Session, text: str = FILE) -> str:
    operations.create_tariff(
        session,
        code="imaging-archive",
        source="imaging-archive",
        name="Imaging archive",
        principal=make.ANALYST,
        now=make.NOW,
    )
    return operations.import_tariff(session, text=text, principal=make.ANALYST, now=make.NOW).id


def test_a_file_is_imported_and_exported_the_same(session: Session, service: None) -> None:
    version_id = _imported(session)
    exported = operations.export_tariff(session, version_id=version_id)
    assert parse_tariff(load_document(exported)) == parse_tariff(load_document(FILE))
    again = operations.import_tariff(session, text=exported, principal="x", now=make.NOW)
    assert again.id == version_id


def test_the_author_cannot_approve(session: Session, service: None) -> None:
    version_id = _imported(session)
    operations.submit_version(session, version_id=version_id, principal=make.ANALYST, now=make.NOW)
    with pytest.raises(operations.FourEyes):
        operations.approve_version(
            session, version_id=version_id, principal=make.ANALYST, now=make.NOW
        )


def test_a_draft_cannot_be_approved_without_being_submitted(
    session: Session, service: None
) -> None:
    version_id = _imported(session)
    with pytest.raises(operations.WrongStanding):
        operations.approve_version(
            session, version_id=version_id, principal=make.APPROVER, now=make.NOW
        )


def test_a_later_version_ends_the_one_before_without_a_gap(session: Session, service: None) -> None:
    first = make.tariff(session, effective_from=APRIL)
    third = make.tariff(session, effective_from=JUNE)
    second = make.tariff(session, effective_from=MAY)
    assert [(row.effective_from, row.effective_to) for row in (first, second, third)] == [
        (APRIL, MAY),
        (MAY, JUNE),
        (JUNE, None),
    ]
    standings = [queries.standing(row, today=date(2026, 5, 9)) for row in (first, second, third)]
    assert standings == ["superseded", "in force", "approved"]


def test_a_version_from_the_same_day_supersedes_the_whole_of_the_other(
    session: Session, service: None
) -> None:
    wrong = make.tariff(session, effective_from=APRIL)
    make.tariff(session, effective_from=JUNE)
    right = make.tariff(session, effective_from=APRIL)
    assert wrong.status == "superseded"
    assert (right.effective_from, right.effective_to) == (APRIL, JUNE)


def test_a_version_that_reaches_into_invoiced_months_needs_a_reason(
    session: Session, service: None
) -> None:
    make.tariff(session, effective_from=APRIL)
    operations.note_invoiced(session, end_day=JUNE)
    session.expire_all()
    with pytest.raises(operations.TariffRetrospective):
        make.tariff(session, effective_from=MAY)
    row = make.tariff(session, effective_from=date(2026, 5, 2), reason="Wrong price agreed")
    assert row.retrospective_reason == "Wrong price agreed"
    assert make.tariff(session, effective_from=JUNE).retrospective_reason is None


def test_a_future_version_is_withdrawn_and_the_one_before_goes_on(
    session: Session, service: None
) -> None:
    first = make.tariff(session, effective_from=APRIL)
    future = make.tariff(session, effective_from=JUNE)
    operations.withdraw_version(
        session,
        version_id=future.id,
        principal=make.APPROVER,
        now=make.NOW,
        today=MAY,
        reason="Not agreed after all",
    )
    assert (future.status, first.effective_to) == ("withdrawn", None)
    with pytest.raises(operations.WrongStanding):
        operations.withdraw_version(
            session,
            version_id=first.id,
            principal=make.APPROVER,
            now=make.NOW,
            today=MAY,
            reason="Too late",
        )


def test_prices_for_what_the_service_does_not_report_are_refused(
    session: Session, service: None
) -> None:
    make.meter(session, code="scans", dimensions={"modality": {"label": "M", "values": ["CT"]}})
    for fault, terms in (
        ("meter-unknown", {"meter": "unheard-of"}),
        ("dimension-value-unknown", {"where": {"modality": "MR"}}),
        ("dimension-unknown", {"where": {"site": "X"}}),
        ("meter-not-hourly", {"band": "peak"}),
    ):
        with pytest.raises(TariffRefused) as refused:
            make.tariff(
                session,
                make.price(**{"meter": "scans", **terms}),
                bands={"peak": "Mon-Fri 08:00-18:00"},
            )
        assert [error.code for error in refused.value.errors] == [fault]


def test_the_database_refuses_to_change_what_was_approved(session: Session, service: None) -> None:
    version = make.tariff(session)
    for statement in (
        "UPDATE tariff_versions SET content = '{}' WHERE id = :id",
        "UPDATE tariff_versions SET effective_from = '2026-03-01' WHERE id = :id",
        "UPDATE tariff_versions SET status = 'draft' WHERE id = :id",
        "DELETE FROM tariff_versions WHERE id = :id",
        "TRUNCATE tariff_versions CASCADE",
    ):
        with pytest.raises(IntegrityError), session.begin_nested():
            session.execute(text(statement), {"id": version.id} if ":id" in statement else {})
