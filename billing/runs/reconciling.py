"""Conservation: events = readings = rated + parked, and rated = invoiced + unbilled.

Its SQL is its own, straight from the raw events to the invoice lines: it shares no query with
rating or invoicing, so that it would see what they missed.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.runs.model import Reconciled
from billing.runs.recounting import is_recounted, recount
from metering.events import partitions
from metering.periods import Month

_SQL = """
    WITH raw AS (
        SELECT subject_id, meter_id, sum(quantity) AS quantity,
            sum(CASE kind WHEN 1 THEN -1 ELSE 1 END) AS events,
            sum(quantity) FILTER (WHERE b.id IS NOT NULL) AS waiting,
            sum(CASE kind WHEN 1 THEN -1 ELSE 1 END) FILTER (WHERE b.id IS NOT NULL)
                AS waiting_events,
            bool_or(b.id IS NOT NULL) AS is_waiting
        FROM usage_events
        LEFT JOIN ingest_batches b ON b.id = batch_id AND b.claimed_at IS NULL
        WHERE period_month = :month AND occurred_at >= :start AND occurred_at < :end{usage}
        GROUP BY subject_id, meter_id
    ),
    daily AS (
        SELECT subject_id, meter_id, sum(quantity) AS quantity, sum(event_count) AS events,
            max(updated_at) AS changed_at
        FROM readings WHERE used_on >= :month AND used_on < :end_day{usage}
        GROUP BY subject_id, meter_id
    ),
    counted AS (
        SELECT o.ods_code AS organisation, m.code AS meter, m.aggregation,
            raw.quantity AS events, coalesce(raw.events, 0) AS event_count,
            coalesce(daily.quantity, 0) AS readings,
            coalesce(daily.events, 0) AS reading_event_count,
            coalesce(raw.waiting, 0) AS waiting, coalesce(raw.waiting_events, 0) AS waiting_events,
            coalesce(raw.is_waiting, false) AS is_waiting, daily.changed_at
        FROM raw
        FULL JOIN daily ON daily.subject_id = raw.subject_id AND daily.meter_id = raw.meter_id
        JOIN organisations o ON o.id = coalesce(raw.subject_id, daily.subject_id)
        JOIN meters m ON m.id = coalesce(raw.meter_id, daily.meter_id)
    ),
    rated AS (
        SELECT o.ods_code AS organisation, c.meter, sum(c.quantity) AS quantity,
            sum(c.amount) AS net
        FROM charges c
        JOIN accounts a ON a.id = c.account_id
        JOIN organisations o ON o.id = a.organisation_id
        WHERE c.month = :month AND c.meter <> ''{money}
        GROUP BY o.ods_code, c.meter
    ),
    parked AS (
        SELECT organisation, meter, sum(quantity) AS quantity
        FROM parked_usage WHERE month = :month AND meter <> ''{parked}
        GROUP BY organisation, meter
    ),
    invoiced AS (
        SELECT o.ods_code AS organisation, l.meter,
            sum(CASE WHEN i.kind = 'credit-note' THEN -l.quantity ELSE l.quantity END) AS quantity,
            sum(CASE WHEN i.kind = 'credit-note' THEN -l.net ELSE l.net END) AS net
        FROM invoice_lines l
        JOIN invoices i ON i.account_id = l.account_id AND i.id = l.invoice_id
        JOIN accounts a ON a.id = l.account_id
        JOIN organisations o ON o.id = a.organisation_id
        WHERE l.month = :month AND l.meter <> '' AND i.status IN ('issued', 'settled')
            AND coalesce(i.credit_basis, '') <> 'concession'{money}
        GROUP BY o.ods_code, l.meter
    ),
    keys AS (
        SELECT organisation, meter FROM counted
        UNION SELECT organisation, meter FROM rated
        UNION SELECT organisation, meter FROM parked
        UNION SELECT organisation, meter FROM invoiced
    )
    SELECT k.organisation, k.meter, c.aggregation, coalesce(c.events, 0),
        coalesce(c.event_count, 0), coalesce(c.reading_event_count, 0),
        coalesce(c.readings, 0), coalesce(r.quantity, 0), coalesce(p.quantity, 0),
        coalesce(i.quantity, 0), coalesce(r.net, 0) = coalesce(i.net, 0),
        b.run_status, b.status, coalesce(c.waiting, 0), coalesce(c.waiting_events, 0),
        coalesce(c.is_waiting, false), c.changed_at,
        (SELECT rated_at FROM month_ratings WHERE month = :month)
    FROM keys k
    LEFT JOIN counted c USING (organisation, meter)
    LEFT JOIN rated r USING (organisation, meter)
    LEFT JOIN parked p USING (organisation, meter)
    LEFT JOIN invoiced i USING (organisation, meter)
    LEFT JOIN (
        SELECT o.ods_code AS organisation, run.status AS run_status, ra.status
        FROM bill_runs run
        JOIN bill_run_accounts ra ON ra.run_id = run.id
        JOIN accounts a ON a.id = ra.account_id
        JOIN organisations o ON o.id = a.organisation_id
        WHERE run.month = :month
    ) b USING (organisation)
    ORDER BY k.organisation, k.meter
