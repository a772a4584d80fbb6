"""Judge events by the catalogue: what is stored of each, or why it is refused. Pure.

The result is laid out in columns, already in PostgreSQL's binary form, since
this runs for every event there is.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec

from metering.events.catalogue import (
    SHAPES_MAX,
    Catalogue,
    EventType,
    Feed,
    Shape,
    Subject,
    packed_int4,
)
from metering.events.decoding import Decoded, Envelope, Item, Unreadable, step
from metering.events.model import (
    CONFLICT,
    DUPLICATE,
    ID_LENGTH_MAX,
    REJECTED,
    UNCOUNTED_METER,
    Fate,
    FateName,
    Receipt,
    key_of,
    keys_of,
)
from metering.events.quantities import (
    ONE_PACKED,
    QuantityRefused,
    quantity_text_and_packed,
    remembered,
)
from metering.kit.nhs_number import holds_nhs_number, mask_nhs_numbers
from metering.meters.model import UNIQUE, WITHDRAWAL_TYPE
from metering.meters.operations import canonical
from metering.periods import Month, to_utc
from metering.sources.model import SourcePrincipal

AHEAD_MAX = timedelta(minutes=5)
"""How far a source's clock may run ahead."""

_PG_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_PG_DAY = date(2000, 1, 1)
_VALUE_LENGTH_MAX = 512
_REASON_LENGTH_MAX = 1000
_US = "\x1f"
DimensionSets = Callable[[Mapping[str, str]], bytes]


@dataclass(frozen=True)
class Window:
    """The instants that events may have, and the months these lie in.

    Attributes:
        oldest: first instant that may still be sent or corrected.
        newest: last instant.
        starts: UTC starts of the months from `oldest` on.
        packed: each month's first day as PostgreSQL's binary date.
    """

    oldest: datetime
    newest: datetime
    months: tuple[Month, ...]
    starts: tuple[datetime, ...]
    packed: tuple[bytes, ...]

    @classmethod
    def at(cls, now: datetime, *, correction_months: int) -> "Window":
        """Return the window at `now`: whole months back, five minutes ahead."""
        return replace(_months(Month.of(now), correction_months), newest=to_utc(now) + AHEAD_MAX)


@lru_cache(maxsize=4)
def _months(this: Month, correction_months: int) -> Window:
    """Return the window of a month; working out London midnights costs more than judging."""
    first = this.shift(-correction_months)
    months = tuple(first.shift(offset) for offset in range(correction_months + 2))
    return Window(
        oldest=first.period.start,
        newest=first.period.start,
        months=months,
        starts=tuple(month.period.start for month in months),
        packed=tuple(packed_int4((month.first_day - _PG_DAY).days) for month in months),
    )


@dataclass(slots=True)
class Refused:
    """An event to be kept in quarantine; its body already has no patient's number in it."""

    fate: Fate
    body: dict[str, Any]


@dataclass(slots=True)
class Special:
    """A withdrawal, or a usage event that replaces another: rare, and stored one by one.

    Attributes:
        target: 16 bytes of the event that is withdrawn; `target_id` as it was named.
        rows: rows of the new usage, for a replacement; positions are not used.
    """

    index: int
    event_id: str
    key: bytes
    key_text: str | None
    fingerprint: bytes
    occurred: bytes
    subject: bytes
    subject_code: str
    target: bytes
    target_id: str
    reason: str
    pointer: str
    rows: "Rows"


@dataclass(slots=True)
class Rows:
    """Columns of `usage_events` to come; `position` points into the lot's keys."""

    position: list[int] = field(default_factory=list)
    month: list[bytes] = field(default_factory=list)
    subject: list[bytes] = field(default_factory=list)
    feed: list[Feed] = field(default_factory=list)
    quantity: list[bytes] = field(default_factory=list)
    detail: dict[int, dict[str, Any]] = field(default_factory=dict)
    """By row number: what the columns do not hold."""


