"""Makers: what a test needs, made through the operations that people and services use."""

import itertools
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.accounts import local_operations as local
from billing.accounts import operations as accounts
from billing.accounts.tables import AccountRow, AgreementRow, LocalAgreementRow
from billing.tariffs import operations as tariffs
from billing.tariffs import queries as tariff_queries
from billing.tariffs.tables import TariffVersionRow
from metering.events import partitions
from metering.events.tables import event_keys, usage_events
from metering.meters import operations as meters
from metering.meters import queries as meter_queries
from metering.organisations import operations as organisations
from metering.organisations.queries import by_ods_code
from metering.periods import Month, london, london_day, london_midnight
from metering.readings.tables import WHOLE_DAY, ReadingRow
from metering.sources import operations as sources

NOW = datetime(2026, 4, 1, 9, 0, tzinfo=UTC)
ANALYST = "usr_analyst"
APPROVER = "usr_approver"

_numbers = itertools.count(1)


def source(session: Session, *, code: str = "imaging-archive", **facts: Any) -> str:
    """Register a hosted service; return its code."""
    sources.register(
        session,
        code=code,
        name=facts.pop("name", code.replace("-", " ").capitalize()),
        now=facts.pop("now", NOW),
        **facts,
    )
    return code


def meter(
    session: Session,
    *,
    code: str = "studies-archived",
    source: str = "imaging-archive",
    unit: str = "studies",
    dimensions: Mapping[str, Any] | None = None,
    resolution: str = "day",
) -> str:
    """Register a summed meter; return its code."""
    meters.register(
        session,
        source_code=source,
        code=code,
        name=code.replace("-", " ").capitalize(),
        event_type=f"uk.nhs.{code}",
        aggregation="sum",
        quantity_field="quantity",
        unit=unit,
        dimensions=dimensions,
        resolution=resolution,
        now=NOW,
    )
    return code


def organisation(session: Session, *, code: str = "RRK", name: str | None = None) -> str:
    """Register an organisation; return its ODS code."""
    organisations.register(
        session, ods_code=code, name=name or f"Trust {code}", kind="acute", now=NOW
    )
    return code


def account(session: Session, *, code: str = "RRK", **facts: Any) -> AccountRow:
    """Register an organisation and open its account."""
    organisation(session, code=code, name=facts.get("name"))
    return accounts.open_account(
        session,
        organisation=code,
        name=facts.pop("name", f"Trust {code}"),
        address=facts.pop("address", ["1 Hospital Road", "Leeds"]),
        postcode=facts.pop("postcode", "LS1 4AP"),
        email=facts.pop("email", f"finance@{code.lower()}.example"),
        principal=facts.pop("principal", ANALYST),
        now=facts.pop("now", NOW),
        **facts,
    )


def price(**terms: Any) -> dict[str, Any]:
    """Return one price of a tariff file, by default 50p for each study."""
    said: dict[str, Any] = {"meter": "studies-archived", "model": "per-unit", "unit_price": "0.50"}
    if "model" in terms and terms["model"] != "per-unit":
        del said["unit_price"]
    said.update(terms)
    return {name: value for name, value in said.items() if value is not None}


def tariff(
    session: Session,
    *prices: Mapping[str, Any],
    code: str = "imaging-archive",
    version: str | None = None,
    effective_from: date = date(2026, 4, 1),
    vat: str = "standard",
    reason: str | None = None,
    now: datetime = NOW,
    **further: Any,
) -> TariffVersionRow:
    """Draft, submit and (by another person) approve a version; create the tariff when new."""
    try:
        tariff_queries.tariff(session, code=code)
    except tariff_queries.TariffUnknown:
        tariffs.create_tariff(
            session,
            code=code,
            source=code,
            name=code.replace("-", " ").capitalize(),
            principal=ANALYST,
            now=now,
        )
    row = tariffs.draft_version(
        session,
        document={
            "tariff": code,
            "version": version or f"v{next(_numbers)}",
            "effective_from": effective_from.isoformat(),
            "vat": vat,
            "prices": [dict(item) for item in prices or (price(),)],
            **further,
        },
        principal=ANALYST,
        now=now,
    )
    tariffs.submit_version(session, version_id=row.id, principal=ANALYST, now=now)
    return tariffs.approve_version(
        session, version_id=row.id, principal=APPROVER, now=now, reason=reason
    )