"""

_OVERLAP = timedelta(minutes=5)
"""A roll-up that began before a rating may end after it, by this at most."""

_EVERYONE = {"usage": "", "money": "", "parked": ""}
_SOME = {
    "usage": " AND subject_id = ANY (:subjects)",
    "money": " AND o.id = ANY (:subjects)",
    "parked": " AND organisation IN"
    " (SELECT ods_code FROM organisations WHERE id = ANY (:subjects))",
}
_STATEMENTS = {some: text(_SQL.format(**(_SOME if some else _EVERYONE))) for some in (True, False)}

_REASONS = {
    "parked": "account-parked",
    "held": "account-held",
    "nothing-due": "nothing-due",
    "carried-over": "carried-over",
}


def reconcile_month(
    session: Session,
    *,
    month: Month,
    organisation_ids: Sequence[int] | None = None,
    ended: bool = True,
    moving: bool = False,
) -> Sequence[Reconciled]:
    """Return conservation for every organisation and meter of a month.

    Meters whose events add up are compared by their sums; the others are counted anew from
    the raw events of the month.

    Look at `differences` for what does not add up, and at `reason` for what is rated and
    not invoiced.

    Args:
        organisation_ids: these organisations alone; None for all.
        ended: the month is over; before that, levels are not known to its end and are left out.
        moving: usage may be coming in, and what waits to be added up or rated is told apart
            from a difference. Else, as before an issue, all that waits is a difference.

    Raises:
        MonthArchived: the raw events are in a file; they were conserved when they left.
    """
    partitions.refuse_archived(session, month=month)
    period = month.period
    asked: dict[str, object] = {
        "month": month.first_day,
        "end_day": month.end_day,
        "start": period.start,
        "end": period.end,
    }
    if organisation_ids is not None:
        asked["subjects"] = list(organisation_ids)
    rows = session.execute(_STATEMENTS[organisation_ids is not None], asked)
    recounted = recount(session, month=month, ended=ended, organisation_ids=organisation_ids)
    found = []
    for row in rows:
        (organisation, meter, aggregation, events, event_count, reading_count, readings) = row[:7]
        rated, parked, invoiced, same_money, run_status, status = row[7:13]
        waiting, waiting_count, is_waiting, changed_at, rated_at = (
            row[13:] if moving else (0, 0, False, None, None)
        )
        counted: Decimal | None = Decimal(events)
        if aggregation is not None and aggregation not in ("sum", "count"):
            counted = None
            if is_recounted(aggregation, ended=ended) and not is_waiting:
                counted = recounted.get((organisation, meter), Decimal(0))
        found.append(
            Reconciled(
                month=month.first_day,
                organisation=organisation,
                meter=meter,
                events=counted,
                event_count=int(event_count),
                reading_event_count=int(reading_count),
                waiting=Decimal(waiting),
                waiting_event_count=int(waiting_count),
                is_waiting=is_waiting,
                is_rated_later=moving and _is_rated_later(changed_at, rated_at, ended=ended),
                readings=Decimal(readings),
                rated=Decimal(rated),
                parked=Decimal(parked),
                invoiced=Decimal(invoiced),
                reason=None
                if rated == invoiced
                else _reason(run_status, status, same_money=same_money),
            )
        )
    return found


def _is_rated_later(changed_at: datetime | None, rated_at: datetime | None, *, ended: bool) -> bool:
    """Return whether readings changed since the month was rated last, or as it was."""
    if changed_at is None or rated_at is None:
        return rated_at is None and not ended
    return changed_at > rated_at - _OVERLAP


def _reason(run_status: str | None, status: str | None, *, same_money: bool) -> str:
    if status in _REASONS:
        return _REASONS[status]
    if run_status is None or status != "issued":
        return "not-yet-invoiced"
    return "no-money-difference" if same_money else "to-be-corrected"


def events_about(session: Session, *, month: Month) -> int:
    """Return about how many events a month has, as PostgreSQL last counted them."""
    found = session.scalar(
        text("SELECT reltuples FROM pg_class WHERE oid = to_regclass(:name)"),
        {"name": partitions.name_of(month)},
    )
    return max(0, int(found or 0))


def pending_batches(session: Session) -> int:
    """Return how many accepted batches are not yet in the readings."""
    return int(
        session.scalar(text("SELECT count(*) FROM ingest_batches WHERE claimed_at IS NULL")) or 0
    )


def strayed_events(session: Session, *, month: Month) -> int:
    """Return how many events lie in the month's partition but not in its London month."""
    return int(
        session.scalar(
            text(
                "SELECT count(*) FROM usage_events WHERE period_month = :month "
                "AND (occurred_at < :start OR occurred_at >= :end)"
            ),
            {
                "month": month.first_day,
                "start": month.period.start,
                "end": month.period.end,
            },
        )
        or 0
    )
