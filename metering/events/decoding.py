"""From the bytes of a request to events, one by one. Pure.

A body that as a whole cannot be read is refused. An event that cannot be read
is one `Unreadable` among the others. Numbers are exact decimals from the first
moment; a JSON object that names a member twice is never silently halved.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import chain
from operator import attrgetter
from typing import Any, Generic, NoReturn
from urllib.parse import unquote

import msgspec
from typing_extensions import TypeVar

from metering.kit.errors import Malformed, TooLarge, Unsupported

BODY_BYTES_MAX = 8 * 1024 * 1024
EVENTS_MAX = 10_000
DEPTH_MAX = 32
"""Objects and arrays within each other, in one event."""

BATCH_TYPE = "application/cloudevents-batch+json"
EVENT_TYPE = "application/cloudevents+json"
JSON_TYPE = "application/json"
NDJSON_TYPE = "application/x-ndjson"
TYPES = (BATCH_TYPE, EVENT_TYPE, JSON_TYPE, NDJSON_TYPE)


class BodyUnreadable(Malformed):
    """The body as a whole is not what its media type says."""

    code = "body-unreadable"
    title = "The body could not be read"


class BodyTooLarge(TooLarge):
    """The body has too many bytes or events. Send it in parts."""

    code = "body-too-large"
    title = "The body is too large"


class MediaTypeUnsupported(Unsupported):
    """The media type or the content encoding is not one that usage may come in."""

    code = "media-type-unsupported"
    title = "Send CloudEvents as JSON"


Value = TypeVar("Value", default=Any)


class Envelope(msgspec.Struct, Generic[Value], forbid_unknown_fields=True, gc=False):
    """A CloudEvents 1.0 event, shape checked and nothing more.

    `replaces` and `withdraws` are our extension attributes; the tracing ones are
    read past.
    """

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: dict[str, Value]
    datacontenttype: str | None = None
    dataschema: str | None = None
    replaces: str | None = None
    withdraws: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An event whose envelope is not right.

    Attributes:
        body: what was sent, as far as it could be read.
        pointer: JSON pointer within the event.
    """

    body: Any
    event_id: str | None
    pointer: str
    code: str
    detail: str


Item = Envelope | Unreadable


@dataclass(frozen=True, slots=True)
class Decoded:
    """The events of one request; `single` when the body is one event and not a list."""

    items: Sequence[Item]
    single: bool = False


