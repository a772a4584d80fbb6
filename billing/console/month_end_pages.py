"""What the month-end pages show."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from flask import url_for

from billing.access.model import Permission, Principal
from billing.console.lists import Field, Sheet
from billing.console.month_end_queries import DocumentProgress
from billing.console.people import Names
from billing.documents.words import plural
from billing.invoices.tables import InvoiceRow
from billing.listing import Cell, Listing
from billing.money import NOUGHT, show_pounds, sum_pounds
from billing.runs.model import AccountFigures, Check, Outcome, Review
from billing.runs.tables import BillRunRow
from metering.periods import Month, london_day, show_date

STATUS_COLOURS = {
    "waiting": "grey",
    "drafted": "blue",
    "nothing-due": "white",
    "parked": "red",
    "held": "orange",
    "issued": "green",
}
STATUS_WORDS = {
    "waiting": "Waiting",
    "drafted": "Drafted",
    "nothing-due": "Nothing due",
    "parked": "Parked",
    "held": "Held",
    "issued": "Issued",
}
RUN_COLOURS = {"open": "grey", "drafted": "blue", "approved": "purple", "issued": "green"}

CHECK_WORDS = {
    "usage-added-up": "Usage is added up",
    "conservation": "Nothing is lost or doubled",
    "events-in-their-month": "Every event is in its month",
    "manifests": "Services' own counts agree",
    "parked-usage": "Usage set aside",
}
CHECK_TAGS = {
    Outcome.PASS: ("Passed", "green"),
    Outcome.WARN: ("Look at this", "orange"),
    Outcome.FAIL: ("Stops the run", "red"),
}


@dataclass(frozen=True)
class Step:
    """One step of the month end, and how far it is."""

    title: str
    hint: str
    tag: str
    colour: str


@dataclass(frozen=True)
class CheckLine:
    """One check before the invoices, in words."""

    title: str
    detail: str
    tag: str
    colour: str


@dataclass(frozen=True)
class Actions:
    """What whoever looks may do now, and the kind word where they may not."""

    draft: bool
    check: bool
    reopen: bool
    approve: bool
    issue: bool
    hold: bool
    note: str = ""


@dataclass(frozen=True)
class Board:
    """The month-end board."""

    month: Month
    run_id: str
    status: str
    colour: str
    steps: tuple[Step, ...]
    checks: tuple[CheckLine, ...]
    figures: tuple[dict[str, str], ...]
    parked: Listing
    variance: Listing
    filter_status: str
    statuses: tuple[tuple[str, str], ...]
    actions: Actions
    wanted: str


def _change_cell(item: AccountFigures) -> Cell:
    if item.last_net is None:
        return Cell("New")
    if item.change == 0:
        return Cell("£0.00")
    return Cell(f"{'+' if item.change > 0 else ''}{show_pounds(item.change)}", nowrap=True)


def percent_change(item: AccountFigures) -> int | None:
    """Return the change from last month in whole percent, None without a last month."""
    if not item.last_net:
        return None
    return int((item.change * 100 / item.last_net).to_integral_value())


def _percent_cell(item: AccountFigures) -> Cell:
    found = percent_change(item)
    return Cell("" if found is None else f"{found:+d}%".replace("-", "−"), nowrap=True)


def _magnitude(item: AccountFigures) -> Decimal:
    """Put outliers first, then by how much an account changed."""
    weight = Decimal(10) ** 15 if item.is_outlier else NOUGHT
    return weight + abs(item.change)


def variance_sheet(month: Month) -> Sheet[AccountFigures]:
    """Return the list of a run's accounts against the month before, outliers first."""
    return Sheet(
        name=f"month-end-{month}",
        caption=f"Accounts in {month.name}",
        sort="change",
        direction="descending",
        empty="There is no account in this run. Open accounts first.",
        fields=(
            Field(
                "Account",
                lambda item: item.name,
                lambda item: Cell(
                    item.name,
                    href=url_for(
                        "console.run_account", month=str(month), account_id=item.account_id
                    ),
                ),
                key="account",
            ),
            Field("ODS code", lambda item: item.ods_code, key="ods"),
            Field(
                "Status",
                lambda item: STATUS_WORDS[item.status],
                lambda item: Cell(STATUS_WORDS[item.status], colour=STATUS_COLOURS[item.status]),
                key="status",
            ),
            Field("Status reason", lambda item: item.reason, on_page=False),
            Field(
                "Net",
                lambda item: item.net,
                lambda item: Cell(show_pounds(item.net), nowrap=True),
                key="net",
                numeric=True,
            ),
            Field("VAT", lambda item: item.vat, on_page=False),
            Field("Total", lambda item: item.total, on_page=False),
            Field("Corrections", lambda item: item.corrections, on_page=False),
            Field("Saved by the pool", lambda item: item.pool_saving, on_page=False),
            Field(
                "Last month",
                lambda item: item.last_net,
                lambda item: Cell(
                    "None" if item.last_net is None else show_pounds(item.last_net), nowrap=True
                ),
                key="last",
                numeric=True,
            ),
            Field("Change", _magnitude, _change_cell, key="change", numeric=True, in_file=False),
            Field("Change", lambda item: item.change, on_page=False),
            Field("Change, %", percent_change, _percent_cell, key="percent", numeric=True),
            Field(
                "Review",
                lambda item: "Look at this" if item.is_outlier else "",
                lambda item: Cell("Outlier", colour="yellow") if item.is_outlier else Cell(""),
            ),
        ),
    )


