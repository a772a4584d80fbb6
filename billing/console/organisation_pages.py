"""What the pages of organisations show."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from flask import url_for

from billing.console.lists import Field, Sheet
from billing.listing import Cell, day_cell
from metering.organisations.tables import OrganisationRow
from metering.periods import show_date

KINDS = {
    "acute": "Acute trust",
    "mental_health": "Mental health trust",
    "community": "Community trust",
    "specialist": "Specialist trust",
    "ambulance": "Ambulance trust",
    "digital": "Digital provider",
    "icb": "Integrated care board",
    "other": "Other body",
}


def kind_words(kind: str) -> str:
    """Return a kind of body in words."""
    return KINDS.get(kind, kind.replace("_", " ").replace("-", " ").capitalize())


def standing(row: OrganisationRow, today: date) -> Cell:
    """Return whether a body exists on a London date."""
    if row.closed_from is not None and row.closed_from <= today:
        return Cell("Closed", colour="grey")
    if row.opened_on is not None and row.opened_on > today:
        return Cell("Opens later", colour="blue")
    if row.closed_from is not None:
        return Cell("Closes later", colour="yellow")
    return Cell("Open", colour="green")


def organisations_sheet(today: date, accounts: Mapping[int, str]) -> Sheet[OrganisationRow]:
    """Return the list of organisations.

    Args:
        accounts: id of the account of an organisation that has one.
    """

    def account(row: OrganisationRow) -> Cell:
        found = accounts.get(row.id)
        if found is None:
            return Cell("None")
        href = url_for("console.account", account_id=found)
        return Cell("Account", href=href, hidden=f"of {row.name}")

    return Sheet(
        name="organisations",
        caption="Organisations",
        sort="name",
        findable=False,
        empty="No organisation is registered yet. Register one, or import an ODS file.",
        fields=(
            Field(
                "Organisation",
                lambda row: row.name,
                lambda row: Cell(row.name, href=url_for("console.organisation", code=row.ods_code)),
                key="name",
            ),
            Field("ODS code", lambda row: row.ods_code),
            Field("Kind", lambda row: kind_words(row.kind)),
            Field("Postcode", lambda row: row.postcode, on_page=False),
            Field("Opened", lambda row: row.opened_on, lambda row: day_cell(row.opened_on)),
            Field(
                "Closed from", lambda row: row.closed_from, lambda row: day_cell(row.closed_from)
            ),
            Field("Account", lambda row: accounts.get(row.id), account),
            Field("State", lambda row: standing(row, today).text, lambda row: standing(row, today)),
        ),
    )


@dataclass(frozen=True)
class OrganisationPage:
    """One organisation."""

    name: str
    code: str
    state: Cell
    facts: tuple[tuple[str, str], ...]
    history: tuple[tuple[str, str], ...]
    account_href: str | None
    closed: bool


def organisation_page(
    row: OrganisationRow,
    *,
    today: date,
    account_id: str | None,
    predecessors: Mapping[str, str],
    successors: Mapping[str, str],
) -> OrganisationPage:
    """Return the page of one organisation; predecessors and successors as name by ODS code."""

    def when(day: date | None, none: str) -> str:
        return none if day is None else show_date(day)

    history = [
        (f"Took over from {name}", url_for("console.organisation", code=code))
        for code, name in predecessors.items()
    ]
    history += [
        (f"{name} took over from it", url_for("console.organisation", code=code))
        for code, name in successors.items()
    ]
    return OrganisationPage(
        name=row.name,
        code=row.ods_code,
        state=standing(row, today),
        facts=(
            ("ODS code", row.ods_code),
            ("Kind", kind_words(row.kind)),
            ("Postcode", row.postcode or "Not given"),
            ("Opened", when(row.opened_on, "Long ago")),
            ("Closed from", when(row.closed_from, "Not closed")),
            ("Registered", when(row.registered_at.date(), "")),
        ),
        history=tuple(history),
        account_href=None
        if account_id is None
        else url_for("console.account", account_id=account_id),
        closed=row.closed_from is not None and row.closed_from <= today,
    )