def agreement(
    session: Session,
    *,
    account: AccountRow,
    tariff: str = "imaging-archive",
    starts_on: date = date(2026, 4, 1),
    **facts: Any,
) -> AgreementRow:
    """Put an account on a tariff."""
    return accounts.make_agreement(
        session,
        account_id=account.id,
        tariff_code=tariff,
        starts_on=starts_on,
        principal=facts.pop("principal", ANALYST),
        now=facts.pop("now", NOW),
        **facts,
    )


def local_terms(
    session: Session,
    terms: Mapping[str, Any],
    *,
    tariff: str = "imaging-archive",
    starts_on: date = date(2026, 4, 1),
    now: datetime = NOW,
    **owner: Any,
) -> LocalAgreementRow:
    """Agree other terms, as two people do, for an `account_id` or a `group_code`."""
    row = local.propose_local_agreement(
        session,
        tariff_code=tariff,
        terms=terms,
        starts_on=starts_on,
        principal=ANALYST,
        now=now,
        **owner,
    )
    return local.approve_local_agreement(session, local_id=row.id, principal=APPROVER, now=now)


def broken_terms(session: Session, account_id: str) -> None:
    """Put in terms that no operation writes, as a damaged row has them."""
    session.execute(
        text(
            "INSERT INTO local_agreements SELECT 'loc_broken', :account, NULL, 'imaging-archive',"
            " '2026-04-01', NULL, '{\"discount_percent\": \"no number\"}', 'approved', '', 'a',"
            " now(), 'b', now()"
        ),
        {"account": account_id},
    )


def pounds(words: str) -> Decimal:
    """Read an amount as people write it: `1,234.50`."""
    return Decimal(words.replace(",", ""))


def usage(
    session: Session,
    *,
    code: str = "RRK",
    quantity: str = "1",
    at: datetime | date = date(2026, 4, 15),
    meter: str = "studies-archived",
    dimensions: Mapping[str, str] | None = None,
    received_at: datetime | None = None,
) -> None:
    """Record one event and add it to its reading, as ingest and roll-up do.

    Args:
        quantity: negative for a withdrawal.
        at: an instant, or noon of a London date.
    """
    moment = at if isinstance(at, datetime) else london_midnight(at) + timedelta(hours=12)
    counted = meter_queries.by_code(session, code=meter)
    subject = by_ods_code(session, ods_code=code)
    dimension_set = meters.dimension_set_id(session, dimensions=dimensions or {})
    day = london_day(moment)
    received = received_at or datetime(2026, 4, 30, next(_numbers) % 24, tzinfo=UTC)
    event_key = uuid4()
    partitions.make(session, month=Month.of(moment))
    session.execute(
        event_keys.insert(),
        {
            "source_id": counted.source_id,
            "event_key": event_key,
            "fingerprint": event_key,
            "occurred_at": moment,
        },
    )
    session.execute(
        usage_events.insert(),
        {
            "period_month": day.replace(day=1),
            "subject_id": subject.id,
            "source_id": counted.source_id,
            "meter_id": counted.id,
            "dimension_set_id": dimension_set,
            "kind": 1 if quantity.startswith("-") else 0,
            "event_key": event_key,
            "occurred_at": moment,
            "received_at": received,
            "quantity": Decimal(quantity),
            "batch_id": event_key,
        },
    )
    reading = insert(ReadingRow).values(
        subject_id=subject.id,
        meter_id=counted.id,
        used_on=day,
        dimension_set_id=dimension_set,
        hour=london(moment).hour if counted.resolution == "hour" else WHOLE_DAY,
        quantity=Decimal(quantity),
        event_count=-1 if quantity.startswith("-") else 1,
        updated_at=received,
    )
    session.execute(
        reading.on_conflict_do_update(
            index_elements=["subject_id", "meter_id", "used_on", "dimension_set_id", "hour"],
            set_={
                "quantity": ReadingRow.quantity + reading.excluded.quantity,
                "event_count": ReadingRow.event_count + reading.excluded.event_count,
                "updated_at": reading.excluded.updated_at,
            },
        )
    )
