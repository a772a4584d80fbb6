"""What is posted and copied: a catalogue, events as an SDK makes them, ready rows for COPY."""

import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg

from benchmarks.load import plain
from metering.events import partitions
from metering.events.quantities import packed_numeric
from metering.kit.db import Database
from metering.kit.ids import uuid7
from metering.meters import operations as meters
from metering.organisations import operations as organisations
from metering.periods import Month
from metering.sources import operations as sources

NOW = datetime.now(UTC)
SOURCE = "imaging-archive"
TRUSTS = [f"R{a}{b}" for a in "ABCDEFGHIJ" for b in "ABCDEFGHIJKLMNOPQRST"]
MODALITIES = ("CT", "MR", "US", "XR", "RF", "NM")
STUDIES_MAX = 40
_LOAD_DAYS = 20
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def prepare(database: Database) -> str:
    """Register what the events need, and let a key in, which is returned."""
    with database.transaction() as session:
        for code in TRUSTS:
            organisations.register(session, ods_code=code, name=code, kind="acute", now=NOW)
        sources.register(session, code=SOURCE, name=SOURCE, now=NOW)
        meters.register(
            session,
            source_code=SOURCE,
            code="studies-archived",
            name="Studies archived",
            event_type="study.archived",
            aggregation="sum",
            quantity_field="studies",
            unit="study",
            dimensions={"modality": {"label": "Modality", "values": list(MODALITIES)}},
            now=NOW,
        )
        key = sources.issue_key(
            session, source_code=SOURCE, label="benchmark", created_by="benchmark", now=NOW
        )
    month = Month.of(NOW)
    partitions.ensure(database, months=[month.shift(-1), month, month.next])
    plain.prepare(database.engine, key=key.text, source=SOURCE)
    return key.text


@dataclass(frozen=True)
class Material:
    """Makes new events.

    Attributes:
        random_ids: ids without order, instead of the time-ordered ones of the SDK.
        days: the events happened within so many days before now; 0 is the last minute, as an
            SDK reports.
    """

    random_ids: bool = False
    days: int = 0

    def bodies(self, count: int, *, size: int) -> list[bytes]:
        """Return requests' bodies, each of `size` new events."""
        return [b"[" + b",".join(self._events(size)) + b"]" for _ in range(count)]

    def blocks(self, count: int, *, size: int) -> list[bytes]:
        """Return the rows that as many events become, ready for COPY in text form."""
        return ["".join(self._rows(size)).encode() for _ in range(count)]

    def _times(self, count: int) -> Iterator[str]:
        now, span = time.time(), self.days * 86_400 or 60
        for _ in range(count):
            at = now - random.random() * span
            micro = int(at % 1 * 1e6)
            yield f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{micro:06d}Z"

    def _ids(self, count: int) -> Iterator[str]:
        for each in keys(count, random_ids=self.random_ids, at=time.time()):
            text = each.hex()
            yield f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def _events(self, count: int) -> Iterator[bytes]:
        for event_id, at in zip(self._ids(count), self._times(count), strict=True):
            yield (
                f'{{"specversion":"1.0","id":"{event_id}","source":"{SOURCE}"'
                f',"type":"study.archived","subject":"{random.choice(TRUSTS)}","time":"{at}"'
                f',"data":{{"studies":"{random.randint(1, STUDIES_MAX)}"'
                f',"modality":"{random.choice(MODALITIES)}"}}}}'
            ).encode()

    def _rows(self, count: int) -> Iterator[str]:
        batch_id = uuid7(now=datetime.now(UTC))
        for event_id, at in zip(self._ids(count), self._times(count), strict=True):
            yield (
                f"{at[:8]}01\t{random.randint(1, len(TRUSTS))}\t1\t1"
                f"\t{random.randint(1, len(MODALITIES))}\t0\t{event_id}\t{at}\t{at}"
                f"\t{random.randint(1, STUDIES_MAX)}\t{batch_id}\n"
            )


