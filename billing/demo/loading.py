"""Fill an empty paygo through the operations that people use: bodies, services, prices, accounts.

Every step may be repeated: what is there stays.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zlib import crc32

from sqlalchemy.orm import Session

from billing.access import operations as access
from billing.access import queries as access_queries
from billing.access import session_operations as sessions
from billing.access.model import Grant, Role
from billing.accounts import allocating, invoicing
from billing.accounts import operations as accounts
from billing.accounts import queries as account_queries
from billing.accounts.allocation import CostShare
from billing.accounts.queries import AccountUnknown
from billing.demo import reference
from billing.demo.catalogue import Service
from billing.demo.reference import Body
from billing.demo.usage import Plan, chosen_trusts, is_used_by
from billing.tariffs import operations as tariffs
from billing.tariffs import queries as tariff_queries
from metering.meters import operations as meters
from metering.organisations import operations as organisations
from metering.periods import Month, financial_year_start
from metering.sources import operations as sources
from metering.sources import queries as source_queries

ANALYST = "demo:analyst"
APPROVER = "demo:approver"

NHS_DIVISION = "supply between members of the NHS divisional VAT registration"
"""Why no VAT is charged between them (VAT Act 1994, section 46)."""

NO_POSTCODE = "ZZ99 3CZ"
"""The Organisation Data Service's pseudo-postcode for "England, not otherwise stated"."""


def register_bodies(session: Session, *, now: datetime) -> int:
    """Register every trust and integrated care board, and who succeeded whom; return how many."""
    bodies = (*reference.trusts(), *reference.integrated_care_boards())
    for body in bodies:
        organisations.register(
            session,
            ods_code=body.ods_code,
            name=body.name,
            kind=body.kind,
            postcode=body.postcode,
            opened_on=body.opened_on,
            closed_from=body.closed_from,
            now=now,
        )
    known = {body.ods_code for body in bodies}
    for body in bodies:
        for successor in body.successors:
            if successor in known and body.closed_from is not None:
                organisations.record_succession(
                    session,
                    predecessor=body.ods_code,
                    successor=successor,
                    effective_on=body.closed_from,
                )
    return len(bodies)


def register_service(session: Session, *, service: Service, now: datetime) -> None:
    """Register a hosted service and its meters."""
    sources.register(
        session, code=service.code, name=service.name, contact_email=service.email, now=now
    )
    for meter in service.meters:
        meters.register(
            session,
            source_code=service.code,
            code=meter.code,
            name=meter.name,
            event_type=meter.event_type,
            aggregation=meter.aggregation,
            quantity_field=meter.quantity_field,
            unit=meter.unit,
            dimensions=meter.dimensions,
            resolution=meter.resolution,
            now=now,
        )


def issue_key(session: Session, *, service: Service, now: datetime) -> str:
    """Issue a service a new key and return its text."""
    return sources.issue_key(
        session,
        source_code=service.code,
        label="demonstration",
        created_by=ANALYST,
        now=now,
    ).text


def price_service(session: Session, *, service: Service, month: Month, now: datetime) -> None:
    """Create, submit and approve a service's tariff, unless it has one."""
    if any(row.code == service.code for row in tariff_queries.tariffs(session)):
        return
    tariffs.create_tariff(
        session,
        code=service.code,
        source=service.code,
        name=service.name,
        principal=ANALYST,
        now=now,
    )
    draft = tariffs.draft_version(
        session, document=tariff_document(service, month=month), principal=ANALYST, now=now
    )
    tariffs.submit_version(session, version_id=draft.id, principal=ANALYST, now=now)
    tariffs.approve_version(session, version_id=draft.id, principal=APPROVER, now=now)


def tariff_document(service: Service, *, month: Month) -> Mapping[str, Any]:
    """Return a service's tariff, in force by the start of the month's financial year at latest."""
    start = financial_year_start(month.financial_year).first_day
    written = date.fromisoformat(service.tariff["effective_from"])
    return {**service.tariff, "effective_from": min(start, written).isoformat()}


