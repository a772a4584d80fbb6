"""All documents of a month end in one file: ask for it, see how far it is, fetch it."""

from collections.abc import Sequence

from flask import Response, flash, render_template, url_for
from sqlalchemy.orm import Session

from billing.access.guards import current_principal
from billing.bundles import operations, work
from billing.bundles.pages import BundleView, bundle_file_name, bundle_view
from billing.bundles.tables import BundleRow
from billing.console.blueprint import blueprint
from billing.console.month_end_queries import run_of_month
from billing.web import go, zip_response
from metering.kit.web import edge
from metering.periods import Month


def views_of(rows: Sequence[BundleRow], *, month: Month) -> tuple[BundleView, ...]:
    """Return bundles of a month's run for a page."""
    return tuple(_view(row, month) for row in rows)


def _view(row: BundleRow, month: Month) -> BundleView:
    return bundle_view(
        row,
        of=month.name,
        href=url_for("console.bundle", month=str(month), bundle_id=row.id),
        file_href=url_for("console.bundle_file", month=str(month), bundle_id=row.id),
    )


@blueprint.post("/month-ends/<month>/bundles")
def ask_for_bundle(month: str) -> Response:
    """Ask for all documents of a month end in one file; a job makes it."""
    try:
        with edge().database.transaction() as session:
            row = operations.ask_for_bundle(
                session,
                run_id=run_of_month(session, month).id,
                principal=current_principal().id,
                now=edge().clock(),
            )
    except operations.NothingToBundle as refusal:
        flash(refusal.detail, "message")
        return go(url_for("console.board", month=month))
    return go(url_for("console.bundle", month=month, bundle_id=row.id))


@blueprint.get("/month-ends/<month>/bundles/<bundle_id>")
def bundle(month: str, bundle_id: str) -> str:
    """Show how far a bundle is."""
    with edge().database.snapshot() as session:
        row = _of_month(session, month, bundle_id)
    view = _view(row, Month.parse(month))
    return render_template("console/bundle.html", view=view, month=month)


@blueprint.get("/month-ends/<month>/bundles/<bundle_id>/file")
def bundle_file(month: str, bundle_id: str) -> Response:
    """Download a bundle that is ready, a part at a time."""
    with edge().database.snapshot() as session:
        row = _of_month(session, month, bundle_id)
    return zip_response(
        work.content(edge().database, bundle_id=bundle_id),
        size=row.size,
        name=bundle_file_name(row, stem=f"documents-{month}"),
    )


def _of_month(session: Session, month: str, bundle_id: str) -> BundleRow:
    row = operations.bundle(session, bundle_id=bundle_id)
    if row.run_id != run_of_month(session, month).id:
        raise operations.BundleUnknown(f"There is no bundle {bundle_id}.")
    return row
