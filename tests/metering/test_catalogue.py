"""Organisations, sources, keys and meters: registering is repeatable, and rules are kept."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from metering.kit import versions
from metering.kit.auth import Key, make_key, read_bearer
from metering.kit.tables import AuditEntryRow
from metering.meters import operations as meters
from metering.meters.model import MeterInvalid
from metering.meters.operations import MeterFixed
from metering.meters.queries import dimensions_by_id
from metering.organisations import operations as organisations
from metering.organisations import queries as organisation_queries
from metering.organisations.operations import CATALOGUE, OrganisationInvalid
from metering.organisations.queries import OrganisationUnknown
from metering.sources import operations as sources
from metering.sources.operations import KeyInvalid, KeyRefused, SourceInvalid
from metering.sources.queries import keys_of
from metering.sources.tables import ServiceKeyRow

NOW = datetime(2026, 7, 1, 9, tzinfo=UTC)


def register_archive(session: Session) -> None:
    sources.register(session, code="imaging-archive", name="Imaging archive", now=NOW)


def register_studies(session: Session, **changed: object) -> int:
    particulars: dict[str, object] = {
        "source_code": "imaging-archive",
        "code": "studies-archived",
        "name": "Studies archived",
        "event_type": "study.archived",
        "aggregation": "sum",
        "quantity_field": "studies",
        "unit": "study",
        "dimensions": {"modality": {"label": "Modality", "values": ["CT", "MR"]}},
        **changed,
    }
    return meters.register(session, now=NOW, **particulars).id  # type: ignore[arg-type]  # changed on purpose


def test_registering_an_organisation_twice_changes_nothing_but_its_particulars(
    session: Session,
) -> None:
    first = organisations.register(session, ods_code="RRK", name="UHB", kind="acute", now=NOW)
    before = versions.read(session, name=CATALOGUE)
    again = organisations.register(session, ods_code="RRK", name="UHB", kind="acute", now=NOW)
    assert again.id == first.id
    assert versions.read(session, name=CATALOGUE) == before, "nothing changed"
    renamed = organisations.register(
        session, ods_code="RRK", name="Birmingham", kind="acute", now=NOW
    )
    assert renamed.id == first.id
    assert versions.read(session, name=CATALOGUE) == before + 1
    other = organisations.register(session, ods_code="RA7", name="UHBW", kind="acute", now=NOW)
    assert other.id != first.id


def test_a_succession_closes_the_predecessor_and_names_the_successor(session: Session) -> None:
    for code in ("RVJ", "RA7"):
        organisations.register(session, ods_code=code, name=code, kind="acute", now=NOW)
    for _ in range(2):
        organisations.record_succession(
            session, predecessor="RVJ", successor="RA7", effective_on=date(2026, 7, 1)
        )
    closed = organisation_queries.by_ods_code(session, ods_code="RVJ")
    assert closed.closed_from == date(2026, 7, 1)
    heirs = organisation_queries.successors(session, organisation_id=closed.id)
    assert [heir.ods_code for heir in heirs] == ["RA7"]
    open_codes = {
        row.ods_code for row in organisation_queries.every(session, open_on=date(2026, 7, 1))
    }
    assert open_codes == {"RA7"}


def test_what_contradicts_itself_is_refused(session: Session) -> None:
    with pytest.raises(OrganisationInvalid):
        organisations.register(session, ods_code="rrk", name="x", kind="acute", now=NOW)
    with pytest.raises(OrganisationInvalid):
        organisations.register(
            session,
            ods_code="RRK",
            name="x",
            kind="acute",
            opened_on=date(2026, 4, 1),
            closed_from=date(2026, 4, 1),
            now=NOW,
        )
    with pytest.raises(OrganisationUnknown):
        organisations.close(session, ods_code="ZZZ", closed_from=date(2026, 4, 1))
    with pytest.raises(SourceInvalid):
        sources.register(session, code="Imaging Archive", name="x", now=NOW)


def test_a_key_is_shown_once_and_only_its_digest_is_kept(session: Session) -> None:
    register_archive(session)
    issued = sources.issue_key(
        session, source_code="imaging-archive", label="production", created_by="cli", now=NOW
    )
    key = read_bearer(f"Bearer {issued.text}")
    assert key is not None
    assert key.secret not in repr(issued)
    assert key.secret not in repr(key)
    row = session.get_one(ServiceKeyRow, issued.id)
    assert key.secret not in str(vars(row))
    principal = sources.authenticate(session, key=key, now=NOW)
    assert (principal.source_code, principal.name) == ("imaging-archive", f"key:{issued.prefix}")
    trail = session.scalars(select(AuditEntryRow.action)).all()
    assert "issue key" in trail


def test_a_wrong_ended_or_revoked_key_is_refused(session: Session) -> None:
    register_archive(session)
    ends = NOW + timedelta(days=1)
    issued = sources.issue_key(
        session,
        source_code="imaging-archive",
        label="trial",
        expires_at=ends,
        created_by="cli",
        now=NOW,
    )
    key = read_bearer(f"bearer {issued.text}")
    assert key is not None
    sources.authenticate(session, key=key, now=ends - timedelta(seconds=1))
    for wrong, at in (
        (None, NOW),
        (make_key(), NOW),
        (Key(key.prefix, make_key().secret), NOW),
        (key, ends),
    ):
        with pytest.raises(KeyRefused):
            sources.authenticate(session, key=wrong, now=at)
    sources.revoke_key(session, key_id=issued.id, principal="cli", now=NOW)
    with pytest.raises(KeyRefused):
        sources.authenticate(session, key=key, now=NOW)


def test_the_last_use_of_a_key_is_noted_coarsely(session: Session) -> None:
    register_archive(session)
    issued = sources.issue_key(
        session, source_code="imaging-archive", label="x", created_by="cli", now=NOW
    )
    later = NOW + timedelta(minutes=1)
    much_later = NOW + sources.LAST_USED_GRAIN
    noted = []
    for at in (NOW, later, much_later):
        sources.note_use(session, key_ids=[issued.id], now=at)
        session.expire_all()
        noted.append(keys_of(session, source_id=1)[0].last_used_at)
    assert noted == [NOW, NOW, much_later]


def test_a_key_needs_a_scope_that_exists(session: Session) -> None:
    register_archive(session)
    for scopes in ((), ("events:erase",)):
        with pytest.raises(KeyInvalid):
            sources.issue_key(
                session,
                source_code="imaging-archive",
                label="x",
                scopes=scopes,
                created_by="cli",
                now=NOW,
            )


def test_a_meter_may_widen_but_never_count_something_else(session: Session) -> None:
    register_archive(session)
    first = register_studies(session)
    before = versions.read(session, name=CATALOGUE)
    assert register_studies(session) == first
    assert versions.read(session, name=CATALOGUE) == before
    wider = {"modality": {"label": "Modality", "values": ["CT", "MR", "US"]}}
    assert register_studies(session, dimensions=wider) == first
    for change in (
        {"aggregation": "max"},
        {"quantity_field": "images"},
        {"event_type": "study.read"},
        {"resolution": "hour"},
        {"filter": {"modality": ["CT"]}},
    ):
        with pytest.raises(MeterFixed):
            register_studies(session, **change)


@pytest.mark.parametrize(
    "wrong",
    [
        {"aggregation": "count"},
        {"aggregation": "median"},
        {"quantity_field": None},
        {"event_type": "uk.paygo.withdrawal"},
        {"filter": {"colour": ["red"]}},
        {"dimensions": {"studies": {"label": "x", "values": None}}},
        {"dimensions": {"modality": {"label": "x", "values": []}}},
        {"aggregation": "max", "resolution": "hour"},
    ],
)
def test_a_meter_that_makes_no_sense_is_refused(session: Session, wrong: dict[str, object]) -> None:
    register_archive(session)
    with pytest.raises(MeterInvalid):
        register_studies(session, **wrong)


def test_a_dimension_set_has_one_number_however_it_is_spelt(session: Session) -> None:
    one = meters.dimension_set_id(session, dimensions={"a": "1", "b": "é"})
    assert meters.dimension_set_id(session, dimensions={"b": "é", "a": "1"}) == one
    other = meters.dimension_set_id(session, dimensions={"a": "1"})
    assert other != one
    assert dimensions_by_id(session, ids=[one]) == {one: {"a": "1", "b": "é"}}


def test_counters_start_at_nought_and_move_by_one(session: Session) -> None:
    assert versions.read(session, name="anything") == 0
    versions.bump(session, name="anything")
    versions.bump(session, name="anything")
    assert versions.read(session, name="anything") == 2
    assert session.scalar(select(func.count()).select_from(ServiceKeyRow)) == 0
