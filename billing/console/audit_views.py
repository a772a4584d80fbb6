"""The audit trail: who did what, to what, when; and proof that nothing in it was changed."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from urllib.parse import urlencode

from flask import Response, render_template, request, url_for
from sqlalchemy import select

from billing.access.guards import permitted
from billing.access.model import Permission
from billing.console import audit_queries as queries
from billing.console.audit_queries import Search
from billing.console.blueprint import blueprint
from billing.console.forms import keeping_dates, with_dates
from billing.console.people import Names, names_of
from billing.forms import Form
from billing.listing import Cell, Column, Listing, read_asked
from billing.sheets import sheet_response
from metering.kit import audit
from metering.kit.errors import NotFound
from metering.kit.guards import guarded
from metering.kit.tables import AuditEntryRow
from metering.kit.web import edge
from metering.periods import london_midnight, show_moment

SEES_AUDIT = permitted(Permission.SEE_AUDIT)
PAGE_SIZE = 50
LATEST_PROVED = 2_000
"""Entries that the proof checks at once; all are checked when a person asks for it."""

_TOGETHER = 2_000
_ORDER = frozenset({"page", "sort", "direction", "download"})
_DATES = ("since", "until")


class AuditEntryUnknown(NotFound):
    """The audit trail has no such entry."""

    code = "audit-entry-unknown"
    title = "No such entry"


def _read_search() -> tuple[Search, Form]:
    typed = with_dates(request.args, *_DATES)
    form = Form(
        {name: request.args.get(name, "") for name in ("principal", "action", "kind", "words")}
    )
    form = keeping_dates(form, request.args, *_DATES)
    days: dict[str, date | None] = dict.fromkeys(_DATES)
    for name in _DATES:
        if name in typed:
            try:
                days[name] = date.fromisoformat(typed[name])
            except ValueError:
                form = form.with_error("Enter a real date, for example 1 4 2026", name=name)
    since, until = days["since"], days["until"]
    search = Search(
        principal=form.value("principal"),
        action=form.value("action"),
        object_kind=form.value("kind"),
        words=form.value("words").strip()[:100],
        since=None if since is None else london_midnight(since),
        until=None if until is None else london_midnight(until + timedelta(days=1)),
    )
    return search, form


def _file(rows: Iterable[AuditEntryRow], names: Names) -> Response:
    return sheet_response(
        "audit-trail",
        ("Entry", "At", "Who", "Principal", "Action", "Object", "Object id", "Facts", "Seal"),
        (
            (
                row.position,
                row.at.isoformat(),
                names[row.principal],
                row.principal,
                row.action,
                row.object_kind,
                row.object_id,
                json.dumps(row.facts, ensure_ascii=False, sort_keys=True),
                row.seal,
            )
            for row in rows
        ),
    )


@blueprint.get("/audit")
@guarded(SEES_AUDIT)
def audit_trail() -> Response | str:
    """Search the audit trail."""
    search, form = _read_search()
    asked = read_asked(request.args, keys=("entry",), sort="entry", direction="descending")
    wants_file = request.args.get("download") == "audit-trail"
    with edge().database.snapshot() as session:
        total = queries.count(session, search=search)
        page = max(1, min(asked.page, -(-total // PAGE_SIZE)))
        rows = queries.entries(
            session,
            search=search,
            limit=None if wants_file else PAGE_SIZE,
            offset=(page - 1) * PAGE_SIZE,
            descending=asked.direction == "descending",
        )
        principals, actions, kinds = queries.choices(session)
        names = names_of(session, principals=principals)
        if wants_file:
            return _file(rows, names)
    query = {name: text for name, text in request.args.items() if text and name not in _ORDER}
    path, order = url_for("console.audit_trail"), {"sort": "entry", "direction": asked.direction}
    listing = Listing(
        name="audit-trail",
        caption="Entries",
        caption_hidden=True,
        columns=(
            Column("Entry", "entry"),
            Column("When"),
            Column("Who"),
            Column("What"),
            Column("To what"),
        ),
        rows=tuple(
            (
                Cell(str(row.position), href=url_for("console.audit_entry", position=row.position)),
                Cell(_moment(row)),
                Cell(names[row.principal]),
                Cell(row.action[:1].upper() + row.action[1:]),
                Cell(f"{row.object_kind} {_subject(row)}"),
            )
            for row in rows
        ),
        path=path,
        query=query,
        sort="entry",
        direction=asked.direction,
        download=f"{path}?{urlencode({**query, **order, 'download': 'audit-trail'})}"
        if rows
        else None,
        page=page,
        page_size=PAGE_SIZE,
        total=total,
        empty="No entry fits. Look for less, or clear the filters."
        if query
        else "Nothing has been done yet.",
    )
    return render_template(
        "console/audit.html",
        listing=listing,
        form=form,
        is_filtered=bool(query),
        total=total,
        principals=[("", "Anybody"), *((one, names[one]) for one in principals)],
        actions=[("", "Anything"), *((one, one[:1].upper() + one[1:]) for one in actions)],
        kinds=[("", "Anything"), *((one, one[:1].upper() + one[1:]) for one in kinds)],
    )


def _moment(row: AuditEntryRow) -> str:
    return show_moment(row.at, seconds=True)


def _subject(row: AuditEntryRow) -> str:
    """Return the best short name of what was acted on."""
    said = [str(row.facts[name]) for name in ("tariff", "version", "month") if row.facts.get(name)]
    return " ".join(said) or row.object_id


@dataclass(frozen=True)
class EntryPage:
    """One entry, whole."""

    position: int
    rows: tuple[tuple[str, str], ...]
    facts: str


@blueprint.get("/audit/<int:position>")
@guarded(SEES_AUDIT)
def audit_entry(position: int) -> str:
    """Show one entry, with its seal."""
    with edge().database.snapshot() as session:
        row = session.get(AuditEntryRow, position)
        if row is None:
            raise AuditEntryUnknown(f"The audit trail has no entry {position}.")
        names = names_of(session, principals=[row.principal])
    page = EntryPage(
        position=position,
        rows=(
            ("When", _moment(row)),
            ("Who", names[row.principal]),
            ("Principal", row.principal),
            ("What", row.action),
            ("To what", f"{row.object_kind} {row.object_id}"),
            ("Request", row.request_id or "None"),
            ("Seal", row.seal),
            ("Seal of the entry before", row.previous_seal),
        ),
        facts=json.dumps(row.facts, ensure_ascii=False, sort_keys=True, indent=2),
    )
    return render_template("console/audit_entry.html", page=page)


@blueprint.get("/audit/proof")
@guarded(SEES_AUDIT)
def audit_proof() -> str:
    """Check the seals of the latest entries, or of all from the first one on."""
    everything = request.args.get("all") == "yes"
    with edge().database.snapshot() as session:
        total = queries.count(session, search=Search())
        first = 1 if everything else max(1, total - LATEST_PROVED + 1)
        before = session.get(AuditEntryRow, first - 1)
        entries = session.scalars(
            select(AuditEntryRow)
            .where(AuditEntryRow.position >= first)
            .order_by(AuditEntryRow.position)
            .execution_options(yield_per=_TOGETHER)
        )
        last: list[AuditEntryRow] = []

        def passing() -> Iterator[AuditEntryRow]:
            for row in entries:
                last[:] = [row]
                yield row

        broken = audit.verify(passing(), after=before)
    return render_template(
        "console/audit_proof.html",
        broken=broken,
        first=first,
        total=total,
        seal=last[0].seal if last else audit.GENESIS,
        now=edge().clock(),
    )
