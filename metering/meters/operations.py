"""Keep the register of meters, and the dictionary of dimension sets."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from metering.kit import versions
from metering.kit.errors import Conflict
from metering.meters.model import Meter
from metering.meters.queries import by_code, meter_of
from metering.meters.tables import DimensionSetRow, MeterRow
from metering.organisations.operations import CATALOGUE
from metering.sources.queries import by_code as source_by_code

_LOCK = 7_201_950
_FIXED = ("source", "event_type", "aggregation", "quantity_field", "filter", "resolution")


class MeterFixed(Conflict):
    """What a meter counts cannot change: readings already rest on it. Register another."""

    code = "meter-fixed"
    title = "What a meter counts cannot change"


def register(
    session: Session,
    *,
    source_code: str,
    code: str,
    name: str,
    event_type: str,
    aggregation: str,
    unit: str,
    quantity_field: str | None = None,
    dimensions: Mapping[str, Mapping[str, Any]] | None = None,
    filter: Mapping[str, list[str]] | None = None,
    resolution: str = "day",
    now: datetime,
) -> MeterRow:
    """Register a meter, or bring its name, unit and dimensions up to date; safe to repeat.

    The arguments are those of `meters.model.Meter`. A meter counts the events
    that are received after it was registered.

    Raises:
        SourceUnknown: no source has that code.
        MeterInvalid: the definition breaks a rule.
        MeterFixed: the registered meter counts something else.
    """
    meter = Meter(
        code=code,
        name=name,
        event_type=event_type,
        aggregation=aggregation,
        quantity_field=quantity_field,
        unit=unit,
        dimensions=_plain(dimensions or {}),
        filter=_plain(filter or {}),
        resolution=resolution,
    )
    source = source_by_code(session, code=source_code)
    found = session.scalar(select(MeterRow).where(MeterRow.code == code))
    if found is None:
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        found = session.scalar(select(MeterRow).where(MeterRow.code == code))
    if found is None:
        greatest = session.scalar(select(func.max(MeterRow.id))) or 0
        found = MeterRow(
            id=greatest + 1,
            code=code,
            source_id=source.id,
            event_type=event_type,
            aggregation=aggregation,
            quantity_field=quantity_field,
            filter=dict(meter.filter),
            resolution=resolution,
            registered_at=now,
        )
        session.add(found)
    else:
        _check_fixed(meter_of(found), meter, same_source=found.source_id == source.id)
    found.name, found.unit = name, unit
    found.dimensions = dict(meter.dimensions)
    if session.is_modified(found) or found in session.new:
        session.flush()
        versions.bump(session, name=CATALOGUE)
    return found


def reword(
    session: Session,
    *,
    code: str,
    name: str,
    unit: str,
    dimensions: Mapping[str, Mapping[str, Any]],
) -> MeterRow:
    """Change how a meter is called, and let it be split by more.

    Events carry the dimensions there are, and prices may ask for them: a dimension or a value
    can be added, and a list of values opened to any text, but nothing taken away.

    Raises:
        MeterUnknown: no meter has that code.
        MeterInvalid: the definition breaks a rule.
        MeterFixed: a dimension or a value would be taken away.
    """
    found = by_code(session, code=code)
    old = meter_of(found)
    new = replace(old, name=name, unit=unit, dimensions=_plain(dimensions))
    for kept, about in old.dimensions.items():
        if kept not in new.dimensions:
            raise MeterFixed(f"Usage is already split by '{kept}', so it cannot be taken away.")
        values = new.dimensions[kept].get("values")
        missing = sorted(set(about.get("values") or ()) - set(values or ()))
        if values is not None and (missing or about.get("values") is None):
            what = f"the value '{missing[0]}'" if missing else "any text"
            raise MeterFixed(f"'{kept}' already takes {what}, which cannot be taken away.")
    found.name, found.unit, found.dimensions = new.name, new.unit, dict(new.dimensions)
    if session.is_modified(found):
        session.flush()
        versions.bump(session, name=CATALOGUE)
    return found


def _plain(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON-ready copy, equal to what the database gives back."""
    copy: dict[str, Any] = json.loads(json.dumps({key: written[key] for key in written}))
    return copy


def _check_fixed(old: Meter, new: Meter, *, same_source: bool) -> None:
    changed = [
        name
        for name in _FIXED
        if not (same_source if name == "source" else getattr(old, name) == getattr(new, name))
    ]
    if changed:
        raise MeterFixed(
            f"Meter {old.code} is in use: its {', '.join(changed).replace('_', ' ')} cannot"
            " change. Register a meter with another code."
        )


def canonical(dimensions: Mapping[str, str]) -> str:
    """Return the one spelling of a dimension set: JSON, names sorted, no spaces."""
    return json.dumps(dict(dimensions), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def dimension_set_id(session: Session, *, dimensions: Mapping[str, str]) -> int:
    """Return the small number of a dimension set, making it where it is new.

    Call it in a transaction of its own (SCALE rule 12), and remember the number
    only once that has committed.
    """
    spelt = canonical(dimensions)
    fingerprint = UUID(bytes=hashlib.sha256(spelt.encode()).digest()[:16])
    query = select(DimensionSetRow.id).where(DimensionSetRow.fingerprint == fingerprint)
    found = session.scalar(query)
    if found is None:
        # Asked first, since an insert that meets a conflict would use up a number.
        session.execute(
            insert(DimensionSetRow)
            .values(fingerprint=fingerprint, dimensions=json.loads(spelt))
            .on_conflict_do_nothing(index_elements=[DimensionSetRow.fingerprint])
        )
        found = session.scalar(query)
    assert found is not None, "it was inserted here or by another"
    return found