@dataclass(slots=True)
class Lot:
    """The judged events of one request.

    The parallel lists `keys`, `texts`, `fingerprints`, `occurred`, `indexes` and
    `ids` have one entry for each event that may be accepted.
    """

    source_id: int
    key_id: str
    version: int
    received: int
    single: bool
    oldest: datetime
    keys: list[bytes] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)
    fingerprints: list[bytes] = field(default_factory=list)
    occurred: list[bytes] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    rows: Rows = field(default_factory=Rows)
    places: set[int] = field(default_factory=set)
    """Of the months of the window that its events lie in."""
    specials: list[Special] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    envelopes: Sequence[Any] = ()
    judged: tuple[int, int] = (0, 0)

    def rewind(self) -> None:
        """Forget what an attempt to store said, so that storing can be tried again."""
        del self.fates[self.judged[0] :]
        del self.refused[self.judged[1] :]

    def receipt(self) -> Receipt:
        """Return the answer to the request, once it is stored."""
        return Receipt(self.received, sorted(self.fates, key=lambda fate: fate.index))

    def pointer(self, index: int, within: str) -> str:
        """Return a pointer within an event as one within the request's body."""
        return within if self.single else f"/{index}{within}"


class _No(Exception):
    """An event is refused."""

    def __init__(self, pointer: str, code: str, detail: str) -> None:
        super().__init__(detail)
        self.pointer, self.code, self.detail = pointer, code, detail


def judge(
    decoded: Decoded,
    *,
    catalogue: Catalogue,
    principal: SourcePrincipal,
    window: Window,
    dimension_sets: DimensionSets,
) -> Lot:
    """Judge the events of one request.

    Args:
        dimension_sets: gives the number of a dimension set, making it where it is
            new; called once for each combination that this catalogue meets.
    """
    items = decoded.items
    lot = Lot(
        source_id=principal.source_id,
        key_id=principal.key_id,
        version=catalogue.version,
        received=len(items),
        single=decoded.single,
        oldest=window.oldest,
        envelopes=items,
    )
    _Judge(catalogue, principal, window, dimension_sets, lot).take_all(items)
    lot.judged = (len(lot.fates), len(lot.refused))
    return lot


def refuse(
    lot: Lot,
    index: int,
    event_id: str | None,
    fate: FateName,
    pointer: str,
    code: str,
    detail: str,
) -> None:
    """Note that an event is refused or conflicts, and keep what was sent, masked."""
    found = Fate(
        index,
        None if event_id is None else _clean_text(event_id[:ID_LENGTH_MAX]),
        fate,
        _clean_text(lot.pointer(index, pointer)),
        code,
        _clean_text(detail),
    )
    lot.fates.append(found)
    lot.refused.append(Refused(found, body_of(lot.envelopes[index])))