def parked_sheet(month: Month) -> Sheet[AccountFigures]:
    """Return the list of accounts that a run leaves out, with the reason."""
    return Sheet(
        name=f"left-out-{month}",
        caption="Parked and held accounts",
        empty="No account is parked or held.",
        sort="account",
        fields=(
            Field(
                "Account",
                lambda item: item.name,
                lambda item: Cell(
                    item.name,
                    href=url_for(
                        "console.run_account", month=str(month), account_id=item.account_id
                    ),
                ),
                key="account",
            ),
            Field(
                "Status",
                lambda item: STATUS_WORDS[item.status],
                lambda item: Cell(STATUS_WORDS[item.status], colour=STATUS_COLOURS[item.status]),
            ),
            Field("Reason", lambda item: item.reason or ""),
        ),
    )


def runs_sheet(names: Names) -> Sheet[BillRunRow]:
    """Return the list of all month ends."""
    return Sheet(
        name="month-ends",
        caption="Month ends",
        sort="month",
        direction="descending",
        empty="No month has been invoiced yet. Start the first month end above.",
        fields=(
            Field(
                "Month",
                lambda row: row.month,
                lambda row: Cell(
                    Month.of_day(row.month).name,
                    href=url_for("console.board", month=str(Month.of_day(row.month))),
                ),
                key="month",
            ),
            Field(
                "Status",
                lambda row: row.status,
                lambda row: Cell(row.status.capitalize(), colour=RUN_COLOURS[row.status]),
                key="status",
            ),
            Field("Started by", lambda row: names.of(row.started_by)),
            Field("Approved by", lambda row: names.of(row.approved_by)),
            Field("Issued", lambda row: row.issued_at, lambda row: _day_cell(row), key="issued"),
        ),
    )


def _day_cell(row: BillRunRow) -> Cell:
    if row.issued_at is None:
        return Cell("Not yet")
    return Cell(show_date(london_day(row.issued_at)), nowrap=True)


def board_page(
    review: Review,
    row: BillRunRow,
    *,
    principal: Principal,
    names: Names,
    documents: DocumentProgress,
    filter_status: str,
) -> Board:
    """Return the board of a run for whoever looks at it."""
    shown = [item for item in review.accounts if filter_status in {"", item.status}]
    left_out = [item for item in review.accounts if item.status in {"parked", "held"}]
    counts = review.counts
    return Board(
        month=review.month,
        run_id=review.run_id,
        status=review.status.capitalize(),
        colour=RUN_COLOURS[review.status],
        steps=_steps(review, row, names, documents),
        checks=tuple(_check_line(check) for check in review.checks),
        figures=_figures(review),
        parked=parked_sheet(review.month).listing(left_out),
        variance=variance_sheet(review.month).listing(
            shown,
            query={"status": filter_status},
            empty="No account has that status. Clear the filter to see all.",
        ),
        filter_status=filter_status,
        statuses=(
            ("", "All"),
            *(
                (status, f"{STATUS_WORDS[status]} ({counts[status]})")
                for status in STATUS_WORDS
                if status in counts
            ),
        ),
        actions=actions_for(review, row, principal=principal, names=names),
        wanted={"draft": "Drafting", "issue": "Issuing"}.get(row.wanted or "", ""),
    )


def _can_be_drafted(review: Review) -> bool:
    return review.status == "open" or bool(review.counts.get("waiting"))


