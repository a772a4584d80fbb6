"""Makers of metering's things, through its operations."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from metering.events.decoding import BATCH_TYPE, decode
from metering.events.ingest import Ingest
from metering.events.model import Receipt
from metering.kit.auth import read_key
from metering.kit.db import Database
from metering.meters import operations as meters
from metering.organisations import operations as organisations
from metering.sources import operations as sources
from metering.sources.model import SCOPES

NOW = datetime(2026, 7, 15, 9, tzinfo=UTC)
ARCHIVE = "imaging-archive"


@dataclass
class Service:
    """A hosted service that posts, with its own way in."""

    database: Database
    ingest: Ingest
    key: str
    now: datetime = NOW

    def post(self, *events: Mapping[str, Any], now: datetime | None = None) -> Receipt:
        """Post events as one batch and return the receipt."""
        decoded = decode(json.dumps(events).encode(), media_type=BATCH_TYPE, headers={})
        return self.ingest.accept(decoded, key=read_key(self.key), now=now or self.now)


def event(number: int, **changed: Any) -> dict[str, Any]:
    """Return an event of the archive; `changed` replaces attributes, `data` is merged."""
    made: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(UUID(int=(7 << 76) | (2 << 62) | number)),
        "source": ARCHIVE,
        "type": "study.archived",
        "subject": "RRK",
        "time": "2026-07-03T10:00:00+01:00",
        "data": {"studies": "2", "modality": "CT"},
    }
    made["data"] |= changed.pop("data", {})
    return made | changed


def withdrawal(number: int, of: Any, **changed: Any) -> dict[str, Any]:
    """Return the withdrawal of an event (or of an id)."""
    target = of["id"] if isinstance(of, dict) else of
    made = event(number, type="uk.paygo.withdrawal", **changed)
    return made | {"data": {"event": target, "reason": "sent by mistake"}}


def catalogue(database: Database, *, now: datetime = NOW) -> None:
    """Register three trusts (one closed), two sources and the archive's meters."""
    with database.transaction() as session:
        for code in ("RRK", "RA7", "RVJ"):
            organisations.register(session, ods_code=code, name=code, kind="acute", now=now)
        organisations.record_succession(
            session, predecessor="RVJ", successor="RA7", effective_on=date(2026, 7, 1)
        )
        for code in (ARCHIVE, "image-exchange"):
            sources.register(session, code=code, name=code, now=now)
        for code, field, aggregation, resolution in (
            ("studies-archived", "studies", "sum", "day"),
            ("archive-requests", None, "count", "hour"),
        ):
            meters.register(
                session,
                source_code=ARCHIVE,
                code=code,
                name=code,
                event_type="study.archived",
                aggregation=aggregation,
                quantity_field=field,
                unit="study",
                dimensions={"modality": {"label": "Modality", "values": ["CT", "MR", "US"]}},
                resolution=resolution,
                now=now,
            )


def level_meter(database: Database, aggregation: str, *, now: datetime = NOW) -> None:
    """Register a meter of the archive with the code and event type `AGGREGATION-level`."""
    with database.transaction() as session:
        meters.register(
            session,
            source_code=ARCHIVE,
            code=f"{aggregation}-level",
            name=aggregation,
            event_type=f"{aggregation}-level",
            aggregation=aggregation,
            quantity_field="level",
            unit="GB",
            now=now,
        )


def key(database: Database, *, source: str = ARCHIVE, now: datetime = NOW) -> str:
    """Issue a key that may do everything and return its text."""
    with database.transaction() as session:
        return sources.issue_key(
            session, source_code=source, label="test", scopes=SCOPES, created_by="test", now=now
        ).text


def service(database: Database, *, source: str = ARCHIVE, now: datetime = NOW) -> Service:
    """Return a service that posts; the catalogue is there already."""
    way_in = Ingest(database, clock=lambda: now, correction_months=13)
    return Service(database, way_in, key(database, source=source, now=now), now)
