"""What can be done with an account: open it, change it, put it on tariffs."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.accounts import queries
from billing.accounts.tables import AccountRow, AgreementRow
from billing.tariffs import queries as tariff_queries
from billing.tariffs.tables import TariffRow
from metering.kit import audit
from metering.kit.errors import Conflict, Invalid, NotFound
from metering.kit.ids import new_id
from metering.organisations.queries import by_ods_code
from metering.periods import london_midnight, show_date


class AccountExists(Conflict):
    """The organisation already has its account; there is one for each."""

    code = "account-exists"
    title = "The organisation has an account"


class AccountClosed(Conflict):
    """The account is closed and takes on nothing new."""

    code = "account-closed"
    title = "The account is closed"


class AccountDetailsIncomplete(Invalid):
    """An invoice cannot be addressed with what was given."""

    code = "account-details-incomplete"
    title = "The account's details are incomplete"


class AgreementOverlaps(Conflict):
    """The account is already on that tariff for some of those days."""

    code = "agreement-overlaps"
    title = "The account is already on that tariff"


class AgreementUnknown(NotFound):
    """The account has no such agreement."""

    code = "agreement-unknown"
    title = "No such agreement"


class BadDates(Invalid):
    """A span of days ends before it starts, or outside the span that it is part of."""

    code = "bad-dates"
    title = "The dates do not fit"


class RetrospectiveReasonMissing(Invalid):
    """The change reaches into months that are invoiced; say why."""

    code = "retrospective-reason-missing"
    title = "A retrospective change needs a reason"


def open_account(
    session: Session,
    *,
    organisation: str,
    name: str,
    address: Sequence[str],
    postcode: str,
    email: str,
    principal: str,
    now: datetime,
    vat_number: str | None = None,
    payment_terms_days: int = 30,
    in_nhs_vat_division: bool = False,
    order_required: bool = False,
) -> AccountRow:
    """Open the account of a registered organisation.

    Args:
        organisation: its ODS code.
        address: lines as printed, without the postcode.
        payment_terms_days: days from issue to the day by which payment is due.
        order_required: no invoice is sent without a purchase order in force.

    Raises:
        OrganisationUnknown: it is not registered.
        AccountExists: it has an account.
        AccountDetailsIncomplete: name, address, postcode or email is empty.
    """
    lines = [line.strip() for line in address if line.strip()]
    missing = [
        word
        for word, value in (
            ("name", name.strip()),
            ("address", lines),
            ("postcode", postcode.strip()),
            ("email", email.strip()),
        )
        if not value
    ]
    if missing or payment_terms_days < 0:
        raise AccountDetailsIncomplete(
            "An account needs a name, an address, a postcode, an email address and payment "
            f"terms of at least 0 days; missing: {', '.join(missing) or 'payment terms'}."
        )
    organisation_id = by_ods_code(session, ods_code=organisation).id
    if session.scalar(select(AccountRow.id).where(AccountRow.organisation_id == organisation_id)):
        raise AccountExists(f"{organisation} already has an account.")
    row = AccountRow(
        id=new_id("acc", now=now),
        organisation_id=organisation_id,
        name=name.strip(),
        address=lines,
        postcode=postcode.strip(),
        email=email.strip(),
        vat_number=vat_number,
        payment_terms_days=payment_terms_days,
        in_nhs_vat_division=in_nhs_vat_division,
        order_required=order_required,
        opened_at=now,
        closed_at=None,
        successor_id=None,
    )
    session.add(row)
    session.flush()
    note(session, "open account", row.id, principal, now, {"organisation": organisation})
    return row


def change_account(
    session: Session,
    *,
    account_id: str,
    principal: str,
    now: datetime,
    changes: dict[str, Any],
) -> AccountRow:
    """Change how an account is addressed and when it pays; invoices already issued keep theirs.

    Args:
        changes: any of name, address, postcode, email, vat_number, payment_terms_days,
            in_nhs_vat_division, order_required.

    Raises:
        AccountUnknown: there is no such account.
        AccountDetailsIncomplete: something else is named, or a value is empty.
    """
    row = queries.account(session, account_id=account_id)
    unknown = set(changes) - _CHANGEABLE
    empty = {name for name in changes if name in _NEEDED and not changes[name]}
    if unknown or empty:
        raise AccountDetailsIncomplete(
            f"These cannot be set so: {', '.join(sorted(unknown | empty))}."
        )
    for name, value in changes.items():
        setattr(row, name, list(value) if name == "address" else value)
    session.flush()
    note(session, "change account", row.id, principal, now, {"changed": sorted(changes)})
    return row


_CHANGEABLE = frozenset(
    {
        "name",
        "address",
        "postcode",
        "email",
        "vat_number",
        "payment_terms_days",
        "in_nhs_vat_division",
        "order_required",
    }
)
_NEEDED = frozenset({"name", "address", "postcode", "email"})


def make_agreement(
    session: Session,
    *,
    account_id: str,
    tariff_code: str,
    starts_on: date,
    principal: str,
    now: datetime,
    ends_on: date | None = None,
    pooled: bool = True,
    group_code: str | None = None,
    reason: str | None = None,
) -> AgreementRow:
    """Put an account on a tariff, as it is, on London dates `[starts_on, ends_on)`.

    Other prices, discounts and commitments are a local agreement beside it, which two people
    stand for: see `local_operations`.

    Args:
        pooled: whether its usage joins the national pool of the tariff's pooled prices.
        group_code: whom it shares group-scoped tiers with.
        reason: needed where it starts in months that are invoiced.

    Raises:
        AccountUnknown, AccountClosed, TariffUnknown, BadDates, AgreementOverlaps,
        RetrospectiveReasonMissing.
    """
    account = queries.account(session, account_id=account_id)
    if account.closed_at is not None and london_midnight(starts_on) >= account.closed_at:
        raise AccountClosed(f"{account.name} is closed.")
    tariff = tariff_queries.tariff(session, code=tariff_code)
    if ends_on is not None and ends_on <= starts_on:
        raise BadDates("An agreement ends after it starts.")
    need_reason(tariff, starts_on, reason)
    for other in queries.agreements(
        session, account_id=account_id, from_day=starts_on, to_day=ends_on
    ):
        if other.tariff_code == tariff_code:
            raise AgreementOverlaps(
                f"{account.name} is on {tariff_code} from {show_date(other.starts_on)} already."
            )
    row = AgreementRow(
        account_id=account_id,
        id=new_id("agr", now=now),
        tariff_code=tariff_code,
        starts_on=starts_on,
        ends_on=ends_on,
        pooled=pooled,
        group_code=group_code,
        created_at=now,
    )
    session.add(row)
    session.flush()
    note(
        session,
        "make agreement",
        account_id,
        principal,
        now,
        {"agreement": row.id, "tariff": tariff_code, "starts_on": str(starts_on), "reason": reason},
    )
    return row


def end_agreement(
    session: Session,
    *,
    account_id: str,
    agreement_id: str,
    ends_on: date,
    principal: str,
    now: datetime,
    reason: str | None = None,
) -> AgreementRow:
    """End an agreement: `ends_on` is the first London date it no longer covers.

    Raises:
        AgreementUnknown, BadDates, RetrospectiveReasonMissing.
    """
    row = session.get(AgreementRow, (account_id, agreement_id))
    if row is None:
        raise AgreementUnknown(f"The account has no agreement {agreement_id}.")
    if ends_on <= row.starts_on or (row.ends_on is not None and ends_on > row.ends_on):
        raise BadDates("An agreement ends after its start and not later than it did.")
    need_reason(tariff_queries.tariff(session, code=row.tariff_code), ends_on, reason)
    row.ends_on = ends_on
    session.flush()
    note(
        session,
        "end agreement",
        account_id,
        principal,
        now,
        {"agreement": agreement_id, "ends_on": str(ends_on), "reason": reason},
    )
    return row


def need_reason(tariff: TariffRow, day: date, reason: str | None) -> None:
    """Refuse a change from a London date in invoiced months that gives no reason.

    Raises:
        RetrospectiveReasonMissing: see the class.
    """
    if tariff.invoiced_to is not None and day < tariff.invoiced_to and not (reason or "").strip():
        raise RetrospectiveReasonMissing(
            f"{tariff.code} is invoiced up to {show_date(tariff.invoiced_to)}; give a reason for "
            "a change that reaches before it."
        )


def note(
    session: Session,
    action: str,
    account_id: str,
    principal: str,
    now: datetime,
    facts: dict[str, Any],
) -> None:
    """Note a change of an account in the audit trail."""
    audit.record(
        session,
        now=now,
        principal=principal,
        action=action,
        object_kind="account",
        object_id=account_id,
        facts=facts,
    )