def keys(count: int, *, random_ids: bool, at: float) -> Iterator[bytes]:
    """Return ids of 16 bytes: UUIDs version 7 that begin at an instant, or version 4."""
    noise = os.urandom(16 * count)
    first = int(at * 1000)
    for number in range(count):
        own = bytearray(noise[16 * number : 16 * number + 16])
        if random_ids:
            own[6] = own[6] & 0x0F | 0x40
        else:
            # As many within a millisecond as a busy service makes.
            own[:6] = (first + number // 50).to_bytes(6, "big")
            own[6] = own[6] & 0x0F | 0x70
        own[8] = own[8] & 0x3F | 0x80
        yield bytes(own)


COPY_TEXT = (
    "COPY usage_events (period_month, subject_id, source_id, meter_id, dimension_set_id, kind,"
    " event_key, occurred_at, received_at, quantity, batch_id) FROM STDIN"
)
_HEAD = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_QUANTITIES = [packed_numeric(Decimal(number)) for number in range(STUDIES_MAX + 1)]


def raw_copy(connection: psycopg.Connection[Any], block: bytes) -> None:
    """COPY ready rows into usage_events and commit: no key, no check, nothing but the rows."""
    with connection.cursor().copy(COPY_TEXT) as copy:
        copy.write(block)
    connection.commit()


def fill(connection: psycopg.Connection[Any], rows: int, *, random_ids: bool) -> None:
    """Store so many events with their keys, in the order in which they happened, by COPY.

    They happened over the days before; keys and events are what ingest would have written.
    The batches are marked as claimed, as if the roll-up had seen them.
    """
    block = 100_000
    began = NOW - timedelta(days=_LOAD_DAYS)
    step = timedelta(days=_LOAD_DAYS) / max(1, rows)
    for start in range(0, rows, block):
        count = min(block, rows - start)
        first = began + start * step
        batch = uuid7(now=first)
        ids = list(keys(count, random_ids=random_ids, at=first.timestamp()))
        instants = [first + number * step for number in range(count)]
        _copy_block(connection, ids, instants, batch.bytes)
        connection.execute(
            "INSERT INTO ingest_batches (id, source_id, received_at, received, accepted,"
            " duplicate, conflict, rejected, claimed_at) VALUES (%s, 1, %s, %s, %s, 0, 0, 0, %s)",
            (batch, first, count, count, first),
        )
        connection.commit()


def _copy_block(
    connection: psycopg.Connection[Any],
    ids: Sequence[bytes],
    instants: Sequence[datetime],
    batch: bytes,
) -> None:
    packed = [
        (int((at - _EPOCH).total_seconds()) * 1_000_000 + at.microsecond).to_bytes(8, "big")
        for at in instants
    ]
    prints = os.urandom(16 * len(ids))
    one, four, eight, sixteen = (size.to_bytes(4, "big") for size in (2, 4, 8, 16))
    number_1 = four + (1).to_bytes(4, "big")
    cursor = connection.cursor()
    with cursor.copy(
        "COPY event_keys (source_id, event_key, fingerprint, occurred_at)"
        " FROM STDIN (FORMAT BINARY)"
    ) as copy:
        rows = [
            b"\x00\x04"
            + number_1
            + sixteen
            + key
            + sixteen
            + prints[16 * n : 16 * n + 16]
            + eight
            + at
            for n, (key, at) in enumerate(zip(ids, packed, strict=True))
        ]
        copy.write(_HEAD + b"".join(sorted(rows)) + b"\xff\xff")
    with cursor.copy(
        "COPY usage_events (source_id, meter_id, kind, batch_id, subject_id, dimension_set_id,"
        " period_month, event_key, occurred_at, received_at, quantity) FROM STDIN (FORMAT BINARY)"
    ) as copy:
        head = b"\x00\x0b" + number_1 * 2 + one + b"\x00\x00" + sixteen + batch + four
        subjects = [number.to_bytes(4, "big") for number in range(1, len(TRUSTS) + 1)]
        sets = [four + number.to_bytes(4, "big") + four for number in range(1, len(MODALITIES) + 1)]
        copy.write(
            _HEAD
            + b"".join(
                [
                    head
                    + random.choice(subjects)
                    + random.choice(sets)
                    + _month(moment)
                    + sixteen
                    + key
                    + eight
                    + at
                    + eight
                    + at
                    + random.choice(_QUANTITIES[1:])
                    for key, at, moment in zip(ids, packed, instants, strict=True)
                ]
            )
            + b"\xff\xff"
        )


def _month(moment: datetime) -> bytes:
    # ASSUMPTION: London's month is UTC's; an hour of the last day of a summer month is not,
    # and would be put beside it, which no speed depends on.
    return ((moment.date().replace(day=1)) - _EPOCH.date()).days.to_bytes(4, "big")
