"""What the month-end pages show."""

from dataclasses import dataclass

from flask import url_for

from billing.access.model import Permission, Principal
from billing.bundles.pages import BundleView
from billing.console.month_end_queries import DocumentProgress
from billing.console.month_end_sheets import (
    CHECKLIST_WORDS,
    RUN_COLOURS,
    STATUS_WORDS,
    check_words,
    parked_sheet,
    services_sheet,
    variance_sheet,
)
from billing.console.people import Names
from billing.documents.words import plural
from billing.listing import Listing
from billing.money import show_pounds
from billing.runs.model import AccountFigures, Check, Outcome, Review
from billing.runs.tables import BillRunRow
from metering.periods import Month

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
class Lookout:
    """One check of the list before issue, with how many accounts it holds and warns of."""

    title: str
    href: str
    words: str
    tag: str
    colour: str


@dataclass(frozen=True)
class Wanted:
    """Which accounts the review shows: of a status, and with something to look at.

    `look`: `outlier`, or the name of a check that does not pass.
    """

    status: str = ""
    look: str = ""

    def fits(self, item: AccountFigures) -> bool:
        """Say whether an account is among them."""
        if self.status not in {"", item.status}:
            return False
        if self.look == "outlier":
            return item.is_outlier
        return self.look == "" or any(
            check.name == self.look for check in (*item.failing, *item.warnings)
        )


@dataclass(frozen=True)
class Board:
    """The month-end board.

    Attributes:
        lookouts: the checks of the list before issue that some draft does not pass.
        documents: how many invoices and credit notes are issued.
    """

    month: Month
    run_id: str
    status: str
    colour: str
    steps: tuple[Step, ...]
    checks: tuple[CheckLine, ...]
    figures: tuple[dict[str, str], ...]
    services: Listing
    lookouts: tuple[Lookout, ...]
    parked: Listing
    variance: Listing
    is_filtered: bool
    statuses: tuple[tuple[str, str], ...]
    looks: tuple[tuple[str, str], ...]
    documents: int
    bundles: tuple[BundleView, ...]
    actions: Actions
    wanted: str


def board_page(
    review: Review,
    row: BillRunRow,
    *,
    principal: Principal,
    names: Names,
    documents: DocumentProgress,
    wanted: Wanted,
    bundles: tuple[BundleView, ...],
) -> Board:
    """Return the board of a run for whoever looks at it."""
    counts = review.counts
    found = review.to_look_at
    path = url_for("console.board", month=str(review.month))
    return Board(
        month=review.month,
        run_id=review.run_id,
        status=review.status.capitalize(),
        colour=RUN_COLOURS[review.status],
        steps=_steps(review, row, names, documents),
        checks=tuple(_check_line(check) for check in review.checks),
        figures=_figures(review),
        services=services_sheet(review.month).listing(review.services),
        lookouts=tuple(
            _lookout(name, *found[name], path=path) for name in CHECKLIST_WORDS if name in found
        ),
        parked=parked_sheet(review.month).listing(left_out(review)),
        variance=variance_sheet(review.month).listing(
            shown(review, wanted),
            query={"status": wanted.status, "look": wanted.look},
            empty="No account is like that. Clear the filters to see all.",
        ),
        is_filtered=wanted != Wanted(),
        statuses=(
            ("", "All"),
            *(
                (status, f"{STATUS_WORDS[status]} ({counts[status]})")
                for status in STATUS_WORDS
                if status in counts
            ),
        ),
        looks=(
            ("", "Everything"),
            ("outlier", f"Outliers ({len(review.outliers)})"),
            *(
                (name, f"{check_words(name)} ({sum(found[name])})")
                for name in CHECKLIST_WORDS
                if name in found
            ),
        ),
        documents=documents.issued,
        bundles=bundles,
        actions=actions_for(
            review,
            row,
            principal=principal,
            names=names,
            waiting=bool(counts.get("waiting")),
        ),
        wanted={"draft": "Drafting", "issue": "Issuing"}.get(row.wanted or "", ""),
    )


def shown(review: Review, wanted: Wanted) -> list[AccountFigures]:
    """Return the accounts that the review shows, what asks for a look first."""
    return [item for item in review.ranked if wanted.fits(item)]


def left_out(review: Review) -> list[AccountFigures]:
    """Return the accounts that get no invoice in this run, with a reason to read."""
    return [item for item in review.accounts if item.status in {"parked", "held", "carried-over"}]


def _lookout(name: str, fails: int, warns: int, *, path: str) -> Lookout:
    parts = []
    if fails:
        parts.append(f"{plural(fails, 'account')} held")
    if warns:
        parts.append(f"{plural(warns, 'account')} warned of")
    tag, colour = ("Held", "red") if fails else ("Look at this", "orange")
    return Lookout(check_words(name), f"{path}?look={name}#variance", ", ".join(parts), tag, colour)


def actions_for(
    review: Review, row: BillRunRow, *, principal: Principal, names: Names, waiting: bool
) -> Actions:
    """Return what a principal may do with a run where it stands.

    Args:
        waiting: whether an account of the run waits to be drafted.
    """
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
        draft=prepares
        and before_approval
        and not row.wanted
        and (review.status == "open" or waiting),
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


def _against_last(review: Review) -> str:
    last = review.month.previous.name
    if all(account.last_net is None for account in review.accounts):
        return f"Nothing was invoiced for {last}"
    change = review.net - review.last_net
    if not change:
        return f"The same as in {last}"
    return f"{show_pounds(abs(change))} {'more' if change > 0 else 'less'} than in {last}"


def _figures(review: Review) -> tuple[dict[str, str], ...]:
    counts = review.counts
    left_out = counts.get("parked", 0) + counts.get("held", 0)
    return (
        {
            "label": "Net",
            "value": show_pounds(review.net),
            "note": _against_last(review),
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