class _Judge:
    """The state of judging one request."""

    __slots__ = (
        "_catalogue",
        "_code",
        "_lot",
        "_newest",
        "_seen",
        "_sets",
        "_types",
        "_window",
    )

    def __init__(
        self,
        catalogue: Catalogue,
        principal: SourcePrincipal,
        window: Window,
        dimension_sets: DimensionSets,
        lot: Lot,
    ) -> None:
        self._catalogue = catalogue
        self._code = principal.source_code
        # The event types of this source alone, so that the loop looks up plain texts.
        self._types = {
            name: kind
            for (source, name), kind in catalogue.types.items()
            if source == principal.source_id
        }
        self._window = window
        self._newest = window.newest
        self._sets = dimension_sets
        self._lot = lot
        self._seen: dict[bytes, bytes] = {}

    def take_all(self, items: Sequence[Item]) -> None:
        """Judge every event, and add each to the lot or to what is refused.

        One loop with everything in local names, since it runs for every event there is.
        """
        lot, seen = self._lot, self._seen
        rows, months = lot.rows, self._window.packed
        positions, row_months, row_subjects = rows.position, rows.month, rows.subject
        row_feeds, row_quantities = rows.feed, rows.quantity
        keys, texts, prints, instants = lot.keys, lot.texts, lot.fingerprints, lot.occurred
        indexes, ids, places, starts = lot.indexes, lot.ids, lot.places, self._window.starts
        code, subjects, types = self._code, self._catalogue.subjects, self._types
        oldest, newest = self._window.oldest, self._window.newest
        identities = keys_of([item.id if type(item) is Envelope else "" for item in items])
        month_start = month_end = newest  # of the month that the event before lay in
        month, place = b"", 0
        for index, (event, (key, text)) in enumerate(zip(items, identities, strict=True)):
            if type(event) is not Envelope:
                assert isinstance(event, Unreadable)
                refuse(
                    lot, index, event.event_id, REJECTED, event.pointer, event.code, event.detail
                )
                continue
            try:
                if event.specversion != "1.0":
                    raise _No("/specversion", "specversion-unsupported", "The specversion is 1.0.")
                event_id = event.id
                if text is not None:
                    _check_id(event_id)
                if event.source != code:
                    raise self._wrong_source(event.source)
                moment = event.time
                if moment.tzinfo is not UTC:
                    moment = _utc(moment)
                subject = subjects.get(event.subject)
                kind = types.get(event.type)
                if kind is None:
                    if event.type == WITHDRAWAL_TYPE:
                        self._withdrawal(index, event, key, text, moment, subject)
                        continue
                    raise _No(
                        "/type",
                        "type-unknown",
                        f"No meter of {code} reads events of the type '{event.type[:100]}'.",
                    )
                if subject is None:
                    raise _unknown_subject(event.subject)
                if not oldest <= moment <= newest:
                    raise self._wrong_time(moment)
                if subject.closed_at is not None or subject.opened_at is not None:
                    _check_open(event.subject, subject, moment)
                since = moment - _PG_EPOCH
                microseconds = (since.days * 86_400 + since.seconds) * 1_000_000 + (
                    since.microseconds
                )
                members = event.data
                measured: list[tuple[str, bytes]] = []
                if kind.measured:
                    members = members.copy()
                    for name, is_number in kind.measured_numbers:
                        value = members.pop(name, None)
                        usual = remembered.get(value) if type(value) is str and is_number else None
                        measured.append(usual or _measure(value, name, is_number=is_number))
                try:
                    shape = kind.shapes.get(tuple(members.items()))
                except TypeError:  # a value that is no text
                    shape = None
                if shape is None:
                    shape = self._shape(kind, members)
                figures = (
                    measured[0][0]
                    if len(measured) == 1
                    else _US.join([pair[0] for pair in measured])
                )
                replaces = event.replaces
                content = (
                    f"{event.type}\x1f{event.subject}\x1f{microseconds}\x1f{figures}"
                    f"\x1f{shape.canonical}\x1f{replaces or ''}"
                )
                fingerprint = blake2b(content.encode(), digest_size=16).digest()
                occurred = microseconds.to_bytes(8, "big", signed=True)
                if not month_start <= moment < month_end:
                    place = bisect_right(starts, moment) - 1
                    places.add(place)
                    month, month_start = months[place], starts[place]
                    month_end = starts[place + 1] if place + 1 < len(starts) else month_start
                if replaces is not None or event.withdraws is not None:
                    self._replacement(
                        index,
                        event,
                        key,
                        text,
                        fingerprint,
                        occurred,
                        subject,
                        shape,
                        measured,
                        month,
                    )
                    continue
                known = seen.get(key)
                if known is not None:
                    repeat(lot, index, event_id, same=known == fingerprint)
                    continue
                seen[key] = fingerprint
                position = len(keys)
                keys.append(key)
                texts.append(text)
                prints.append(fingerprint)
                instants.append(occurred)
                indexes.append(index)
                ids.append(event_id)
                added = shape.only
                if added is None:
                    _add_rows(rows, position, month, subject.packed, shape, measured, event)
                    continue
                # What `_add_rows` does for one meter that sums or counts.
                positions.append(position)
                row_months.append(month)
                row_subjects.append(subject.packed)
                row_feeds.append(added)
                row_quantities.append(
                    ONE_PACKED if added.measured is None else measured[added.measured][1]
                )
            except _No as no:
                refuse(lot, index, event.id, REJECTED, no.pointer, no.code, no.detail)

    def _repeated(self, index: int, event_id: str, key: bytes, fingerprint: bytes) -> bool:
        """Return whether the request already had this id, and note the repeat's fate."""
        known = self._seen.get(key)
        if known is None:
            self._seen[key] = fingerprint
            return False
        repeat(self._lot, index, event_id, same=known == fingerprint)
        return True

    def _wrong_source(self, source: str) -> _No:
        if source in self._catalogue.source_ids:
            return _No(
                "/source",
                "source-not-yours",
                f"This key belongs to {self._code} and may not post for '{source}'.",
            )
        return _No("/source", "source-unknown", f"No source is registered as '{source[:100]}'.")

    def _wrong_time(self, moment: datetime) -> _No:
        if moment > self._newest:
            return _No(
                "/time",
                "time-in-future",
                "The time is more than 5 minutes ahead of ours; check the clock.",
            )
        return _No(
            "/time",
            "time-too-old",
            f"Usage before {self._window.months[0].name} can no longer be sent or corrected.",
        )

    def _shape(self, kind: EventType, members: Mapping[str, Any]) -> Shape:
        """Work out a new combination of dimensions, and remember it.

        Raises:
            _No: a dimension is unknown, no text, not allowed, or a patient's number.
        """
        for name, value in members.items():
            pointer = f"/data/{step(name)}"
            if holds_nhs_number(name):
                raise _No(pointer, "nhs-number", "A member's name holds an NHS number.")
            if name not in kind.names:
                raise _No(pointer, "dimension-unknown", f"No meter knows '{name[:100]}'.")
            _check_value(pointer, name, value)
        allowed_by_none = {
            name
            for name, value in members.items()
            if not any(_allows(meter.dimensions, name, value) for _, meter in kind.meters)
        }
        feeding = [(number, meter) for number, meter in kind.meters if meter.counts(members)]
        for name, value in members.items():
            refused = any(
                name in meter.dimensions and not _allows(meter.dimensions, name, value)
                for _, meter in feeding
            )
            if refused or name in allowed_by_none:
                raise _No(
                    f"/data/{step(name)}",
                    "dimension-value-unknown",
                    f"'{value[:100]}' is not a value of '{name}'.",
                )
        feeds = tuple(
            Feed(
                meter=packed_int4(number),
                measured=(
                    None
                    if meter.quantity_field is None
                    else kind.measured.index(meter.quantity_field)
                ),
                unique=meter.aggregation == UNIQUE,
                dimension_set=self._sets(
                    {name: value for name, value in members.items() if name in meter.dimensions}
                ),
            )
            for number, meter in feeding
        )
        if not feeds:
            feeds = (Feed(_UNCOUNTED, None, dimension_set=self._sets(members)),)
        shape = Shape(feeds, canonical(members))
        if len(kind.shapes) >= SHAPES_MAX:
            kind.shapes.clear()
        kind.shapes[tuple(members.items())] = shape
        return shape

    def _withdrawal(
        self,
        index: int,
        event: Envelope,
        key: bytes,
        text: str | None,
        moment: datetime,
        subject: Subject | None,
    ) -> None:
        if subject is None:
            raise _unknown_subject(event.subject)
        target_id, reason = event.data.get("event"), event.data.get("reason")
        unknown = sorted(set(event.data) - {"event", "reason"})
        if unknown:
            raise _No(
                f"/data/{step(unknown[0])}",
                "member-unknown",
                "The data of a withdrawal has 'event' and 'reason'.",
            )
        if not isinstance(target_id, str) or not target_id:
            raise _No("/data/event", "withdrawal-unreadable", "Name the event that is withdrawn.")
        if event.withdraws is not None and event.withdraws != target_id:
            raise _No("/withdraws", "withdrawal-unreadable", "It names two different events.")
        if event.replaces is not None:
            raise _No("/replaces", "withdrawal-unreadable", "A withdrawal replaces nothing.")
        if not isinstance(reason, str) or not reason.strip():
            raise _No("/data/reason", "withdrawal-unreadable", "Say why it is withdrawn.")
        if len(reason) > _REASON_LENGTH_MAX or "\x00" in reason:
            raise _No(
                "/data/reason",
                "withdrawal-unreadable",
                f"A reason has at most {_REASON_LENGTH_MAX} characters.",
            )
        if holds_nhs_number(reason):
            raise _No("/data/reason", "nhs-number", "The reason holds an NHS number.")
        if moment > self._newest:
            raise self._wrong_time(moment)
        content = _US.join((event.type, event.subject, target_id, reason))
        fingerprint = blake2b(content.encode(), digest_size=16).digest()
        since = moment - _PG_EPOCH
        microseconds = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        self._special(
            index,
            event,
            key,
            text,
            fingerprint,
            microseconds.to_bytes(8, "big", signed=True),
            subject,
            target_id,
            reason,
            "/data/event",
            Rows(),
        )

    def _replacement(
        self,
        index: int,
        event: Envelope,
        key: bytes,
        text: str | None,
        fingerprint: bytes,
        occurred: bytes,
        subject: Subject,
        shape: Shape,
        measured: Sequence[tuple[str, bytes]],
        month: bytes,
    ) -> None:
        if event.withdraws is not None or not event.replaces:
            raise _No(
                "/withdraws" if event.withdraws is not None else "/replaces",
                "withdrawal-unreadable",
                f"To withdraw an event, send one of the type {WITHDRAWAL_TYPE};"
                " to replace one, name it in 'replaces'.",
            )
        rows = Rows()
        _add_rows(rows, 0, month, subject.packed, shape, measured, event)
        self._special(
            index,
            event,
            key,
            text,
            fingerprint,
            occurred,
            subject,
            event.replaces,
            "replaced by a later event",
            "/replaces",
            rows,
        )

    def _special(
        self,
        index: int,
        event: Envelope,
        key: bytes,
        text: str | None,
        fingerprint: bytes,
        occurred: bytes,
        subject: Subject,
        target_id: str,
        reason: str,
        pointer: str,
        rows: Rows,
    ) -> None:
        if self._repeated(index, event.id, key, fingerprint):
            return
        target, _ = key_of(target_id)
        self._lot.specials.append(
            Special(
                index,
                event.id,
                key,
                text,
                fingerprint,
                occurred,
                subject.packed,
                event.subject,
                target,
                target_id,
                reason,
                pointer,
                rows,
            )
        )


