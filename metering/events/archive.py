"""Old months of raw events as Parquet files: written, proved row by row, then taken out.

The keys of events stay for ever, so a repeat is known whatever became of its month,
and readings stay, so that every sum does. What is archived is read from its file.
"""

import hashlib
import importlib
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from metering.events import partitions
from metering.events.model import WITHDRAWAL
from metering.events.partitions import archived
from metering.events.tables import ArchivedMonthRow
from metering.kit import audit
from metering.kit.db import Database
from metering.kit.errors import Conflict, Unavailable
from metering.meters.model import LEVELS
from metering.periods import Month

_ROWS = 20_000
"""Rows held in memory at once."""
_PART = ".part"


class ArchiveExtraMissing(Unavailable):
    """Parquet files need the extra `archive`: `pip install 'paygo[archive]'`."""

    code = "archive-extra-missing"
    title = "Archives cannot be read here"


class ArchiveFileWrong(Unavailable):
    """The file of an archived month is missing or is not as it was written."""

    code = "archive-file-wrong"
    title = "An archive is missing or damaged"


class MonthNotArchivable(Conflict):
    """The month is still open to corrections, or is not rolled up."""

    code = "month-not-archivable"
    title = "The month cannot be archived"


class ArchiveNotWritten(Unavailable):
    """The disk of `PAYGO_ARCHIVE_DIR` is full or cannot be written; the month stays where it is."""

    code = "archive-not-written"
    title = "The archive could not be written"


class Archive(NamedTuple):
    """What was written: its file, fingerprint and number of rows."""

    path: Path
    sha256: str
    rows: int
    quantity: Decimal


class ArchivedEvent(NamedTuple):
    """A row of the file; names stand beside numbers, so that it can be read without paygo."""

    subject_id: int
    source_id: int
    meter_id: int
    dimension_set_id: int
    kind: int
    event_key: bytes
    event_id: str | None
    occurred_at: datetime
    received_at: datetime
    quantity: Decimal
    batch_id: bytes
    detail: str | None
    organisation: str
    source: str
    meter: str | None
    dimensions: str


_SELECT = text(
    """
    SELECT e.subject_id, e.source_id, e.meter_id, e.dimension_set_id, e.kind,
        uuid_send(e.event_key) AS event_key, e.event_id, e.occurred_at, e.received_at,
        e.quantity, uuid_send(e.batch_id) AS batch_id, e.detail::text AS detail,
        o.ods_code AS organisation, s.code AS source, m.code AS meter,
        d.dimensions::text AS dimensions
    FROM usage_events e
    JOIN organisations o ON o.id = e.subject_id
    JOIN sources s ON s.id = e.source_id
    JOIN dimension_sets d ON d.id = e.dimension_set_id
    LEFT JOIN meters m ON m.id = e.meter_id
    WHERE e.period_month = :month
    ORDER BY e.occurred_at, e.event_key, e.meter_id, e.kind, e.dimension_set_id
    """
)

# What later months go on from: a level lasts until the next, however long ago it was set.
_KEEP_LEVELS = text(
    """
    INSERT INTO archived_levels
        (subject_id, meter_id, dimension_set_id, month, occurred_at, quantity)
    SELECT DISTINCT ON (e.subject_id, e.meter_id, e.dimension_set_id)
        e.subject_id, e.meter_id, e.dimension_set_id, e.period_month, e.occurred_at, e.quantity
    FROM usage_events e
    JOIN meters m ON m.id = e.meter_id AND m.aggregation = ANY(:levels)
    LEFT JOIN usage_events w ON w.subject_id = e.subject_id AND w.meter_id = e.meter_id
        AND w.period_month = e.period_month AND w.occurred_at = e.occurred_at
        AND w.kind = :withdrawal AND w.detail ->> 'withdraws' = e.event_key::text
    WHERE e.period_month = :month AND e.kind <> :withdrawal AND w.event_key IS NULL
    ORDER BY e.subject_id, e.meter_id, e.dimension_set_id, e.occurred_at DESC, e.quantity DESC
    ON CONFLICT DO NOTHING
    """
)