def actions_for(review: Review, row: BillRunRow, *, principal: Principal, names: Names) -> Actions:
    """Return what a principal may do with a run where it stands."""
    prepares, approves = principal.may(Permission.PREPARE), principal.may(Permission.APPROVE)
    before_approval = review.status in {"open", "drafted"}
    note = ""
    if review.status == "drafted":
        if row.started_by == principal.id:
            note = (
                "You started this month end, so somebody else must approve it. "
                "Ask a colleague with the role Central approver."
            )
        elif not approves:
            note = (
                f"Somebody with the role Central approver, other than "
                f"{names.of(row.started_by)}, approves these drafts."
            )
    return Actions(
        draft=prepares and before_approval and not row.wanted and _can_be_drafted(review),
        check=prepares and before_approval and not row.wanted,
        reopen=prepares and before_approval,
        approve=approves and review.status == "drafted" and row.started_by != principal.id,
        issue=prepares and review.status == "approved" and not row.wanted,
        hold=prepares and before_approval,
        note=note,
    )


def _steps(
    review: Review, row: BillRunRow, names: Names, documents: DocumentProgress
) -> tuple[Step, ...]:
    counts, status = review.counts, review.status
    failed = sum(check.outcome is Outcome.FAIL for check in review.checks)
    past_draft = status in {"drafted", "approved", "issued"}
    past_approval = status in {"approved", "issued"}
    drafted = len(review.accounts) - counts.get("waiting", 0)
    outliers = len(review.outliers)
    if not review.checks:
        checked = Step("Check the usage", "The checks have not run yet.", "To do", "blue")
    elif failed:
        hint = f"{plural(failed, 'check')} must be mended before invoices can be drafted."
        checked = Step("Check the usage", hint, "Stopped", "red")
    else:
        checked = Step("Check the usage", "No check stops the run.", "Done", "green")
    return (
        checked,
        Step(
            "Draft the invoices",
            f"{drafted} of {plural(len(review.accounts), 'account')} worked out.",
            *_tag(done=past_draft, doing=row.wanted == "draft"),
        ),
        Step(
            "Review the drafts",
            f"{plural(outliers, 'account')} changed by half or more from last month. "
            f"{plural(counts.get('parked', 0), 'account')} parked, "
            f"{counts.get('held', 0)} held.",
            *_tag(done=past_approval, doing=past_draft),
        ),
        Step(
            "Approve, by another person",
            f"Approved by {names.of(row.approved_by)}."
            if row.approved_by
            else f"Started by {names.of(row.started_by)}, who cannot approve it.",
            *_tag(done=past_approval, doing=False),
        ),
        Step(
            "Issue the invoices",
            f"{plural(documents.issued, 'document')} issued, numbered and sealed.",
            *_tag(done=status == "issued", doing=row.wanted == "issue"),
        ),
        Step(
            "Make the files",
            f"{documents.made} of {documents.issued} have their PDF and spreadsheets.",
            *_tag(
                done=status == "issued" and documents.is_done,
                doing=bool(documents.issued) and not documents.is_done,
            ),
        ),
    )


def _tag(*, done: bool, doing: bool) -> tuple[str, str]:
    if done:
        return ("Done", "green")
    return ("In progress", "yellow") if doing else ("To do", "blue")


def _check_line(check: Check) -> CheckLine:
    tag, colour = CHECK_TAGS[check.outcome]
    return CheckLine(
        CHECK_WORDS.get(check.name, check.name.replace("-", " ").capitalize()),
        check.detail,
        tag,
        colour,
    )


def _figures(review: Review) -> tuple[dict[str, str], ...]:
    counts = review.counts
    last = sum_pounds([item.last_net for item in review.accounts if item.last_net is not None])
    change = review.net - last
    word = "more" if change >= 0 else "less"
    left_out = counts.get("parked", 0) + counts.get("held", 0)
    return (
        {
            "label": "Net",
            "value": show_pounds(review.net),
            "note": f"{show_pounds(abs(change))} {word} than in {review.month.previous.name}",
        },
        {"label": "Total with VAT", "value": show_pounds(review.total)},
        {
            "label": "To look at",
            "value": plural(len(review.outliers), "outlier"),
            "note": "Changed by half or more, and £100 or more",
            "tone": "warning" if review.outliers else "success",
        },
        {
            "label": "Left out",
            "value": plural(left_out, "account"),
            "note": f"{counts.get('parked', 0)} parked, {counts.get('held', 0)} held",
            "tone": "warning" if left_out else "success",
        },
    )


@dataclass(frozen=True)
class Draft:
    """One draft or issued document of an account in a run."""

    name: str
    href: str
    net: str
    total: str
    status: str


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
        change=_change_cell(figures).text,
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
            )
            for row in documents
        ),
        can_hold=actions.hold and figures.status in {"waiting", "drafted", "nothing-due", "parked"},
        can_release=actions.hold and figures.status in {"held", "parked", "drafted"},
        over_order=figures.status == "held" and bool(documents),
    )