def repeat(lot: Lot, index: int, event_id: str, *, same: bool) -> None:
    """Note the fate of an event whose id was there before."""
    if same:
        lot.fates.append(
            Fate(
                index,
                event_id,
                DUPLICATE,
                lot.pointer(index, ""),
                "duplicate",
                "This event was accepted before; it counts once.",
            )
        )
    else:
        refuse(
            lot,
            index,
            event_id,
            CONFLICT,
            "/id",
            "id-reused",
            "An event with this id and other content was accepted before, and stands.",
        )


def _add_rows(
    rows: Rows,
    position: int,
    month: bytes,
    subject: bytes,
    shape: Shape,
    measured: Sequence[tuple[str, bytes]],
    event: Envelope,
) -> None:
    """Add one row for each meter that the event feeds."""
    for feed in shape.feeds:
        if feed.unique:
            assert feed.measured is not None
            rows.detail[len(rows.position)] = {"value": measured[feed.measured][0]}
        elif feed.meter == _UNCOUNTED:
            rows.detail[len(rows.position)] = body_of(event)
        rows.position.append(position)
        rows.month.append(month)
        rows.subject.append(subject)
        rows.feed.append(feed)
        rows.quantity.append(
            ONE_PACKED if feed.measured is None or feed.unique else measured[feed.measured][1]
        )


