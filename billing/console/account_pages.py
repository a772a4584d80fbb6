"""What the account pages show."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from flask import url_for

from billing.accounts.model import covers
from billing.accounts.tables import AgreementRow, PurchaseOrderRow, VatTreatmentRow
from billing.console.account_queries import AccountDetails, AccountSummary
from billing.console.lists import Field, Sheet
from billing.documents.words import show_vat_number
from billing.listing import Cell, Listing
from billing.money import show_pounds
from metering.periods import london_day, show_date

TREATMENT_WORDS = {
    "standard": "Standard rate",
    "zero": "Zero rate",
    "exempt": "Exempt",
    "outside-scope": "Outside the scope of VAT",
}


def accounts_sheet() -> Sheet[AccountSummary]:
    """Return the list of accounts."""
    return Sheet(
        name="accounts",
        caption="Accounts",
        sort="name",
        findable=False,
        empty="There is no account yet. Open one for each organisation that is to be invoiced.",
        fields=(
            Field(
                "Account",
                lambda item: item.name,
                lambda item: Cell(item.name, href=url_for("console.account", account_id=item.id)),
                key="name",
            ),
            Field("ODS code", lambda item: item.ods_code, key="ods"),
            Field("Services", lambda item: item.services, key="services", numeric=True),
            Field("Email address", lambda item: item.email, on_page=False),
            Field(
                "State",
                lambda item: "Closed" if item.closed else "Open",
                lambda item: (
                    Cell("Closed", colour="grey") if item.closed else Cell("Open", colour="green")
                ),
                key="state",
            ),
        ),
    )


@dataclass(frozen=True)
class AccountPage:
    """One account."""

    id: str
    name: str
    code: str
    status: str
    colour: str
    details: tuple[tuple[str, str], ...]
    agreements: Listing
    locals: Listing
    orders: Listing
    treatments: Listing
    history: tuple[tuple[str, str], ...]
    closed: bool


def _days(first: date, end: date | None) -> str:
    return f"{show_date(first)} to {'open end' if end is None else show_date(end)}"


def _standing(first: date, end: date | None, today: date) -> Cell:
    if covers(first, end, today):
        return Cell("Now", colour="green")
    return Cell("Later", colour="blue") if first > today else Cell("Ended", colour="grey")


def agreements_sheet(
    names: Mapping[str, str], *, today: date, may_prepare: bool
) -> Sheet[AgreementRow]:
    """Return the list of an account's agreements."""
    action = Field[AgreementRow](
        "Action",
        lambda row: row.id,
        lambda row: (
            Cell(
                "End or change",
                href=url_for(
                    "console.end_agreement", account_id=row.account_id, agreement_id=row.id
                ),
                hidden=names.get(row.tariff_code, row.tariff_code),
            )
            if row.ends_on is None or row.ends_on > today
            else Cell("")
        ),
        in_file=False,
    )
    return Sheet(
        name="agreements",
        beside=True,
        caption="Agreements",
        empty="This account is on no tariff, so it is never charged. Make an agreement.",
        fields=(
            Field(
                "Service",
                lambda row: names.get(row.tariff_code, row.tariff_code),
                lambda row: Cell(
                    names.get(row.tariff_code, row.tariff_code),
                    href=url_for("console.tariff", code=row.tariff_code),
                ),
            ),
            Field(
                "From",
                lambda row: row.starts_on,
                lambda row: Cell(show_date(row.starts_on), nowrap=True),
            ),
            Field(
                "Until",
                lambda row: row.ends_on,
                lambda row: Cell(
                    "Open end" if row.ends_on is None else show_date(row.ends_on), nowrap=True
                ),
            ),
            Field("National pool", lambda row: "Member" if row.pooled else "Not a member"),
            Field("Group", lambda row: row.group_code or ""),
            Field(
                "State",
                lambda row: _standing(row.starts_on, row.ends_on, today).text,
                lambda row: _standing(row.starts_on, row.ends_on, today),
            ),
            *((action,) if may_prepare else ()),
        ),
    )


