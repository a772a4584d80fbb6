"""The month end: its steps, what stops it, its figures against last month, and its approval."""

from flask import Response, flash, render_template, request, url_for
from sqlalchemy.orm import Session

from billing.access.guards import current_principal
from billing.bundles.operations import Selection, bundles
from billing.console.blueprint import APPROVES, PREPARES, blueprint
from billing.console.bundle_views import views_of
from billing.console.context import console
from billing.console.month_end_pages import Wanted, actions_for, board_page
from billing.console.month_end_queries import document_progress, next_month, run_of_month
from billing.console.month_end_sheets import (
    runs_sheet,
)
from billing.console.people import names_of
from billing.console.run_account_pages import run_account_page
from billing.documents.words import plural
from billing.forms import Form, read_text
from billing.invoices import queries as invoices
from billing.invoices.supplier import supplier_of
from billing.runs import operations, queries
from billing.runs.model import AccountFigures, Outcome, may_start_at
from billing.runs.queries import RunUnknown
from billing.runs.tables import BillRunRow
from billing.web import go
from metering.kit import audit
from metering.kit.errors import Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import Month

_DOCUMENTS = ("draft", "issued", "settled")


@blueprint.get("/month-ends")
def month_ends() -> Response | str:
    """List the months that were or are being invoiced."""
    now = edge().clock()
    with edge().database.snapshot() as session:
        rows = queries.runs(session)
        upcoming = next_month(session, current=Month.of(now))
        names = names_of(
            session, principals=[who for row in rows for who in (row.started_by, row.approved_by)]
        )
    sheet = runs_sheet(names)
    opens_at = may_start_at(upcoming)
    return render_template(
        "console/month_ends.html",
        listing=sheet.listing(rows),
        upcoming=upcoming,
        opens_at=opens_at,
        is_open=now >= opens_at,
        unfinished=next((Month.of_day(row.month) for row in rows if row.status != "issued"), None),
    )


@blueprint.post("/month-ends")
@guarded(PREPARES)
def start_month_end() -> Response:
    """Start the run of the month that comes next."""
    now = edge().clock()
    with edge().database.transaction() as session:
        month = next_month(session, current=Month.of(now))
        operations.start_run(
            session,
            month=month,
            supplier=supplier_of(console().settings),
            principal=current_principal().id,
            now=now,
            smallest_invoice=console().settings.smallest_invoice,
        )
    flash(f"The month end of {month.name} has started.", "success")
    return go(url_for("console.board", month=str(month)))


@blueprint.get("/month-ends/<month>")
def board(month: str) -> Response | str:
    """Show where a month end stands, what stops it and what to look at."""
    wanted = Wanted(request.args.get("status", ""), request.args.get("look", ""))
    with edge().database.snapshot() as session:
        row = run_of_month(session, month)
        review = queries.review(session, run_id=row.id)
        names = names_of(session, principals=[row.started_by, row.approved_by, row.wanted_by])
        documents = document_progress(session, run_id=row.id)
        made = bundles(session, selection=Selection(run_id=row.id))
    page = board_page(
        review,
        row,
        principal=current_principal(),
        names=names,
        documents=documents,
        wanted=wanted,
        bundles=views_of(made, month=review.month),
    )
    return render_template(
        "console/board.html",
        page=page,
        filters=Form({"status": wanted.status, "look": wanted.look}),
    )


@blueprint.post("/month-ends/<month>/check")
@guarded(PREPARES)
def check_month_end(month: str) -> Response:
    """Run the checks again."""
    with edge().database.transaction() as session:
        row = run_of_month(session, month)
        checks = operations.check_run(session, run_id=row.id)
        failed = sum(check.outcome is Outcome.FAIL for check in checks)
        _note(session, "check bill run", row, {"failed": failed})
    flash(
        f"{plural(failed, 'check')} stops the run." if failed else "No check stops the run.",
        "message" if failed else "success",
    )
    return _back(month)


@blueprint.post("/month-ends/<month>/draft")
@guarded(PREPARES)
def draft_month_end(month: str) -> Response:
    """Ask for the invoices to be drafted; a job does it."""
    _want(month, "draft")
    flash("The invoices are being drafted. This page shows how far they are.", "success")
    return _back(month)


@blueprint.post("/month-ends/<month>/issue")
@guarded(PREPARES)
def issue_month_end(month: str) -> Response:
    """Ask for the approved invoices to be issued; a job does it."""
    _want(month, "issue")
    flash("The invoices are being issued. This page shows how far they are.", "success")
    return _back(month)


