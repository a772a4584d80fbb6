"""GET /api/v1/usage: what was used, by organisation, meter, dimensions and time."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint
from sqlalchemy.orm import Session

from metering.kit.api import answers, get, query_arguments
from metering.kit.db import Database
from metering.kit.guards import guard_blueprint
from metering.kit.paging import PAGE_MAX, read_cursor, write_cursor
from metering.kit.spreadsheets import is_formula
from metering.kit.web import edge
from metering.meters.queries import MeterUnknown
from metering.meters.queries import every as every_meter
from metering.organisations.queries import by_ods_code
from metering.readings.queries import (
    UsageRow,
    check_usage,
    refuse_not_hourly,
    usage,
    usage_totals,
)
from metering.readings.schemas import USAGE_EXAMPLE, UsageQuerySchema, UsageSchema, span_of
from metering.sources.guards import current_source, key_guard
from metering.sources.model import USAGE_READ

blueprint = Blueprint("usage", __name__, url_prefix="/api/v1", description="What was used.")
guard_blueprint(blueprint, key_guard(USAGE_READ))


@get(blueprint, "/usage")
@query_arguments(blueprint, UsageQuerySchema())
@answers(blueprint, UsageSchema(), example=USAGE_EXAMPLE)
def get_usage(arguments: dict[str, Any]) -> Any:
    """Usage of this key's source, with totals

    Quantities are exact decimals in strings. Days, months and hours are those of the
    London clock; an hour is one real hour, so a day in October can have 25. Daily and
    monthly figures follow new events by some seconds.
    """
    # The totals and the page are of one instant.
    with edge().database.snapshot() as session:
        asked = _asked(session, arguments)
        if _wants_csv(arguments):
            # Once rows are sent nothing can be refused any more.
            check_usage(session, **asked)
            return _as_csv(arguments, asked)
        rows = usage(
            session,
            **asked,
            after=_place(arguments.get("after"), by=arguments["by"]),
            limit=arguments["limit"] + 1,
        )
        totals = usage_totals(session, **asked)
    page = rows[: arguments["limit"]]
    return {
        "usage": [_row(row) for row in page],
        "totals": [
            {
                "meter": total.meter,
                "unit": total.unit,
                "quantity": plain(total.quantity),
                "events": total.event_count,
            }
            for total in totals
        ],
        "next": write_cursor(page[-1].cursor) if len(rows) > len(page) else None,
    }


def plain(quantity: Decimal) -> str:
    """Return a quantity without exponent or noughts at its end.

    >>> plain(Decimal("21.500000000")), plain(Decimal("100"))
    ('21.5', '100')
    """
    text = format(quantity, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _asked(session: Session, arguments: dict[str, Any]) -> dict[str, Any]:
    first_on, end_on = span_of(arguments)
    mine = {row.code: row for row in every_meter(session, source_id=current_source().source_id)}
    codes = arguments.get("meter") or sorted(mine)
    unknown = [code for code in codes if code not in mine]
    if unknown:
        raise MeterUnknown(f"No meter of yours has the code '{unknown[0]}'.")
    if arguments["by"] == "hour":
        # Where none is named those that have hours are meant; one that is named is not passed over.
        for code in arguments.get("meter", ()):
            refuse_not_hourly(code, mine[code].aggregation)
    subjects = [by_ods_code(session, ods_code=code) for code in arguments.get("organisation", ())]
    return {
        "first_on": first_on,
        "end_on": end_on,
        "granularity": arguments["by"],
        "meter_ids": [mine[code].id for code in codes],
        "subject_ids": [subject.id for subject in subjects] or None,
        "dimensions": dict(pair.split(":", 1) for pair in arguments.get("dimension", ())),
    }


def _place(after: str | None, *, by: str) -> tuple[Any, ...] | None:
    read = datetime.fromisoformat if by == "hour" else date.fromisoformat
    return read_cursor(after, read, str, str, int)


def _row(row: UsageRow) -> dict[str, Any]:
    return {
        "start": row.start.isoformat(),
        "organisation": row.ods_code,
        "name": row.organisation,
        "meter": row.meter,
        "unit": row.unit,
        "dimensions": dict(row.dimensions),
        "quantity": plain(row.quantity),
        "events": row.event_count,
    }


def _wants_csv(arguments: Mapping[str, Any]) -> bool:
    if "format" in arguments:
        return bool(arguments["format"] == "csv")
    best = request.accept_mimetypes.best_match(["application/json", "text/csv"])
    return best == "text/csv"


_COLUMNS = ("start", "organisation", "name", "meter", "unit", "quantity", "events")


def _as_csv(arguments: Mapping[str, Any], asked: Mapping[str, Any]) -> Response:
    """Stream every row; the dimensions of the meters asked for are columns."""
    with edge().database.snapshot() as session:
        names = sorted(
            {
                name
                for meter in every_meter(session)
                if meter.id in asked["meter_ids"]
                for name in meter.dimensions
            }
        )
    return Response(
        _lines(edge().database, asked, names),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="usage-{arguments["by"]}.csv"'},
    )


def _lines(database: Database, asked: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    yield _line([*_COLUMNS[:5], *names, *_COLUMNS[5:]])
    # It runs while the answer is sent, outside the request's context.
    with database.snapshot() as session:
        after: Sequence[Any] | None = None
        while True:
            rows = usage(session, **asked, after=after, limit=PAGE_MAX)
            for row in rows:
                said = _row(row)
                yield _line(
                    [
                        *(said[name] for name in _COLUMNS[:5]),
                        *(said["dimensions"].get(name, "") for name in names),
                        *(said[name] for name in _COLUMNS[5:]),
                    ]
                )
            if len(rows) < PAGE_MAX:
                return
            after = rows[-1].cursor


def _line(cells: Sequence[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(
        [f"'{cell}" if isinstance(cell, str) and is_formula(cell) else cell for cell in cells]
    )
    return buffer.getvalue()