def orders_sheet(names: Mapping[str, str], *, today: date) -> Sheet[PurchaseOrderRow]:
    """Return the list of an account's purchase orders."""
    return Sheet(
        name="purchase-orders",
        beside=True,
        caption="Purchase orders",
        empty="No purchase order is quoted on invoices. Add one if the trust asks for it.",
        fields=(
            Field("Number", lambda row: row.number, lambda row: Cell(row.number, nowrap=True)),
            Field(
                "For",
                lambda row: (
                    "Every service"
                    if row.tariff_code is None
                    else names.get(row.tariff_code, row.tariff_code)
                ),
            ),
            Field("From", lambda row: row.starts_on, lambda row: Cell(show_date(row.starts_on))),
            Field(
                "Until",
                lambda row: row.ends_on,
                lambda row: Cell("Open end" if row.ends_on is None else show_date(row.ends_on)),
            ),
            Field(
                "Value",
                lambda row: row.value,
                lambda row: Cell(
                    "No limit" if row.value is None else show_pounds(row.value), nowrap=True
                ),
                numeric=True,
            ),
            Field(
                "When it is spent",
                lambda row: "Hold the invoice" if row.hold_when_spent else "Invoice all the same",
            ),
            Field(
                "State",
                lambda row: _standing(row.starts_on, row.ends_on, today).text,
                lambda row: _standing(row.starts_on, row.ends_on, today),
            ),
        ),
    )


def treatments_sheet(names: Mapping[str, str], *, today: date) -> Sheet[VatTreatmentRow]:
    """Return the list of an account's own VAT treatments."""
    return Sheet(
        name="vat-treatments",
        beside=True,
        caption="VAT treatments",
        empty="Each tariff's own VAT treatment applies. Set one here only where this "
        "organisation is taxed otherwise.",
        fields=(
            Field("Treatment", lambda row: TREATMENT_WORDS[row.treatment]),
            Field(
                "For",
                lambda row: (
                    "Every service"
                    if row.tariff_code is None
                    else names.get(row.tariff_code, row.tariff_code)
                ),
            ),
            Field("Reason", lambda row: row.reason or ""),
            Field("From", lambda row: row.starts_on, lambda row: Cell(show_date(row.starts_on))),
            Field(
                "Until",
                lambda row: row.ends_on,
                lambda row: Cell("Open end" if row.ends_on is None else show_date(row.ends_on)),
            ),
            Field(
                "State",
                lambda row: _standing(row.starts_on, row.ends_on, today).text,
                lambda row: _standing(row.starts_on, row.ends_on, today),
            ),
        ),
    )


def account_page(
    found: AccountDetails,
    *,
    agreements: Listing,
    locals_: Listing,
    orders: Listing,
    treatments: Listing,
) -> AccountPage:
    """Return the page of one account."""
    row = found.account
    history = []
    if found.successor is not None and row.closed_at is not None:
        history.append(
            (
                f"Became part of {found.successor.name} on {show_date(london_day(row.closed_at))}",
                url_for("console.account", account_id=found.successor.id),
            )
        )
    history += [
        (f"Took over from {one.name}", url_for("console.account", account_id=one.id))
        for one in found.predecessors
    ]
    return AccountPage(
        id=row.id,
        name=row.name,
        code=found.organisation.ods_code,
        status="Open" if row.closed_at is None else "Closed",
        colour="green" if row.closed_at is None else "grey",
        details=(
            ("ODS code", found.organisation.ods_code),
            ("Address", ", ".join([*map(str, row.address), row.postcode])),
            ("Email address", row.email),
            ("VAT number", show_vat_number(row.vat_number) if row.vat_number else "Not given"),
            ("Payment terms", f"{row.payment_terms_days} days from issue"),
            (
                "NHS VAT division",
                "In ours: supplies are outside the scope of VAT"
                if row.in_nhs_vat_division
                else "Not in ours",
            ),
            ("Opened", show_date(london_day(row.opened_at))),
        ),
        agreements=agreements,
        locals=locals_,
        orders=orders,
        treatments=treatments,
        history=tuple(history),
        closed=row.closed_at is not None,
    )
