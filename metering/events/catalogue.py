"""The catalogue as one process remembers it: keys, sources, subjects, meters.

A snapshot is immutable and carries the version it was read at. Every ingest
transaction reads the counter (`kit.versions`) and starts again with a fresh
snapshot where it has moved, so no event is judged by a catalogue that was
changed before its transaction began, and a revoked key stops at once.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property

from sqlalchemy import select
from sqlalchemy.orm import Session

from metering.events.model import UNCOUNTED_METER
from metering.kit import versions
from metering.kit.auth import Key
from metering.kit.db import Database
from metering.meters.model import UNIQUE, Meter
from metering.meters.operations import canonical, dimension_set_id
from metering.meters.queries import every as every_meter
from metering.meters.queries import meter_of
from metering.meters.tables import DimensionSetRow
from metering.organisations.operations import CATALOGUE
from metering.organisations.tables import OrganisationRow, SuccessionRow
from metering.periods import london_midnight
from metering.sources.model import SourcePrincipal
from metering.sources.operations import KeyRefused, principal_of, usable
from metering.sources.tables import ServiceKeyRow, SourceRow


@dataclass(frozen=True, slots=True)
class Subject:
    """An organisation as events meet it; instants are London midnights in UTC."""

    id: int
    packed: bytes
    opened_at: datetime | None
    closed_at: datetime | None
    successors: tuple[str, ...]


@dataclass(frozen=True)
class Feed:
    """What one event adds to one meter.

    Attributes:
        meter: its number as PostgreSQL's binary int4.
        measured: which of the event type's measured fields; None counts 1.
        dimension_set: binary int4 of the dimension set's number.
        unique: the measured field is a value to count once, not a number to add.
    """

    meter: bytes
    measured: int | None
    dimension_set: bytes
    unique: bool = False

    @cached_property
    def copied(self) -> bytes:
        """Meter and dimension set as fields of a COPY in binary form, and the next one's length."""
        return b"\x00\x00\x00\x04".join((b"", self.meter, self.dimension_set, b""))


@dataclass(frozen=True)
class Shape:
    """All that a combination of dimensions decides, worked out once.

    Attributes:
        feeds: one for each meter whose filter matches.
        canonical: the one spelling of the event's dimensions, for fingerprints.
    """

    feeds: tuple[Feed, ...]
    canonical: str

    @cached_property
    def only(self) -> Feed | None:
        """The one feed, where it adds a number and the event is otherwise not kept."""
        first = self.feeds[0]
        plain = len(self.feeds) == 1 and not first.unique and first.meter != _UNCOUNTED
        return first if plain else None


@dataclass(frozen=True)
class EventType:
    """The meters that read one event type of one source.

    Attributes:
        meters: numbers and definitions.
        measured: every field of `data` that some meter measures; the rest is dimensions.
        measured_numbers: each of `measured`, and whether some meter needs a number there.
        names: every dimension that some meter knows.
        only_number: the measured field where there is one and it is a number, as is usual.
        shapes: what was worked out already, by the dimensions as they were sent.
    """

    meters: tuple[tuple[int, Meter], ...]
    measured: tuple[str, ...]
    measured_numbers: tuple[tuple[str, bool], ...]
    names: frozenset[str]
    only_number: str | None = None
    shapes: dict[tuple[tuple[str, str], ...], Shape] = field(default_factory=dict)

    @property
    def numbers(self) -> list[str]:
        """The measured fields that some meter needs as numbers."""
        return [name for name, is_number in self.measured_numbers if is_number]


@dataclass(frozen=True)
class Catalogue:
    """Everything that ingest asks of the catalogue, at one version."""

    version: int
    keys: Mapping[str, tuple[ServiceKeyRow, SourceRow]]
    source_ids: Mapping[str, int]
    subjects: Mapping[str, Subject]
    types: Mapping[tuple[int, str], EventType]

    @cached_property
    def types_by_source(self) -> Mapping[int, Mapping[str, EventType]]:
        """The event types of each source alone, so that they are looked up by plain texts."""
        found: dict[int, dict[str, EventType]] = {}
        for (source_id, name), kind in self.types.items():
            found.setdefault(source_id, {})[name] = kind
        return found

    def authenticate(self, key: Key | None, *, now: datetime) -> SourcePrincipal:
        """Return the source that a key proves.

        Raises:
            KeyRefused: as `sources.operations.authenticate`.
        """
        found = None if key is None else self.keys.get(key.prefix)
        if key is not None and found is not None:
            row, source = found
            if key.matches(row.secret_sha256) and usable(row, source, now=now):
                return principal_of(row, source)
        raise KeyRefused("Send a valid service key as 'Authorization: Bearer pgk_…'.")