def _want(month: str, work: str) -> None:
    with edge().database.transaction() as session:
        row = run_of_month(session, month)
        operations.want(session, run_id=row.id, work=work, principal=current_principal().id)
        _note(session, f"ask to {work} bill run", row, {"month": month})


@blueprint.post("/month-ends/<month>/reopen")
@guarded(PREPARES)
def reopen_month_end(month: str) -> Response:
    """Throw the drafts away, so that usage that came since counts too."""
    with edge().database.transaction() as session:
        row = run_of_month(session, month)
        operations.reopen_run(
            session, run_id=row.id, principal=current_principal().id, now=edge().clock()
        )
    flash("The drafts are thrown away. Draft the invoices again when you are ready.", "success")
    return _back(month)


@blueprint.post("/month-ends/<month>/approve")
@guarded(APPROVES)
def approve_month_end(month: str) -> Response:
    """Approve the drafts as the second person."""
    with edge().database.transaction() as session:
        row = run_of_month(session, month)
        operations.approve_run(
            session, run_id=row.id, principal=current_principal().id, now=edge().clock()
        )
    flash("The month end is approved. Its invoices can be issued.", "success")
    return _back(month)


@blueprint.get("/month-ends/<month>/accounts/<account_id>")
def run_account(month: str, account_id: str) -> str:
    """Show one account's part in a month end."""
    return _account_page(month, account_id, Form())


@blueprint.post("/month-ends/<month>/accounts/<account_id>/hold")
@guarded(PREPARES)
def hold_account(month: str, account_id: str) -> Response | tuple[str, int]:
    """Leave an account out of the month end, for a reason."""
    reason = read_text(request.form, "reason")
    form = Form({"reason": reason})
    if not reason:
        form = form.with_error("Enter why the account is held", name="reason")
        return _account_page(month, account_id, form), 422
    try:
        with edge().database.transaction() as session:
            operations.hold_account(
                session,
                run_id=run_of_month(session, month).id,
                account_id=account_id,
                reason=reason,
                principal=current_principal().id,
                now=edge().clock(),
            )
    except Refusal as refusal:
        return _account_page(month, account_id, form.with_error(refusal.detail)), 409
    flash("The account is held. What it owes goes on a later invoice.", "success")
    return go(url_for("console.run_account", month=month, account_id=account_id))


@blueprint.post("/month-ends/<month>/accounts/<account_id>/release")
@guarded(PREPARES)
def release_account(month: str, account_id: str) -> Response | tuple[str, int]:
    """Put an account back into the month end."""
    over_order = request.form.get("over_order") == "yes"
    try:
        with edge().database.transaction() as session:
            operations.release_account(
                session,
                run_id=run_of_month(session, month).id,
                account_id=account_id,
                principal=current_principal().id,
                now=edge().clock(),
                over_order=over_order,
            )
    except Refusal as refusal:
        return _account_page(month, account_id, Form().with_error(refusal.detail)), 409
    flash(
        "The draft is taken as it is."
        if over_order
        else "The account is back in the month end. Draft the invoices again to include it.",
        "success",
    )
    return go(url_for("console.run_account", month=month, account_id=account_id))


def _account_page(month: str, account_id: str, form: Form) -> str:
    with edge().database.snapshot() as session:
        row = run_of_month(session, month)
        review = queries.review(session, run_id=row.id, account_id=account_id)
        figures = _figures(review.accounts, account_id)
        # Whether the run may go on is asked of all of it.
        waiting = bool(queries.counts(session, run_id=row.id).get("waiting"))
        documents = invoices.invoices(
            session, account_id=account_id, run_id=row.id, statuses=_DOCUMENTS
        )
        names = names_of(session, principals=[row.started_by])
    actions = actions_for(review, row, principal=current_principal(), names=names, waiting=waiting)
    page = run_account_page(review, figures, documents, actions=actions)
    return render_template("console/run_account.html", page=page, form=form)


def _figures(accounts: tuple[AccountFigures, ...], account_id: str) -> AccountFigures:
    for item in accounts:
        if item.account_id == account_id:
            return item
    raise RunUnknown("The account is not in this month end.")


def _note(session: Session, action: str, row: BillRunRow, facts: dict[str, object]) -> None:
    audit.record(
        session,
        now=edge().clock(),
        principal=current_principal().id,
        action=action,
        object_kind="bill run",
        object_id=row.id,
        facts=facts,
    )


def _back(month: str) -> Response:
    return go(url_for("console.board", month=month))