def archive_month(
    database: Database,
    *,
    month: Month,
    folder: Path,
    correction_months: int,
    principal: str,
    now: datetime,
) -> Archive:
    """Write a month to a file, prove it, and drop its partition; safe to repeat.

    The file is written and synchronised first. Then one transaction locks the partition,
    compares every row with the file, notes the archive, keeps the last level of each
    measured level, which later months go on from, and drops the partition.

    Returns:
        The archive; of a month that was archived before, after looking at its file.

    Raises:
        MonthNotArchivable; ArchiveExtraMissing; ArchiveFileWrong; ArchiveNotWritten.
    """
    with database.snapshot() as session:
        done = archived(session, first=month, last=month)
        if done:
            return _looked_at(done[0])
        _check(session, month=month, correction_months=correction_months, now=now)
        path = folder / f"usage-events-{month}.parquet"
        try:
            _write(session, month=month, path=path)
        except OSError as error:
            with suppress(OSError):
                path.with_suffix(_PART).unlink(missing_ok=True)
            raise ArchiveNotWritten(
                f"{path} could not be written ({error.strerror or error}); "
                f"{month.name} stays in the database."
            ) from error
    digest = _sha256(path)
    with database.transaction() as session:
        name = partitions.name_of(month)
        session.execute(text("SET LOCAL lock_timeout = '5s'"))
        # Nobody writes while it is compared; everybody reads until it goes.
        session.execute(text(f"LOCK TABLE {name} IN SHARE MODE"))
        rows, quantity = _compare(session, month=month, path=path)
        session.add(
            ArchivedMonthRow(
                month=month.first_day,
                file=str(path),
                sha256=digest,
                event_rows=rows,
                quantity=quantity,
                archived_at=now,
                archived_by=principal,
            )
        )
        audit.record(
            session,
            now=now,
            principal=principal,
            action="archive usage events",
            object_kind="month",
            object_id=str(month),
            facts={"file": str(path), "sha256": digest, "rows": rows, "quantity": str(quantity)},
        )
        session.flush()
        session.execute(
            _KEEP_LEVELS,
            {"month": month.first_day, "levels": sorted(LEVELS), "withdrawal": WITHDRAWAL},
        )
        session.execute(text(f"ALTER TABLE usage_events DETACH PARTITION {name}"))
        session.execute(text(f"DROP TABLE {name}"))
    return Archive(path, digest, rows, quantity)


def read_archive(
    row: ArchivedMonthRow,
    *,
    period: tuple[datetime, datetime],
    wanted: Mapping[str, Collection[int] | Collection[bytes]],
) -> Iterator[ArchivedEvent]:
    """Yield an archived month's events of some time, in order of instant.

    Of the file only those parts are read that hold some of that time.

    Args:
        period: first instant, and the one at which it ends.
        wanted: values that are asked for, by column such as `subject_id`.

    Raises:
        ArchiveExtraMissing; ArchiveFileWrong: there is no such file.
    """
    path = Path(row.file)
    if not path.exists():
        raise _wrong(row, "is not there")
    first, end = (instant.astimezone(UTC) for instant in period)
    arrow, parquet = _arrow()
    field = importlib.import_module("pyarrow.compute").field
    types = _schema(arrow)
    chosen = (field("occurred_at") >= first) & (field("occurred_at") < end)
    for name, values in wanted.items():
        chosen &= field(name).isin(arrow.array(list(values), types.field(name).type))
    with parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            said = file.metadata.row_group(group).column(types.get_field_index("occurred_at"))
            span = said.statistics
            if span is None or not span.has_min_max or (span.min < end and span.max >= first):
                yield from _rows_of(file.read_row_group(group).filter(chosen))


def _check(session: Session, *, month: Month, correction_months: int, now: datetime) -> None:
    def refuse(why: str) -> MonthNotArchivable:
        return MonthNotArchivable(f"{month.name} cannot be archived: {why}.")

    if month >= Month.of(now).shift(-correction_months):
        raise refuse(f"usage may still be corrected for {correction_months} months")
    if month not in partitions.existing(session):
        raise refuse("it has no events")
    if session.scalar(
        text(
            "SELECT 1 FROM usage_events e JOIN ingest_batches b ON b.id = e.batch_id"
            " WHERE e.period_month = :month AND b.claimed_at IS NULL LIMIT 1"
        ),
        {"month": month.first_day},
    ):
        raise refuse("some of its events are not in the readings yet")