_UNCOUNTED = packed_int4(UNCOUNTED_METER)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise _No(
            "/time", "time-without-offset", "The time needs its offset, for example +01:00 or Z."
        )
    try:
        return to_utc(moment)
    except OverflowError:
        raise _No("/time", "time-too-old", "The time is out of any range.") from None


def _check_id(event_id: str) -> None:
    if not 0 < len(event_id) <= ID_LENGTH_MAX or not event_id.isprintable():
        raise _No(
            "/id", "id-invalid", f"An id has 1 to {ID_LENGTH_MAX} characters that can be printed."
        )
    if holds_nhs_number(event_id):
        raise _No("/id", "nhs-number", "The id holds an NHS number. Never send one.")


def _unknown_subject(subject: str) -> _No:
    if holds_nhs_number(subject):
        return _No("/subject", "nhs-number", "The subject holds an NHS number. Never send one.")
    return _No(
        "/subject",
        "subject-unknown",
        f"No organisation is registered with the ODS code '{subject[:100]}'.",
    )


def _check_open(code: str, subject: Subject, moment: datetime) -> None:
    if subject.closed_at is not None and moment >= subject.closed_at:
        heirs = " or ".join(subject.successors)
        after = f"; its successor is {heirs}" if heirs else ""
        raise _No("/subject", "subject-closed", f"{code} no longer existed at that time{after}.")
    if subject.opened_at is not None and moment < subject.opened_at:
        raise _No("/subject", "subject-not-open", f"{code} did not exist yet at that time.")