def _exact(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond what any decimal holds
        raise ValueError(f"the number {text[:40]} cannot be represented") from None


_one = msgspec.json.Decoder(Envelope[Any], float_hook=_exact)
_many = msgspec.json.Decoder(list[Envelope[Any]], float_hook=_exact)
_many_of_texts = msgspec.json.Decoder(list[Envelope[str]])
_any = msgspec.json.Decoder(float_hook=_exact)
_SPACED_COLONS = (b" :", b"\t:", b"\r:", b"\n:")


def decode(body: bytes, *, media_type: str, headers: Mapping[str, str]) -> Decoded:
    """Return the events of a request that is no NDJSON.

    Args:
        body: decompressed bytes.
        media_type: the `Content-Type` without parameters, lower case.
        headers: request headers, read only in binary mode (`ce-…`).

    Raises:
        MediaTypeUnsupported: none of `TYPES`, nor binary mode with JSON data.
        BodyUnreadable: no JSON, not UTF-8, too deep, or neither event nor list.
        BodyTooLarge: more than `EVENTS_MAX` events.
    """
    binary = "ce-specversion" in headers or "ce-id" in headers
    if binary and media_type not in {BATCH_TYPE, EVENT_TYPE, NDJSON_TYPE}:
        return Decoded((_binary(body, media_type, headers),), single=True)
    if media_type not in TYPES:
        raise MediaTypeUnsupported(f"The Content-Type is one of {', '.join(TYPES)}.")
    assert media_type != NDJSON_TYPE, "`streaming` reads lines"
    listed = body.lstrip()[:1] == b"["
    if listed and media_type == EVENT_TYPE:
        raise BodyUnreadable(f"A list of events is sent as {BATCH_TYPE}.")
    if not listed and media_type == BATCH_TYPE:
        raise BodyUnreadable(f"A body of {BATCH_TYPE} is a list of events.")
    if listed:
        # What the SDK sends has texts alone; what has not fails at its first number.
        fast = _fast(body, _many_of_texts, texts=True) or _fast(body, _many, texts=False)
        return Decoded(_bounded(fast or _list(body)))
    return Decoded(_fast_one(body) or (_item(_read(body)),), single=True)


def _bounded(items: Sequence[Item]) -> Sequence[Item]:
    if len(items) > EVENTS_MAX:
        raise BodyTooLarge(f"A request has at most {EVENTS_MAX} events, not {len(items)}.")
    return items


def _fast(
    body: bytes, decoder: msgspec.json.Decoder[Any], *, texts: bool
) -> Sequence[Envelope] | None:
    """Read a list in one go where every event has the right shape, else None."""
    try:
        events = decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        return None
    return events if _names_once(body, events, texts=texts) else None


def _fast_one(body: bytes) -> Sequence[Envelope] | None:
    try:
        event = _one.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        return None
    return (event,) if _names_once(body, (event,), texts=False) else None


_data_of = attrgetter("data")
_OPTIONAL = ("datacontenttype", "dataschema", "replaces", "withdraws", "traceparent", "tracestate")


def _names_once(body: bytes, events: Sequence[Envelope], *, texts: bool) -> bool:
    """Return whether certainly no object names a member twice.

    A body is counted against what was read from it. Where it has no backslash, every
    quote begins or ends a text, so a member that was read over leaves its name's two
    quotes behind. Where it has one, members are counted by `":`: there can be more of
    those than members (inside a text) and never fewer, unless space stands before a
    colon. When the counts agree nothing was lost; in any other case the answer is no,
    and the slow reader looks.

    Args:
        texts: the values of all events' data are known to be texts.
    """
    members = list(map(_data_of, events))
    given = sum(map(len, members))
    names = given + 7 * len(events)
    if b"\\" not in body:
        if not texts:
            values = chain.from_iterable(map(dict.values, members))
            given = list(map(type, values)).count(str)
        found, read = body.count(b'"'), 2 * (names + given + 6 * len(events))
        each = 4
    elif any(spaced in body for spaced in _SPACED_COLONS):
        return False
    else:
        found, read, each = body.count(b'":'), names, 1
    if found == read:
        return True
    # Optional attributes are rare; count them only when the plain sum does not fit.
    return found == read + each * sum(
        1 for event in events for name in _OPTIONAL if getattr(event, name) is not None
    )


class _Doubled(dict[str, Any]):
    """A JSON object that named a member more than once."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    return read if len(read) == len(pairs) else _Doubled(read)


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _read(text: bytes) -> Any:
    """Read one JSON text, exactly and with doubled members marked.

    Raises:
        BodyUnreadable: it is not JSON.
    """
    try:
        # msgspec is the stricter of the two about what JSON is; the other tells of doubles.
        _any.decode(text)
        return json.loads(
            text.decode(),
            object_pairs_hook=_pairs,
            parse_float=_exact,
            parse_constant=_constant,
        )
    except RecursionError:
        raise BodyUnreadable(f"The body nests deeper than {DEPTH_MAX} levels.") from None
    except UnicodeDecodeError:
        raise BodyUnreadable("The body is not UTF-8.") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise BodyUnreadable(f"The body is not JSON: {str(error)[:200]}.") from None


def _list(body: bytes) -> Sequence[Item]:
    read = _read(body)
    if not isinstance(read, list):
        raise BodyUnreadable("The body is a list of events.")
    return [_item(value) for value in _bounded_list(read)]


def _bounded_list(read: list[Any]) -> list[Any]:
    if len(read) > EVENTS_MAX:
        raise BodyTooLarge(f"A request has at most {EVENTS_MAX} events, not {len(read)}.")
    return read


def read_line(line: bytes) -> Item:
    """Return the event of one line of NDJSON."""
    fast = _fast_one(line)
    if fast is not None:
        return fast[0]
    try:
        return _item(_read(line))
    except BodyUnreadable as unreadable:
        return Unreadable(shown_of(line), None, "", "line-unreadable", unreadable.detail)


def shown_of(line: bytes) -> str:
    """Return the beginning of a line as it is kept when it cannot be read."""
    return line[:1000].decode(errors="replace")


def _binary(body: bytes, media_type: str, headers: Mapping[str, str]) -> Item:
    # SDKs name no type for data that nobody gave one, and write it as JSON.
    if media_type not in {"", JSON_TYPE} and not media_type.endswith("+json"):
        raise MediaTypeUnsupported("In binary mode the data is JSON: send application/json.")
    event: dict[str, Any] = {
        name.lower().removeprefix("ce-"): unquote(value)
        for name, value in headers.items()
        if name.lower().startswith("ce-")
    }
    event["data"] = _read(body)
    return _item(event)


def _item(value: Any) -> Item:
    """Return one event from generic JSON, or why it is none."""
    if not isinstance(value, dict):
        return Unreadable(value, None, "", "not-an-event", "An event is a JSON object.")
    given = value.get("id")
    event_id = given if isinstance(given, str) else None
    fault = _structure(value, "", 1)
    if fault is not None:
        return Unreadable(value, event_id, *fault)
    try:
        return msgspec.convert(value, Envelope)
    except msgspec.ValidationError as error:
        return Unreadable(value, event_id, *_shape_fault(str(error)))


def read_kept(body: Any) -> Item:
    """Return an event as quarantine kept it, to be judged again."""
    return _item(body)


def _structure(value: Any, pointer: str, depth: int) -> tuple[str, str, str] | None:
    """Return the first doubled member or too deep value as (pointer, code, detail)."""
    if depth > DEPTH_MAX:
        return pointer[:200], "too-deep", f"An event nests at most {DEPTH_MAX} levels."
    if isinstance(value, _Doubled):
        return pointer, "doubled-member", "An object names a member twice; which one counts?"
    inner: Sequence[tuple[str, Any]] = ()
    if isinstance(value, dict):
        inner = [(step(name), item) for name, item in value.items()]
    elif isinstance(value, list):
        inner = [(str(number), item) for number, item in enumerate(value)]
    for name, item in inner:
        if isinstance(item, dict | list):
            fault = _structure(item, f"{pointer}/{name}", depth + 1)
            if fault is not None:
                return fault
    return None


def step(name: str) -> str:
    """Return a member's name as a step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


_MISSING = re.compile(r"missing required field `(.+?)`")
_UNKNOWN = re.compile(r"contains unknown field `(.+?)`", re.S)
_PLACE = re.compile(r"(.*) - at `\$\.?(.*)`", re.S)


def _shape_fault(message: str) -> tuple[str, str, str]:
    """Return msgspec's sentence as (pointer, code, detail)."""
    missing = _MISSING.search(message)
    if missing:
        name = missing[1]
        return f"/{step(name)}", "attribute-missing", f"An event needs the attribute '{name}'."
    unknown = _UNKNOWN.search(message)
    if unknown:
        name = unknown[1][:100]
        return f"/{step(name)}", "attribute-unknown", f"An event has no attribute '{name}'."
    place = _PLACE.fullmatch(message)
    words, name = (place[1], place[2]) if place else (message, "")
    if name == "time":
        return (
            "/time",
            "time-unreadable",
            "The time is RFC 3339 with its offset, for example 2026-04-03T10:00:00+01:00.",
        )
    return f"/{step(name)}" if name else "", "attribute-invalid", f"{words[:200]}."
