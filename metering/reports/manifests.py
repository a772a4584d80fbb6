"""Manifests: a source's own count of a span, held against what was received.

What was received is read from the readings, and from the events of batches that
no roll-up has claimed yet, so a manifest may come right after the last event.
For a meter that cannot be added (a maximum, a level), the sum that a source
declares is what its month comes to, only whole months can be compared, and what
was received is what the readings say: an event counts from the next roll-up on.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from metering.events.batches import OF_BATCHES, by_batch, these
from metering.events.model import REJECTED, WITHDRAWAL
from metering.events.tables import IngestBatchRow, QuarantinedEventRow
from metering.kit.errors import Invalid
from metering.kit.ids import uuid7
from metering.meters.model import ADDITIVE
from metering.meters.queries import MeterUnknown
from metering.meters.queries import by_code as meter_by_code
from metering.meters.tables import MeterRow
from metering.organisations.queries import by_ods_code
from metering.organisations.tables import OrganisationRow
from metering.periods import Month, days_period, london_day
from metering.readings.tables import ReadingRow
from metering.reports.tables import ManifestRow
from metering.sources.tables import SourceRow


class ManifestInvalid(Invalid):
    """A manifest's span or figures are not right."""

    code = "manifest-invalid"
    title = "The manifest is not right"


@dataclass(frozen=True)
class ManifestReport:
    """A source's own count beside ours.

    Attributes:
        received_count: accepted events of the span less those withdrawn.
        duplicate: repeats in this source's requests since the span began, all meters.
        rejected: refused events of the span that are still in quarantine.
        missing_count: declared less received; negative where more came than was declared.
    """

    source: str
    meter: str
    organisation: str | None
    first_on: date
    end_on: date
    declared_count: int
    declared_quantity: Decimal
    received_count: int
    received_quantity: Decimal
    duplicate: int
    rejected: int
    policy: str
    declared_at: datetime

    @property
    def missing_count(self) -> int:
        """Events that the source counted and we do not have."""
        return self.declared_count - self.received_count

    @property
    def missing_quantity(self) -> Decimal:
        """Quantity that the source counted and we do not have."""
        return self.declared_quantity - self.received_quantity

    @property
    def agrees(self) -> bool:
        """Whether both counts and sums are equal."""
        return not self.missing_count and not self.missing_quantity


def declare(
    session: Session,
    *,
    source_id: int,
    meter_code: str,
    first_on: date,
    end_on: date,
    count: int,
    quantity: Decimal,
    organisation: str | None = None,
    now: datetime,
) -> ManifestReport:
    """Keep a source's own count of London days [first_on, end_on), and compare it.

    The latest declaration of the same span, meter and organisation counts.

    Raises:
        MeterUnknown: it is no meter of this source.
        OrganisationUnknown: nobody has that ODS code.
        ManifestInvalid: the span is empty, or a figure is negative.
    """
    meter = meter_by_code(session, code=meter_code)
    if meter.source_id != source_id:
        raise MeterUnknown(f"No meter of yours has the code '{meter_code}'.")
    if end_on <= first_on:
        raise ManifestInvalid("The span ends after it begins.")
    if count < 0 or quantity < 0:
        raise ManifestInvalid("A count and a sum are not negative.")
    whole_months = first_on.day == 1 and end_on.day == 1
    if meter.aggregation not in ADDITIVE and not whole_months:
        raise ManifestInvalid(f"{meter_code} is a {meter.aggregation}: declare whole months.")
    subject = None if organisation is None else by_ods_code(session, ods_code=organisation)
    row = ManifestRow(
        id=uuid7(now=now),
        source_id=source_id,
        meter_id=meter.id,
        subject_id=None if subject is None else subject.id,
        first_on=first_on,
        end_on=end_on,
        declared_count=count,
        declared_quantity=quantity,
        received_at=now,
    )
    session.add(row)
    session.flush()
    return report(session, rows=[row])[0]


def latest(
    session: Session, *, source_id: int | None = None, month: Month | None = None
) -> Sequence[ManifestRow]:
    """Return the declarations that count, by span: of a source, and that touch a month."""
    query = select(ManifestRow).order_by(ManifestRow.first_on, ManifestRow.received_at)
    if source_id is not None:
        query = query.where(ManifestRow.source_id == source_id)
    if month is not None:
        query = query.where(
            ManifestRow.first_on < month.end_day, ManifestRow.end_on > month.first_day
        )
    last = {
        (row.source_id, row.meter_id, row.subject_id, row.first_on, row.end_on): row
        for row in session.scalars(query)
    }
    return list(last.values())


def disagreeing_manifests(session: Session, *, month: Month) -> list[ManifestReport]:
    """Return the manifests that touch a month and disagree with what was received.

    Each says its source's `policy`: `ignore`, `warn`, or `wait` for it to be settled.
    """
    return [
        found for found in report(session, rows=latest(session, month=month)) if not found.agrees
    ]


