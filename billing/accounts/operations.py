"""What can be done with an account: open it, agree, order, tax, merge."""

import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.accounts import queries
from billing.accounts.model import TREATMENTS
from billing.accounts.tables import AccountRow, AgreementRow, PurchaseOrderRow, VatTreatmentRow
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


class TreatmentUnknown(Invalid):
    """VAT treatments are standard, zero, exempt and outside-scope; all but the first give a
    reason."""

    code = "vat-treatment-invalid"
    title = "The VAT treatment is not valid"


class TreatmentOverlaps(Conflict):
    """Another treatment holds for some of those days."""

    code = "vat-treatment-overlaps"
    title = "Another VAT treatment holds then"


class OrderInvalid(Invalid):
    """A purchase order has a number that can be printed, and a value above nought or none."""

    code = "purchase-order-invalid"
    title = "The purchase order is not complete"


_ORDER_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/#-]{0,49}")


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
    _note(session, "open account", row.id, principal, now, {"organisation": organisation})
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
    _note(session, "change account", row.id, principal, now, {"changed": sorted(changes)})
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
    _note(
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
    _note(
        session,
        "end agreement",
        account_id,
        principal,
        now,
        {"agreement": agreement_id, "ends_on": str(ends_on), "reason": reason},
    )
    return row


def add_purchase_order(
    session: Session,
    *,
    account_id: str,
    number: str,
    starts_on: date,
    principal: str,
    now: datetime,
    ends_on: date | None = None,
    tariff_code: str | None = None,
    value: Decimal | None = None,
    hold_when_spent: bool = False,
) -> PurchaseOrderRow:
    """Record a purchase order to quote on invoices of London dates `[starts_on, ends_on)`.

    Args:
        value: pounds without VAT that it covers.
        hold_when_spent: an invoice beyond the value is held for a person.

    Raises:
        AccountUnknown, TariffUnknown, BadDates, OrderInvalid.
    """
    queries.account(session, account_id=account_id)
    if tariff_code is not None:
        tariff_queries.tariff(session, code=tariff_code)
    if not _ORDER_NUMBER.fullmatch(number.strip()) or (value is not None and value <= 0):
        raise OrderInvalid(
            "Give the order's number, at most 50 letters, digits and signs, and a value above "
            "nought or none."
        )
    if ends_on is not None and ends_on <= starts_on:
        raise BadDates("A purchase order ends after it starts.")
    row = PurchaseOrderRow(
        account_id=account_id,
        id=new_id("po", now=now),
        number=number.strip(),
        tariff_code=tariff_code,
        starts_on=starts_on,
        ends_on=ends_on,
        value=value,
        hold_when_spent=hold_when_spent,
        created_at=now,
    )
    session.add(row)
    session.flush()
    _note(session, "add purchase order", account_id, principal, now, {"number": row.number})
    return row


def set_vat_treatment(
    session: Session,
    *,
    account_id: str,
    treatment: str,
    reason: str,
    starts_on: date,
    principal: str,
    now: datetime,
    tariff_code: str | None = None,
    ends_on: date | None = None,
) -> VatTreatmentRow:
    """Say how supplies to an account are taxed from `starts_on`, ending an earlier open one.

    Raises:
        AccountUnknown, TariffUnknown, TreatmentUnknown, TreatmentOverlaps, BadDates.
    """
    queries.account(session, account_id=account_id)
    if tariff_code is not None:
        tariff_queries.tariff(session, code=tariff_code)
    if treatment not in TREATMENTS or (treatment != "standard" and not reason.strip()):
        raise TreatmentUnknown(
            f"The treatment is one of {', '.join(TREATMENTS)}; all but standard give a reason."
        )
    if ends_on is not None and ends_on <= starts_on:
        raise BadDates("A treatment ends after it starts.")
    others = session.scalars(
        select(VatTreatmentRow).where(
            VatTreatmentRow.account_id == account_id,
            VatTreatmentRow.tariff_code.is_(None)
            if tariff_code is None
            else VatTreatmentRow.tariff_code == tariff_code,
        )
    ).all()
    for other in others:
        if other.ends_on is None and other.starts_on < starts_on:
            other.ends_on = starts_on
        elif (other.ends_on is None or other.ends_on > starts_on) and (
            ends_on is None or other.starts_on < ends_on
        ):
            raise TreatmentOverlaps(f"Another treatment holds from {show_date(other.starts_on)}.")
    session.flush()
    row = VatTreatmentRow(
        account_id=account_id,
        id=new_id("vat", now=now),
        tariff_code=tariff_code,
        treatment=treatment,
        reason=reason.strip(),
        starts_on=starts_on,
        ends_on=ends_on,
    )
    session.add(row)
    session.flush()
    _note(
        session,
        "set VAT treatment",
        account_id,
        principal,
        now,
        {"treatment": treatment, "tariff": tariff_code, "starts_on": str(starts_on)},
    )
    return row


def merge_accounts(
    session: Session,
    *,
    predecessor_id: str,
    successor_id: str,
    effective_on: date,
    principal: str,
    now: datetime,
    reason: str | None = None,
) -> None:
    """Let one account take over from another on a London date.

    The predecessor keeps its history: usage before the date stays on its account, and what is
    still to be invoiced for it is addressed to the successor. Its agreements end on the
    date; the successor goes on under each tariff that it is not already on. How far the
    predecessor has come in tiers and included quantities of the financial year is added to the
    successor's as the next month begins, see `charges.inputs`.

    Raises:
        AccountUnknown, AccountClosed, BadDates, RetrospectiveReasonMissing.
    """
    predecessor = queries.account(session, account_id=predecessor_id)
    successor = queries.account(session, account_id=successor_id)
    if predecessor_id == successor_id:
        raise BadDates("An account cannot succeed itself.")
    if predecessor.closed_at is not None or successor.closed_at is not None:
        raise AccountClosed("Both accounts of a merger are open until then.")
    running = queries.agreements(session, account_id=predecessor_id, from_day=effective_on)
    covered = {
        row.tariff_code
        for row in queries.agreements(session, account_id=successor_id, from_day=effective_on)
    }
    for row in running:
        if row.starts_on >= effective_on:
            session.delete(row)
        else:
            end_agreement(
                session,
                account_id=predecessor_id,
                agreement_id=row.id,
                ends_on=effective_on,
                principal=principal,
                now=now,
                reason=reason,
            )
        if row.tariff_code not in covered:
            make_agreement(
                session,
                account_id=successor_id,
                tariff_code=row.tariff_code,
                starts_on=effective_on,
                pooled=row.pooled,
                group_code=row.group_code,
                principal=principal,
                now=now,
                reason=reason,
            )
            covered.add(row.tariff_code)
    predecessor.closed_at = london_midnight(effective_on)
    predecessor.successor_id = successor_id
    session.flush()
    _note(
        session,
        "merge accounts",
        predecessor_id,
        principal,
        now,
        {"successor": successor_id, "effective_on": str(effective_on)},
    )


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


def _note(
    session: Session,
    action: str,
    account_id: str,
    principal: str,
    now: datetime,
    facts: dict[str, Any],
) -> None:
    audit.record(
        session,
        now=now,
        principal=principal,
        action=action,
        object_kind="account",
        object_id=account_id,
        facts=facts,
    )