def _rows(session: Session, *, month: Month) -> Iterator[list[ArchivedEvent]]:
    result = session.execute(
        _SELECT, {"month": month.first_day}, execution_options={"yield_per": _ROWS}
    )
    for part in result.partitions():
        yield [
            ArchivedEvent._make(
                (
                    *row[:5],
                    bytes(row.event_key),
                    row.event_id,
                    row.occurred_at.astimezone(UTC),
                    row.received_at.astimezone(UTC),
                    row.quantity,
                    bytes(row.batch_id),
                    *row[11:],
                )
            )
            for row in part
        ]


def _arrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ArchiveExtraMissing("pyarrow is missing: pip install 'paygo[archive]'.") from error


def _schema(arrow: Any) -> Any:
    instant = arrow.timestamp("us", tz="UTC")
    types = {
        "kind": arrow.int16(),
        "event_key": arrow.binary(16),
        "batch_id": arrow.binary(16),
        "occurred_at": instant,
        "received_at": instant,
        "quantity": arrow.decimal128(38, 9),
    }
    return arrow.schema(
        (name, types.get(name, arrow.int32() if name.endswith("_id") else arrow.string()))
        if name != "event_id"
        else (name, arrow.string())
        for name in ArchivedEvent._fields
    )


def _write(session: Session, *, month: Month, path: Path) -> None:
    """Write the file whole under another name, synchronise it, and give it its name."""
    arrow, parquet = _arrow()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_suffix(_PART)
    schema = _schema(arrow)
    with parquet.ParquetWriter(part, schema, compression="zstd") as writer:
        for rows in _rows(session, month=month):
            columns = [
                arrow.array(column, type=schema.field(at).type)
                for at, column in enumerate(zip(*rows, strict=True))
            ]
            writer.write_table(arrow.Table.from_arrays(columns, schema=schema))
    for place in (part, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    part.replace(path)


def _read(path: Path) -> Iterator[ArchivedEvent]:
    _, parquet = _arrow()
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_ROWS):
            yield from _rows_of(batch)


def _rows_of(part: Any) -> Iterator[ArchivedEvent]:
    for row in zip(*(column.to_pylist() for column in part.columns), strict=True):
        yield ArchivedEvent(*row)


def _compare(session: Session, *, month: Month, path: Path) -> tuple[int, Decimal]:
    """Return how many rows there are and the sum of their quantities, each equal to the file's.

    Raises:
        ArchiveFileWrong: a row differs; the partition is left as it is.
    """
    kept = _read(path)
    count, quantity = 0, Decimal(0)
    for rows in _rows(session, month=month):
        for row in rows:
            count += 1
            quantity += row.quantity
            if next(kept, None) != row:
                raise ArchiveFileWrong(
                    f"Row {count} of {path} is not what the database holds; nothing was dropped."
                    " Somebody wrote to the month meanwhile: run the command again."
                )
    if next(kept, None) is not None:
        raise ArchiveFileWrong(f"{path} has more rows than the database; nothing was dropped.")
    return count, quantity


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _looked_at(row: ArchivedMonthRow) -> Archive:
    path = Path(row.file)
    if not path.exists():
        raise _wrong(row, "is not there")
    if _sha256(path) != row.sha256:
        raise _wrong(row, "is not as it was written")
    return Archive(path, row.sha256, row.event_rows, row.quantity)


def _wrong(row: ArchivedMonthRow, what: str) -> ArchiveFileWrong:
    month = Month.of_day(row.month)
    return ArchiveFileWrong(
        f"{row.file}, the archive of {month.name}, {what}. Put it back from a backup;"
        f" its SHA-256 is {row.sha256}."
    )


def every_archive(session: Session) -> list[ArchivedMonthRow]:
    """Return what is archived, the oldest month first."""
    return list(session.scalars(select(ArchivedMonthRow).order_by(ArchivedMonthRow.month)))
