"""What the page of one account in a month end shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from flask import url_for

from billing.console.month_end_pages import Actions, CheckLine
from billing.console.month_end_sheets import (
    STATUS_COLOURS,
    STATUS_WORDS,
    change_text,
    check_words,
)
from billing.invoices.tables import InvoiceRow
from billing.money import show_pounds
from billing.runs.model import AccountFigures, Check, Outcome, Review
from metering.periods import Month


@dataclass(frozen=True)
class Draft:
    """One draft or issued document of an account in a run, with the list before issue."""

    name: str
    href: str
    net: str
    total: str
    status: str
    checks: tuple[CheckLine, ...]


@dataclass(frozen=True)
class RunAccount:
    """One account in a run."""

    month: Month
    figures: AccountFigures
    status: str
    colour: str
    change: str
    drafts: tuple[Draft, ...]
    can_hold: bool
    can_release: bool
    over_order: bool


def run_account_page(
    review: Review,
    figures: AccountFigures,
    documents: Sequence[InvoiceRow],
    *,
    actions: Actions,
) -> RunAccount:
    """Return one account's part in a run."""
    return RunAccount(
        month=review.month,
        figures=figures,
        status=STATUS_WORDS[figures.status],
        colour=STATUS_COLOURS[figures.status],
        change=change_text(figures),
        drafts=tuple(
            Draft(
                name=row.number
                or ("Draft credit note" if row.kind == "credit-note" else "Draft invoice"),
                href=url_for("portal.invoice", code=figures.ods_code, invoice_id=row.id)
                if row.number
                else "",
                net=show_pounds(row.net),
                total=show_pounds(row.total),
                status=row.status.capitalize(),
                checks=tuple(_line(check) for check in figures.checked.get(row.id, ())),
            )
            for row in documents
        ),
        can_hold=actions.hold and figures.status in {"waiting", "drafted", "nothing-due", "parked"},
        can_release=actions.hold and figures.status in {"held", "parked", "drafted"},
        over_order=figures.status == "held" and bool(documents),
    )


def _line(check: Check) -> CheckLine:
    tag, colour = {
        Outcome.PASS: ("Passed", "green"),
        Outcome.WARN: ("Look at this", "orange"),
        Outcome.FAIL: ("Held", "red"),
    }[check.outcome]
    return CheckLine(check_words(check.name), check.detail, tag, colour)