SHAPES_MAX = 50_000
"""Combinations remembered for one event type, after which it starts to remember anew."""


def packed_int4(number: int) -> bytes:
    """Return a number as PostgreSQL's binary int4."""
    return number.to_bytes(4, "big", signed=True)


_UNCOUNTED = packed_int4(UNCOUNTED_METER)


def load(session: Session) -> Catalogue:
    """Read the catalogue. The counter is read first: at worst one reload too many."""
    version = versions.read(session, name=CATALOGUE)
    sources = {row.id: row for row in session.scalars(select(SourceRow))}
    keys = {
        row.prefix: (row, sources[row.source_id]) for row in session.scalars(select(ServiceKeyRow))
    }
    organisations = {row.id: row for row in session.scalars(select(OrganisationRow))}
    heirs: dict[int, list[str]] = {}
    for row in session.scalars(select(SuccessionRow).order_by(SuccessionRow.successor_id)):
        heirs.setdefault(row.predecessor_id, []).append(organisations[row.successor_id].ods_code)
    session.expunge_all()
    by_type: dict[tuple[int, str], list[tuple[int, Meter]]] = {}
    for meter in every_meter(session):
        by_type.setdefault((meter.source_id, meter.event_type), []).append(
            (meter.id, meter_of(meter))
        )
    return Catalogue(
        version=version,
        keys=keys,
        source_ids={row.code: row.id for row in sources.values()},
        subjects={
            row.ods_code: Subject(
                row.id,
                packed_int4(row.id),
                _midnight(row.opened_on),
                _midnight(row.closed_from),
                tuple(sorted(heirs.get(row.id, ()))),
            )
            for row in organisations.values()
        },
        types={pair: event_type(tuple(meters)) for pair, meters in by_type.items()},
    )


def _midnight(day: date | None) -> datetime | None:
    return None if day is None else london_midnight(day)


def event_type(meters: tuple[tuple[int, Meter], ...]) -> EventType:
    """Return what the meters of one event type need of an event."""
    measured = tuple(
        dict.fromkeys(meter.quantity_field for _, meter in meters if meter.quantity_field)
    )
    numbers = frozenset(meter.quantity_field for _, meter in meters if meter.aggregation != UNIQUE)
    names = frozenset(name for _, meter in meters for name in meter.dimensions)
    return EventType(
        meters,
        measured,
        tuple((name, name in numbers) for name in measured),
        names - set(measured),
        measured[0] if len(measured) == 1 and numbers.issuperset(measured) else None,
    )


class CatalogueMemory:
    """The remembered catalogue of a process, shared by its threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._catalogue: Catalogue | None = None
        # The dictionary of dimension sets only grows, so it outlives snapshots.
        self._sets: dict[str, bytes] = {}

    def current(self) -> Catalogue:
        """Return the remembered catalogue, reading it the first time."""
        found = self._catalogue
        return self.reload(None) if found is None else found

    def reload(self, stale: Catalogue | None) -> Catalogue:
        """Return a catalogue newer than `stale`; of several threads that ask, one reads."""
        with self._lock:
            if self._catalogue is None or self._catalogue is stale:
                with self._database.snapshot() as session:
                    self._catalogue = load(session)
            return self._catalogue

    def authenticate(self, key: Key | None, *, now: datetime) -> SourcePrincipal:
        """Return the source that a key proves, looking again where it seems unknown.

        Raises:
            KeyRefused: as `sources.operations.authenticate`.
        """
        catalogue = self.current()
        try:
            return catalogue.authenticate(key, now=now)
        except KeyRefused:
            if key is None:
                raise
            with self._database.snapshot() as session:
                if versions.read(session, name=CATALOGUE) == catalogue.version:
                    raise
            return self.reload(catalogue).authenticate(key, now=now)

    def dimension_set(self, dimensions: Mapping[str, str]) -> bytes:
        """Return the binary int4 of a dimension set's number, committing it where it is new."""
        spelt = canonical(dimensions)
        found = self._sets.get(spelt)
        if found is None:
            if not self._sets:
                self._read_sets()
            found = self._sets.get(spelt)
        if found is None:
            number = self._database.retrying(
                lambda session: dimension_set_id(session, dimensions=dimensions)
            )
            found = self._sets[spelt] = packed_int4(number)
        return found

    def _read_sets(self) -> None:
        with self._database.snapshot() as session:
            rows = session.execute(
                select(DimensionSetRow.id, DimensionSetRow.dimensions)
                .order_by(DimensionSetRow.id.desc())
                .limit(SHAPES_MAX)
            )
            self._sets.update({canonical(row.dimensions): packed_int4(row.id) for row in rows})