def report(session: Session, *, rows: Iterable[ManifestRow]) -> list[ManifestReport]:
    """Return declarations beside what was received."""
    listed = list(rows)
    if not listed:
        return []
    sources = {row.id: row for row in session.scalars(select(SourceRow))}
    meters = {row.id: row for row in session.scalars(select(MeterRow))}
    codes = {
        row.id: row.ods_code
        for row in session.execute(select(OrganisationRow.id, OrganisationRow.ods_code))
    }
    refused = _Refused(session)
    reports = []
    for row in listed:
        meter = meters[row.meter_id]
        count, quantity = _received(session, row, additive=meter.aggregation in ADDITIVE)
        code = None if row.subject_id is None else codes[row.subject_id]
        reports.append(
            ManifestReport(
                source=sources[row.source_id].code,
                meter=meter.code,
                organisation=code,
                first_on=row.first_on,
                end_on=row.end_on,
                declared_count=row.declared_count,
                declared_quantity=row.declared_quantity,
                received_count=count,
                received_quantity=quantity,
                duplicate=_duplicates(session, row),
                rejected=refused.count(
                    row.source_id, meter.event_type, code, row.first_on, row.end_on
                ),
                policy=sources[row.source_id].manifest_policy,
                declared_at=row.received_at,
            )
        )
    return reports


def _received(session: Session, row: ManifestRow, *, additive: bool) -> tuple[int, Decimal]:
    query = select(
        func.coalesce(func.sum(ReadingRow.event_count), 0),
        func.coalesce(func.sum(ReadingRow.quantity), Decimal(0)),
    ).where(
        ReadingRow.meter_id == row.meter_id,
        ReadingRow.used_on >= row.first_on,
        ReadingRow.used_on < row.end_on,
    )
    if row.subject_id is not None:
        query = query.where(ReadingRow.subject_id == row.subject_id)
    count, quantity = session.execute(query).one()
    if not additive:
        return int(count), Decimal(quantity)
    waiting = session.scalars(
        select(IngestBatchRow.id).where(
            IngestBatchRow.claimed_at.is_(None), IngestBatchRow.source_id == row.source_id
        )
    ).all()
    if waiting:
        period = days_period(row.first_on, row.end_on)
        with by_batch(session):
            new = session.execute(
                text(
                    f"""
                    SELECT coalesce(sum(CASE kind WHEN :withdrawal THEN -1 ELSE 1 END), 0),
                        coalesce(sum(quantity), 0)
                    FROM usage_events
                    WHERE {OF_BATCHES} AND meter_id + 0 = :meter
                        AND occurred_at >= :first AND occurred_at < :end
                        AND (:anyone OR subject_id = :subject)
                    """  # noqa: S608 - only a constant is put in
                ),
                {
                    **these(waiting),
                    "withdrawal": WITHDRAWAL,
                    "meter": row.meter_id,
                    "first": period.start,
                    "end": period.end,
                    "anyone": row.subject_id is None,
                    "subject": row.subject_id or 0,
                },
            ).one()
        count, quantity = count + new[0], quantity + new[1]
    return int(count), Decimal(quantity)


def _duplicates(session: Session, row: ManifestRow) -> int:
    start = days_period(row.first_on, None).start
    return int(
        session.scalar(
            select(func.coalesce(func.sum(IngestBatchRow.duplicate), 0)).where(
                IngestBatchRow.source_id == row.source_id, IngestBatchRow.received_at >= start
            )
        )
        or 0
    )


class _Refused:
    """Refused events in quarantine, by source and type, read once for a report."""

    def __init__(self, session: Session) -> None:
        body = QuarantinedEventRow.body
        rows = session.execute(
            select(
                QuarantinedEventRow.source_id,
                body["type"].astext.label("type"),
                body["subject"].astext.label("subject"),
                body["time"].astext.label("time"),
            ).where(QuarantinedEventRow.status == "open", QuarantinedEventRow.fate == REJECTED)
        )
        self._days: dict[tuple[int, str], list[tuple[str | None, date]]] = defaultdict(list)
        for row in rows:
            day = _day(row.time)
            if row.type is not None and day is not None:
                self._days[row.source_id, row.type].append((row.subject, day))

    def count(
        self, source_id: int, event_type: str, code: str | None, first_on: date, end_on: date
    ) -> int:
        """Return how many refused events are of a span."""
        return sum(
            1
            for subject, day in self._days.get((source_id, event_type), ())
            if first_on <= day < end_on and code in {None, subject}
        )


def _day(written: str | None) -> date | None:
    """Return the London date that a refused event gives, None where it cannot be read."""
    try:
        return london_day(datetime.fromisoformat(written or ""))
    except (ValueError, OverflowError):
        return None
