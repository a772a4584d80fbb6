"""Tariffs: their versions, what changes, and their way to approval."""

from collections.abc import Callable, Sequence
from datetime import date

from flask import Response, flash, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.guards import current_principal
from billing.console.blueprint import APPROVES, PREPARES, blueprint
from billing.console.overview_queries import source_names
from billing.console.people import names_of
from billing.console.tariff_pages import (
    TariffPage,
    TariffSummary,
    tariffs_sheet,
    version_page,
    versions_sheet,
)
from billing.forms import Form, read_text
from billing.tariffs import operations, queries
from billing.tariffs.model import Tariff, parse_tariff
from billing.tariffs.queries import Standing, standing
from billing.tariffs.tables import TariffRow, TariffVersionRow
from billing.web import go
from metering.kit.errors import Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import london_day


def today() -> date:
    """Return the London date of the request."""
    return london_day(edge().clock())


@blueprint.get("/tariffs")
def tariffs() -> Response | str:
    """List the tariffs: what is in force, what comes next, what waits."""
    status = request.args.get("status", "")
    with edge().database.snapshot() as session:
        sources = source_names(session)
        every = session.scalars(
            select(TariffVersionRow).order_by(TariffVersionRow.effective_from)
        ).all()
        found = [
            _summary(
                owner, sources[owner.source_id], [v for v in every if v.tariff_code == owner.code]
            )
            for owner in queries.tariffs(session)
        ]
    kept = [
        item
        for item in found
        if not status or any(version.status == status for version in item.waiting)
    ]
    sheet = tariffs_sheet()
    return render_template(
        "console/tariffs.html",
        listing=sheet.listing(
            kept,
            query={"status": status},
            empty="No tariff has such a version. Clear the filter to see all.",
        ),
        filters=Form({"status": status}),
    )


def _summary(owner: TariffRow, source: str, versions: Sequence[TariffVersionRow]) -> TariffSummary:
    at = {version.id: standing(version, today=today()) for version in versions}
    return TariffSummary(
        row=owner,
        source=source,
        current=next((v for v in versions if at[v.id] is Standing.IN_FORCE), None),
        next=next((v for v in versions if at[v.id] is Standing.APPROVED), None),
        waiting=[v for v in versions if v.status in {"draft", "submitted"}],
    )


@blueprint.get("/tariffs/<code>")
def tariff(code: str) -> Response | str:
    """Show one tariff with its versions."""
    with edge().database.snapshot() as session:
        owner = queries.tariff(session, code=code)
        rows = queries.versions(session, tariff_code=code)
        sources = source_names(session)
        names = names_of(
            session, principals=[who for row in rows for who in (row.author, row.approved_by)]
        )
    sheet = versions_sheet(names, today=today())
    usable = [row for row in rows if row.status != "withdrawn"]
    page = TariffPage(
        code=code,
        name=owner.name,
        service=sources[owner.source_id],
        source_id=owner.source_id,
        versions=sheet.listing(rows),
        invoiced_to=owner.invoiced_to,
        latest=usable[0].id if usable else None,
    )
    return render_template("console/tariff.html", page=page)


@blueprint.get("/tariffs/versions/<version_id>")
def version(version_id: str) -> str:
    """Show one version: its prices in words, and what it changes."""
    return _version_page(version_id, Form())


def in_force_now(session: Session, *, code: str) -> tuple[TariffVersionRow, Tariff] | None:
    """Return the version of a tariff that is in force today, None where none is."""
    for row in queries.versions(session, tariff_code=code):
        if standing(row, today=today()) is Standing.IN_FORCE:
            return row, parse_tariff(row.content)
    return None


def _version_page(version_id: str, form: Form) -> str:
    with edge().database.snapshot() as session:
        row = queries.version(session, version_id=version_id)
        owner = queries.tariff(session, code=row.tariff_code)
        in_force = in_force_now(session, code=row.tariff_code)
        names = names_of(session, principals=[row.author, row.approved_by])
    page = version_page(
        row,
        owner,
        parse_tariff(row.content),
        in_force=None if in_force is None or in_force[0].id == row.id else in_force,
        principal=current_principal(),
        names=names,
        today=today(),
    )
    return render_template("console/version.html", page=page, form=form)


@blueprint.get("/tariffs/versions/<version_id>/file")
def export_version(version_id: str) -> Response:
    """Give a version as the file that can be imported again."""
    with edge().database.snapshot() as session:
        row = queries.version(session, version_id=version_id)
        content = operations.export_tariff(session, version_id=version_id)
    response = Response(content, content_type="application/yaml; charset=utf-8")
    name = f"{row.tariff_code}-{row.version.replace('/', '-')}.yaml"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _step(
    version_id: str, work: Callable[[Session], object], *, said: str, form: Form | None = None
) -> Response | tuple[str, int]:
    """Do one step of a version's life; a refusal is said on its page."""
    try:
        with edge().database.transaction() as session:
            work(session)
    except Refusal as refusal:
        return _version_page(version_id, (form or Form()).with_error(refusal.detail)), 422
    flash(said, "success")
    return go(url_for("console.version", version_id=version_id))


@blueprint.post("/tariffs/versions/<version_id>/submit")
@guarded(PREPARES)
def submit_version(version_id: str) -> Response | tuple[str, int]:
    """Hand a draft over for approval."""
    return _step(
        version_id,
        lambda session: operations.submit_version(
            session,
            version_id=version_id,
            principal=current_principal().id,
            now=edge().clock(),
        ),
        said="The version is submitted. Somebody else approves it.",
    )


@blueprint.post("/tariffs/versions/<version_id>/approve")
@guarded(APPROVES)
def approve_version(version_id: str) -> Response | tuple[str, int]:
    """Approve a submitted version as the second person."""
    reason = read_text(request.form, "reason")
    return _step(
        version_id,
        lambda session: operations.approve_version(
            session,
            version_id=version_id,
            principal=current_principal().id,
            now=edge().clock(),
            reason=reason or None,
        ),
        said="The version is approved. It is in force from its first day.",
        form=Form({"reason": reason}),
    )


@blueprint.post("/tariffs/versions/<version_id>/return")
@guarded(APPROVES)
def return_version(version_id: str) -> Response | tuple[str, int]:
    """Send a submitted version back to be changed."""
    reason = read_text(request.form, "return_reason")
    form = Form({"return_reason": reason})
    if not reason:
        wrong = form.with_error("Enter what must change", name="return_reason")
        return _version_page(version_id, wrong), 422
    return _step(
        version_id,
        lambda session: operations.return_version(
            session,
            version_id=version_id,
            principal=current_principal().id,
            now=edge().clock(),
            reason=reason,
        ),
        said="The version is a draft again.",
        form=form,
    )


@blueprint.post("/tariffs/versions/<version_id>/withdraw")
@guarded(PREPARES)
def withdraw_version(version_id: str) -> Response | tuple[str, int]:
    """Withdraw a version that never came into force."""
    reason = read_text(request.form, "withdraw_reason")
    form = Form({"withdraw_reason": reason})
    if not reason:
        wrong = form.with_error("Enter why it is withdrawn", name="withdraw_reason")
        return _version_page(version_id, wrong), 422
    return _step(
        version_id,
        lambda session: operations.withdraw_version(
            session,
            version_id=version_id,
            principal=current_principal().id,
            now=edge().clock(),
            today=today(),
            reason=reason,
        ),
        said="The version is withdrawn.",
        form=form,
    )
