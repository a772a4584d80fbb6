"""The usage explorer: months, days, hours, and single events."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from flask import Response, render_template, request, url_for
from sqlalchemy.orm import Session

from billing.documents.sheet import write_sheet
from billing.listing import read_asked
from billing.portal import event_queries
from billing.portal import usage_queries as queries
from billing.portal.account import OpenAccount, opened
from billing.portal.answers import attachment
from billing.portal.blueprint import blueprint
from billing.portal.event_pages import PAGE_SIZE, event_page, events_page
from billing.portal.usage_asked import UsageAsked, read_usage_asked
from billing.portal.usage_pages import (
    Frame,
    UsagePage,
    everything_page,
    hour_page,
    meter_page,
)
from billing.portal.usage_queries import UsedMeter
from metering.kit.errors import NotFound
from metering.kit.web import edge
from metering.periods import Month, Period, day_period, london_day


class NoSuchMeter(NotFound):
    """The organisation never used a meter of that code."""

    code = "meter-not-used"
    title = "Nothing was counted there"


@dataclass(frozen=True)
class _Window:
    day: date
    hour: datetime | None
    period: Period


def _frame(session: Session, account: OpenAccount) -> Frame:
    today = london_day(edge().clock())
    meters = queries.used_meters(session, organisation_id=account.organisation_id)
    code = request.args.get("meter", "")
    used = next((each for each in meters if each.meter.code == code), None)
    if code and used is None:
        raise NoSuchMeter("Nothing was counted on a meter of that name.")
    first = queries.first_used_on(session, organisation_id=account.organisation_id)
    return Frame(
        account=account,
        asked=read_usage_asked(
            request.args, today=today, dimensions=used.meter.dimensions if used else ()
        ),
        path=url_for("portal.usage", code=account.code),
        meters=meters,
        first_month=Month.of_day(first or today),
        this_month=Month.of_day(today),
    )


def _meter(frame: Frame) -> UsedMeter:
    used = frame.meter
    if used is None:
        raise NoSuchMeter("Choose what was counted.")
    return used


def _uses(session: Session, frame: Frame, used: UsedMeter) -> Sequence[queries.Use]:
    asked = frame.asked
    first = asked.month.shift(-11) if asked.view == "month" else asked.month
    return queries.uses(
        session,
        organisation_id=frame.account.organisation_id,
        meter_id=used.meter.id,
        first_day=first.first_day,
        end_day=asked.month.end_day,
        by_month=asked.view == "month",
        split=asked.split,
        where=dict(asked.where),
    )


@blueprint.get("/<code>/usage")
def usage(code: str) -> str:
    """Show what was used: everything of a month, or one meter by month, day or hour."""
    with opened(code) as (session, account):
        page = _usage(session, _frame(session, account))
    return render_template("portal/usage.html", page=page)


def _usage(session: Session, frame: Frame) -> UsagePage:
    used, asked = frame.meter, frame.asked
    if used is None:
        return everything_page(
            frame,
            found=queries.month_use(
                session,
                organisation_id=frame.account.organisation_id,
                account_id=frame.account.id,
                month=asked.month,
            ),
        )
    if asked.view == "hour" and asked.day is not None:
        return hour_page(
            frame,
            used=used,
            day=asked.day,
            found=event_queries.hours(
                session,
                organisation_id=frame.account.organisation_id,
                meter_id=used.meter.id,
                period=day_period(asked.day),
                where=dict(asked.where),
            ),
            events_path=url_for("portal.events", code=frame.account.code),
        )
    return meter_page(
        frame,
        used=used,
        found=_uses(session, frame, used),
    )


@blueprint.get("/<code>/usage.csv")
def usage_csv(code: str) -> Response:
    """Download the usage that the page shows: all meters of a month, or one by month or day."""
    with opened(code) as (session, account):
        frame = _frame(session, account)
        if frame.meter is None:
            by_id = {each.meter.id: each for each in frame.meters}
            rows = [
                (
                    str(frame.asked.month),
                    by_id[use.meter_id].service,
                    by_id[use.meter_id].meter.name,
                    "",
                    use.quantity,
                    by_id[use.meter_id].meter.unit,
                    use.events,
                )
                for use in queries.month_use(
                    session,
                    organisation_id=account.organisation_id,
                    account_id=account.id,
                    month=frame.asked.month,
                )
            ]
        else:
            used = frame.meter
            rows = [
                (
                    str(Month.of_day(use.on)) if frame.asked.view == "month" else str(use.on),
                    used.service,
                    used.meter.name,
                    use.value,
                    use.quantity,
                    used.meter.unit,
                    use.events,
                )
                for use in _uses(session, frame, used)
            ]
    content = write_sheet(
        ("When", "Service", "Meter", "Split", "Quantity", "Unit", "Events"), rows, for_people=True
    )
    return attachment(content, f"{code}-usage-{frame.asked.month}.csv", "text/csv")


def _window(asked: UsageAsked) -> _Window:
    if asked.day is None:
        raise NoSuchMeter("Choose a day to see its events.")
    period = day_period(asked.day)
    try:
        hour = datetime.fromisoformat(request.args.get("hour", ""))
    except ValueError:
        return _Window(asked.day, None, period)
    if hour.tzinfo is None or hour not in period:
        return _Window(asked.day, None, period)
    narrowed = period.intersection(Period(hour, hour + timedelta(hours=1)))
    return _Window(asked.day, hour, narrowed or period)


@blueprint.get("/<code>/usage/events")
def events(code: str) -> str:
    """List the events of a day, or of one hour of it."""
    listed = read_asked(request.args, keys=("at",), sort="at")
    with opened(code) as (session, account):
        frame = _frame(session, account)
        used, window = _meter(frame), _window(frame.asked)
        found, total = event_queries.events(
            session,
            organisation_id=account.organisation_id,
            meter_id=used.meter.id,
            period=window.period,
            where=dict(frame.asked.where),
            latest_first=listed.direction == "descending",
            page=listed.page,
            page_size=PAGE_SIZE,
        )
        query = [*frame.asked.query(), ("hour", request.args.get("hour", ""))]
        page = events_page(
            frame,
            used=used,
            day=window.day,
            hour=window.hour,
            found=found,
            total=total,
            listed=listed,
            path=url_for("portal.events", code=code),
            query=[(name, text) for name, text in query if text],
        )
    return render_template("portal/events.html", page=page)


@blueprint.get("/<code>/usage/events.csv")
def events_csv(code: str) -> Response:
    """Download the events of a day or hour."""
    with opened(code) as (session, account):
        frame = _frame(session, account)
        used, window = _meter(frame), _window(frame.asked)
        found, _ = event_queries.events(
            session,
            organisation_id=account.organisation_id,
            meter_id=used.meter.id,
            period=window.period,
            where=dict(frame.asked.where),
            latest_first=False,
            page=None,
            page_size=PAGE_SIZE,
        )
    names = sorted(used.meter.dimensions)
    content = write_sheet(
        ("Event", "Source", "Happened", "Received", *names, "Quantity", "Unit", "State"),
        (
            (
                event.event_id,
                event.source_code,
                event.occurred_at.isoformat(),
                event.received_at.isoformat(),
                *(event.dimensions.get(name) for name in names),
                event.quantity,
                used.meter.unit,
                "withdrawal" if event.kind == 1 else "withdrawn" if event.withdrawn else "counted",
            )
            for event in found
        ),
        for_people=True,
    )
    return attachment(content, f"{code}-{used.meter.code}-{window.day}-events.csv", "text/csv")


@blueprint.get("/<code>/usage/events/<source_code>/<month>/<uuid:key>")
def event(code: str, source_code: str, month: str, key: UUID) -> str:
    """Show one usage event: what it said, when, and what it counted for."""
    try:
        when = Month.parse(month)
    except ValueError:
        raise event_queries.NoSuchEvent("There is no such usage event.") from None
    try:
        day = date.fromisoformat(request.args.get("day", ""))
    except ValueError:
        day = None
    with opened(code) as (session, account):
        page = event_page(
            account=account,
            found=event_queries.event(
                session,
                organisation_id=account.organisation_id,
                source_code=source_code,
                key=key,
                month=when,
                day=day,
            ),
            usage_path=url_for("portal.usage", code=code),
        )
    return render_template("portal/event.html", page=page)
