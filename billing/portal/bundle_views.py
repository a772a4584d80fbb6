"""A trust's own documents in one file: ask for it, see how far it is, fetch it."""

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Response, flash, render_template, request, url_for

from billing.access.guards import current_principal, scope_of
from billing.bundles import operations, work
from billing.bundles.pages import BundleView, bundle_file_name, bundle_view, months_of
from billing.bundles.tables import BundleRow
from billing.portal.account import OpenAccount, asking, opened
from billing.portal.blueprint import blueprint
from billing.web import go, zip_response
from metering.kit.web import edge
from metering.periods import Month


@dataclass(frozen=True)
class BundlePage:
    """Whose bundle it is."""

    account: OpenAccount


def views_of(rows: Sequence[BundleRow], *, code: str) -> tuple[BundleView, ...]:
    """Return an account's bundles for a page."""
    return tuple(_view(row, code) for row in rows)


def _view(row: BundleRow, code: str) -> BundleView:
    return bundle_view(
        row,
        of=months_of(row),
        href=url_for("portal.bundle", code=code, bundle_id=row.id),
        file_href=url_for("portal.bundle_file", code=code, bundle_id=row.id),
    )


@blueprint.post("/<code>/bundles")
def ask_for_bundle(code: str) -> Response:
    """Ask for the documents of a span of months in one file; a job makes it."""
    try:
        first = Month.parse(request.form.get("first", ""))
        last = Month.parse(request.form.get("last", ""))
        with asking(code) as (session, account):
            bundle_id = operations.ask_for_account_bundle(
                session,
                account_id=account.id,
                first=first,
                last=last,
                principal=current_principal().id,
                now=edge().clock(),
            ).id
    except ValueError:
        return _back(code, "Choose the first and the last month.")
    except (operations.NothingToBundle, operations.BundleMonthsWrong) as refusal:
        return _back(code, refusal.detail)
    return go(url_for("portal.bundle", code=code, bundle_id=bundle_id))


def _back(code: str, why: str) -> Response:
    flash(why, "message")
    return go(url_for("portal.invoices", code=code) + "#documents")


@blueprint.get("/<code>/bundles/<bundle_id>")
def bundle(code: str, bundle_id: str) -> str:
    """Show how far a bundle is."""
    with opened(code) as (session, account):
        row = operations.bundle(session, bundle_id=bundle_id, account_id=account.id)
    return render_template("portal/bundle.html", page=BundlePage(account), view=_view(row, code))


@blueprint.get("/<code>/bundles/<bundle_id>/file")
def bundle_file(code: str, bundle_id: str) -> Response:
    """Download a bundle that is ready, a part at a time."""
    with opened(code) as (session, account):
        row = operations.bundle(session, bundle_id=bundle_id, account_id=account.id)
    parts = work.content(
        edge().database,
        bundle_id=bundle_id,
        account_id=account.id,
        scope=scope_of(current_principal()),
    )
    return zip_response(
        parts, size=row.size, name=bundle_file_name(row, stem=f"{account.code}-documents")
    )