def open_account(
    session: Session,
    *,
    body: Body,
    services: Sequence[Service],
    month: Month,
    now: datetime,
) -> str:
    """Open a trust's account, on the tariff of each service it uses; return the account's id."""
    try:
        return account_queries.payer_by_ods_code(session, ods_code=body.ods_code).account.id
    except AccountUnknown:
        pass
    in_division = _one_in(5, body)
    account = accounts.open_account(
        session,
        organisation=body.ods_code,
        name=body.name,
        # ASSUMPTION: the Organisation Data Service's extract has postcodes and no streets.
        address=["Finance department"],
        postcode=body.postcode or NO_POSTCODE,
        email=f"finance@{body.ods_code.lower()}.nhs.example",
        in_nhs_vat_division=in_division,
        principal=ANALYST,
        now=now,
    )
    year = financial_year_start(month.financial_year)
    if in_division:
        invoicing.set_vat_treatment(
            session,
            account_id=account.id,
            treatment="outside-scope",
            reason=NHS_DIVISION,
            starts_on=year.first_day,
            principal=ANALYST,
            now=now,
        )
    if not _one_in(8, body):
        # Most orders are ample; one in a dozen will not last the year.
        small = _one_in(12, body)
        invoicing.add_purchase_order(
            session,
            account_id=account.id,
            number=f"PO-{body.ods_code}-{year.first_day:%y}{year.shift(12).first_day:%y}",
            starts_on=year.first_day,
            ends_on=year.shift(12).first_day,
            value=Decimal("150000.00") if small else Decimal("9000000.00"),
            principal=ANALYST,
            now=now,
        )
    if _one_in(4, body):
        allocating.set_allocation(
            session,
            account_id=account.id,
            tariff_code="imaging-archive",
            shares=[
                CostShare(cost_centre="RAD100", subjective_code="5230", percent=Decimal(70)),
                CostShare(cost_centre="ED200", subjective_code="5230", percent=Decimal(30)),
            ],
            starts_on=year.first_day,
            principal=ANALYST,
            now=now,
        )
    for service in services:
        if is_used_by(service, body):
            starts_on = date.fromisoformat(tariff_document(service, month=month)["effective_from"])
            accounts.make_agreement(
                session,
                account_id=account.id,
                tariff_code=service.code,
                starts_on=max(starts_on, body.opened_on or starts_on),
                principal=ANALYST,
                now=now,
            )
    return account.id


def _one_in(count: int, body: Body) -> bool:
    """Say whether a trust is among about one in `count`; always the same ones."""
    return crc32(f"{count} {body.ods_code}".encode()) % count == 0


@dataclass(frozen=True)
class Person:
    """Somebody who can sign in to the demonstration, and what they are there to show."""

    email: str
    name: str
    roles: tuple[Role, ...]
    shows: str
    trust: str | None = None
    service: str | None = None


def people(plan: Plan) -> tuple[Person, ...]:
    """Return the people of the demonstration; the trust's finance works at its largest trust."""
    largest = chosen_trusts(plan)[0]
    return (
        Person(
            "finance@demo.example",
            "Faith Ledger",
            (Role.FINANCE_EDITOR,),
            f"the portal of {largest.name}",
            trust=largest.ods_code,
        ),
        Person(
            "analyst@demo.example",
            "Amar Price",
            (Role.ANALYST,),
            "the console: prices, trusts, month ends",
        ),
        Person("approver@demo.example", "Bea Second", (Role.APPROVER,), "the console's four eyes"),
        Person(
            "admin@demo.example",
            "Cass Keyes",
            (Role.ADMINISTRATOR, Role.AUDITOR),
            "users, keys and the audit trail",
        ),
        Person(
            "archive@demo.example",
            "Dana Store",
            (Role.SERVICE_OWNER,),
            "the imaging archive's own pages",
            service="imaging-archive",
        ),
    )


def make_person(session: Session, *, person: Person, password: str, now: datetime) -> str:
    """Make a person who signs in with `password`, unless they are there; return their id."""
    found, _ = access_queries.users(session, search=person.email)
    if found:
        return found[0].principal.id
    account_id = source_id = None
    if person.service is not None:
        source_id = source_queries.by_code(session, code=person.service).id
    if person.trust is not None:
        account_id = account_queries.payer_by_ods_code(session, ods_code=person.trust).account.id
    made = access.create_user(
        session,
        now=now,
        email=person.email,
        name=person.name,
        grants=[Grant(role, account_id=account_id, source_id=source_id) for role in person.roles],
        by=ANALYST,
    )
    sessions.change_password(
        session, now=now, user_id=made.id, current=made.temporary_password, new=password
    )
    sessions.end_sessions_of(session, now=now, user_id=made.id)
    return made.id


def ids_of_people(session: Session) -> dict[str, str]:
    """Return the id of each person of the demonstration by email address."""
    found, _ = access_queries.users(session, search="@demo.example")
    return {one.principal.email: one.principal.id for one in found}


def make_password() -> str:
    """Return a password that can be typed from the terminal."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(5)) for _ in range(3))
