"""What the pages of local agreements show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from flask import url_for

from billing.access.model import Permission, Principal
from billing.accounts.model import covers
from billing.accounts.tables import LocalAgreementRow
from billing.accounts.terms import terms_words
from billing.console.lists import Field, Sheet
from billing.console.people import Names
from billing.listing import Cell
from billing.tariffs.files import dump_document
from metering.periods import london_day, show_date


@dataclass(frozen=True)
class LocalActions:
    """What the reader may do with a local agreement.

    Attributes:
        note: why they may not do the next step themselves; empty where nothing waits.
    """

    decide: bool = False
    take_back: bool = False
    end: bool = False
    decide_end: bool = False
    note: str = ""


@dataclass(frozen=True)
class LocalPage:
    """One local agreement.

    Attributes:
        prices: local prices as a tariff file has them, empty where there are none.
        crumbs: from the top, without this page.
        end: the day that was proposed as its end, in words.
    """

    id: str
    title: str
    state: Cell
    facts: tuple[tuple[str, str], ...]
    prices: str
    crumbs: tuple[tuple[str, str], ...]
    end: str
    actions: LocalActions


def state_of(row: LocalAgreementRow, today: date) -> Cell:
    """Return where a local agreement stands."""
    if row.status == "proposed":
        return Cell("Waits for approval", colour="orange")
    if row.status == "rejected":
        return Cell("Rejected", colour="grey")
    if row.end_proposed_on is not None:
        return Cell("End waits for approval", colour="orange")
    if covers(row.starts_on, row.ends_on, today):
        return Cell("Now", colour="green")
    if row.starts_on > today:
        return Cell("Later", colour="blue")
    return Cell("Ended", colour="grey")


def whose(row: LocalAgreementRow) -> str:
    """Return whose terms they are."""
    return "This account" if row.group_code is None else f"Group {row.group_code}"


def all_locals_sheet(
    names: Mapping[str, str], *, today: date
) -> Sheet[tuple[LocalAgreementRow, str]]:
    """Return the list of everybody's local agreements, each with its owner's name."""
    return Sheet(
        name="all-local-agreements",
        caption="Local agreements",
        empty="No account has terms of its own: each tariff applies as it is.",
        fields=(
            Field(
                "For",
                lambda item: item[1],
                lambda item: Cell(
                    item[1],
                    href=url_for("console.local_agreement", local_id=item[0].id),
                    hidden=f"local terms from {show_date(item[0].starts_on)}",
                ),
                key="for",
            ),
            Field(
                "Service",
                lambda item: names.get(item[0].tariff_code, item[0].tariff_code),
                key="service",
            ),
            Field("Terms", lambda item: terms_words(item[0].terms)),
            Field(
                "From",
                lambda item: item[0].starts_on,
                lambda item: Cell(show_date(item[0].starts_on), nowrap=True),
                key="from",
            ),
            Field(
                "Until",
                lambda item: item[0].ends_on,
                lambda item: Cell(
                    "Open end" if item[0].ends_on is None else show_date(item[0].ends_on),
                    nowrap=True,
                ),
            ),
            Field(
                "State",
                lambda item: state_of(item[0], today).text,
                lambda item: state_of(item[0], today),
                key="state",
            ),
        ),
    )


def locals_sheet(names: Mapping[str, str], *, today: date) -> Sheet[LocalAgreementRow]:
    """Return the list of local agreements that an account has, its groups' among them."""
    return Sheet(
        name="local-agreements",
        beside=True,
        caption="Local agreements",
        empty="No terms of its own are agreed: each tariff applies as it is.",
        fields=(
            Field(
                "Service",
                lambda row: names.get(row.tariff_code, row.tariff_code),
                lambda row: Cell(
                    names.get(row.tariff_code, row.tariff_code),
                    href=url_for("console.local_agreement", local_id=row.id),
                    hidden=f"local terms from {show_date(row.starts_on)}",
                ),
            ),
            Field("For", whose),
            Field("Terms", lambda row: terms_words(row.terms)),
            Field("From", lambda row: row.starts_on, lambda row: Cell(show_date(row.starts_on))),
            Field(
                "Until",
                lambda row: row.ends_on,
                lambda row: Cell("Open end" if row.ends_on is None else show_date(row.ends_on)),
            ),
            Field("State", lambda row: state_of(row, today).text, lambda row: state_of(row, today)),
        ),
    )


def local_page(
    row: LocalAgreementRow,
    *,
    tariff: str,
    owner: str,
    crumbs: Sequence[tuple[str, str]],
    names: Names,
    principal: Principal,
    today: date,
) -> LocalPage:
    """Return the page of one local agreement as its reader may use it.

    Args:
        tariff, owner: names of the tariff and of the account or group.
    """
    facts = [
        ("For", owner),
        ("Service", tariff),
        ("Terms", terms_words(row.terms)),
        ("First day", show_date(row.starts_on)),
        (
            "First day that it no longer covers",
            "Open end" if row.ends_on is None else show_date(row.ends_on),
        ),
        ("Proposed", f"{names.of(row.proposed_by)}, {show_date(london_day(row.proposed_at))}"),
    ]
    if row.decided_by is not None and row.decided_at is not None:
        word = "Approved" if row.status == "approved" else "Rejected"
        decided = f"{names.of(row.decided_by)}, {show_date(london_day(row.decided_at))}"
        facts.append((word, decided))
    if row.reason:
        facts.append(("Why it reaches into invoiced months", row.reason))
    if row.end_proposed_on is not None:
        by = names.of(row.end_proposed_by)
        facts.append(("End proposed", f"{show_date(row.end_proposed_on)}, by {by}"))
    elif row.end_approved_by is not None:
        by = f"{names.of(row.end_proposed_by)}, {names.of(row.end_approved_by)}"
        facts.append(("End proposed and approved by", by))
    prices = row.terms.get("prices")
    return LocalPage(
        id=row.id,
        title=f"Local terms of {tariff}",
        state=state_of(row, today),
        facts=tuple(facts),
        prices=dump_document(prices) if prices else "",
        crumbs=tuple(crumbs),
        end="" if row.end_proposed_on is None else show_date(row.end_proposed_on),
        actions=_actions(row, principal, today),
    )


def _actions(row: LocalAgreementRow, principal: Principal, today: date) -> LocalActions:
    approves = principal.may(Permission.APPROVE)
    prepares = principal.may(Permission.PREPARE)
    if row.status == "proposed":
        own = row.proposed_by == principal.id
        return LocalActions(
            decide=approves and not own,
            take_back=prepares and own,
            note="" if approves and not own else "Another person must approve these terms.",
        )
    if row.status != "approved":
        return LocalActions()
    over = row.ends_on is not None and row.ends_on <= today
    if row.end_proposed_on is not None:
        may = approves and row.end_proposed_by != principal.id
        return LocalActions(
            end=prepares, decide_end=may, note="" if may else "Another person must approve the end."
        )
    return LocalActions(end=prepares and not over)
