"""The rules that an event must keep, each with the words in which it is refused. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from metering.events.catalogue import Subject, packed_int4
from metering.events.model import ID_LENGTH_MAX
from metering.events.quantities import QuantityRefused, quantity_text_and_packed
from metering.kit.nhs_number import holds_nhs_number
from metering.periods import Month, to_utc

AHEAD_MAX = timedelta(minutes=5)
"""How far a source's clock may run ahead."""

PG_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""From here PostgreSQL counts microseconds."""

_PG_DAY = date(2000, 1, 1)
_VALUE_LENGTH_MAX = 512


class No(Exception):
    """An event is refused."""

    def __init__(self, pointer: str, code: str, detail: str) -> None:
        super().__init__(detail)
        self.pointer, self.code, self.detail = pointer, code, detail


@dataclass(frozen=True)
class Window:
    """The instants that events may have, and the months these lie in.

    Attributes:
        oldest: first instant that may still be sent or corrected.
        newest: last instant.
        newest_microseconds: of `newest`, since PostgreSQL's epoch.
        starts: the months' starts in London from `oldest` on, as such microseconds.
        packed: each month's first day as PostgreSQL's binary date.
    """

    oldest: datetime
    newest: datetime
    newest_microseconds: int
    months: tuple[Month, ...]
    starts: tuple[int, ...]
    packed: tuple[bytes, ...]

    @classmethod
    def at(cls, now: datetime, *, correction_months: int) -> "Window":
        """Return the window at `now`: whole months back, five minutes ahead."""
        newest = to_utc(now) + AHEAD_MAX
        return replace(
            _months(Month.of(now), correction_months),
            newest=newest,
            newest_microseconds=microseconds_of(newest),
        )


@lru_cache(maxsize=4)
def _months(this: Month, correction_months: int) -> Window:
    """Return the window of a month; working out London midnights costs more than judging."""
    first = this.shift(-correction_months)
    months = tuple(first.shift(offset) for offset in range(correction_months + 2))
    return Window(
        oldest=first.period.start,
        newest=first.period.start,
        newest_microseconds=microseconds_of(first.period.start),
        months=months,
        starts=tuple(microseconds_of(month.period.start) for month in months),
        packed=tuple(packed_int4((month.first_day - _PG_DAY).days) for month in months),
    )


def microseconds_of(moment: datetime) -> int:
    """Return an instant as PostgreSQL keeps it."""
    since = moment - PG_EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def utc(moment: datetime) -> datetime:
    """Return an event's time in UTC.

    Raises:
        No: it has no offset, or is out of any range.
    """
    if moment.tzinfo is None:
        raise No(
            "/time", "time-without-offset", "The time needs its offset, for example +01:00 or Z."
        )
    try:
        return to_utc(moment)
    except OverflowError:
        raise No("/time", "time-too-old", "The time is out of any range.") from None


def wrong_source(source: str, *, code: str, known: Collection[str]) -> No:
    """Return why a key may not post for a source."""
    if source in known:
        return No(
            "/source",
            "source-not-yours",
            f"This key belongs to {code} and may not post for '{source}'.",
        )
    return No("/source", "source-unknown", f"No source is registered as '{source[:100]}'.")


def wrong_time(microseconds: int, window: Window) -> No:
    """Return why an instant outside the window is refused."""
    if microseconds > window.newest_microseconds:
        return No(
            "/time",
            "time-in-future",
            "The time is more than 5 minutes ahead of ours; check the clock.",
        )
    return No(
        "/time",
        "time-too-old",
        f"Usage before {window.months[0].name} can no longer be sent or corrected.",
    )


def check_id(event_id: str) -> None:
    """Refuse an id that cannot be printed, is too long or holds a patient's number."""
    if not 0 < len(event_id) <= ID_LENGTH_MAX or not event_id.isprintable():
        raise No(
            "/id", "id-invalid", f"An id has 1 to {ID_LENGTH_MAX} characters that can be printed."
        )
    if holds_nhs_number(event_id):
        raise No("/id", "nhs-number", "The id holds an NHS number. Never send one.")


def unknown_subject(subject: str) -> No:
    """Return why a subject is refused that nobody registered."""
    if holds_nhs_number(subject):
        return No("/subject", "nhs-number", "The subject holds an NHS number. Never send one.")
    return No(
        "/subject",
        "subject-unknown",
        f"No organisation is registered with the ODS code '{subject[:100]}'.",
    )


def check_open(code: str, subject: Subject, moment: datetime) -> None:
    """Refuse usage from before an organisation opened or after it closed."""
    if subject.closed_at is not None and moment >= subject.closed_at:
        heirs = " or ".join(subject.successors)
        after = f"; its successor is {heirs}" if heirs else ""
        raise No("/subject", "subject-closed", f"{code} no longer existed at that time{after}.")
    if subject.opened_at is not None and moment < subject.opened_at:
        raise No("/subject", "subject-not-open", f"{code} did not exist yet at that time.")


def measure(value: Any, name: str, *, is_number: bool) -> tuple[str, bytes]:
    """Return a measured member's canonical text and, for a number, its binary form.

    Raises:
        No: it is missing or not right.
    """
    pointer = f"/data/{name}"
    if value is None:
        raise No(pointer, "quantity-missing", f"The data needs '{name}', which is measured.")
    if not is_number:
        check_value(pointer, name, value)
        return value, b""
    try:
        return quantity_text_and_packed(value)
    except QuantityRefused as no:
        raise No(pointer, no.code, no.detail) from None


def check_value(pointer: str, name: str, value: Any) -> None:
    """Refuse what is no text, too long, or holds a patient's number."""
    if not isinstance(value, str):
        if holds_nhs_number(str(value)[:_VALUE_LENGTH_MAX]):
            raise No(pointer, "nhs-number", f"'{name}' holds an NHS number. Never send one.")
        raise No(pointer, "dimension-not-text", f"'{name}' is a text.")
    if holds_nhs_number(value):
        raise No(pointer, "nhs-number", f"'{name}' holds an NHS number. Never send one.")
    if not 0 < len(value) <= _VALUE_LENGTH_MAX or "\x00" in value:
        raise No(
            pointer, "dimension-value-invalid", f"'{name}' has 1 to {_VALUE_LENGTH_MAX} characters."
        )


def allows(dimensions: Mapping[str, Mapping[str, Any]], name: str, value: str) -> bool:
    """Return whether a dimension is known and may have this value."""
    about = dimensions.get(name)
    if about is None:
        return False
    values = about.get("values")
    return values is None or value in values