def _measure(value: Any, name: str, *, is_number: bool) -> tuple[str, bytes]:
    """Return a measured member's canonical text and, for a number, its binary form.

    Raises:
        _No: it is missing or not right.
    """
    pointer = f"/data/{name}"
    if value is None:
        raise _No(pointer, "quantity-missing", f"The data needs '{name}', which is measured.")
    if not is_number:
        _check_value(pointer, name, value)
        return value, b""
    try:
        return quantity_text_and_packed(value)
    except QuantityRefused as no:
        raise _No(pointer, no.code, no.detail) from None


def _check_value(pointer: str, name: str, value: Any) -> None:
    if not isinstance(value, str):
        if holds_nhs_number(str(value)[:_VALUE_LENGTH_MAX]):
            raise _No(pointer, "nhs-number", f"'{name}' holds an NHS number. Never send one.")
        raise _No(pointer, "dimension-not-text", f"'{name}' is a text.")
    if holds_nhs_number(value):
        raise _No(pointer, "nhs-number", f"'{name}' holds an NHS number. Never send one.")
    if not 0 < len(value) <= _VALUE_LENGTH_MAX or "\x00" in value:
        raise _No(
            pointer, "dimension-value-invalid", f"'{name}' has 1 to {_VALUE_LENGTH_MAX} characters."
        )


def _allows(dimensions: Mapping[str, Mapping[str, Any]], name: str, value: str) -> bool:
    about = dimensions.get(name)
    if about is None:
        return False
    values = about.get("values")
    return values is None or value in values


_BODY_CHARACTERS_MAX = 65_536


def body_of(item: Any) -> dict[str, Any]:
    """Return an event as it is kept: JSON-ready, patients' numbers masked, bounded.

    Decimals become texts, so that nothing is rounded; a value that the database's
    JSON cannot hold (a null character) is replaced.
    """
    sent = item.body if isinstance(item, Unreadable) else item
    if isinstance(sent, Envelope):
        sent = {
            name: value for name, value in msgspec.to_builtins(sent).items() if value is not None
        }
    kept = _clean(sent)
    if len(msgspec.json.encode(kept)) > _BODY_CHARACTERS_MAX:
        shown = msgspec.json.encode(kept)[:4096].decode(errors="replace")
        return {"shortened": mask_nhs_numbers(shown)}
    return kept if isinstance(kept, dict) else {"value": kept}


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {_clean_text(str(name)): _clean(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    if isinstance(value, bool) or value is None:
        return value
    return _clean_text(str(value))


def _clean_text(text: str) -> str:
    readable = text.replace("\x00", "�").encode("utf-8", errors="replace").decode()
    return mask_nhs_numbers(readable)
