"""`paygo events post`: send a file of usage events to a metering API."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import Progress, TextColumn

from metering.client.transport import Again, Divide, Fate, Transport
from metering.kit.clock import now
from metering.kit.errors import Malformed, Unavailable
from metering.periods import LONDON

_SHOWN = 20
_ATTRIBUTES = ("id", "source", "type", "subject", "time")


class EventFileUnreadable(Malformed):
    """A file of events is no CSV with the columns it needs, nor JSON (a list, or a line each)."""

    code = "event-file-unreadable"
    title = "The file of events cannot be read"


class EventsNotPosted(Unavailable):
    """The metering API did not take a batch; what went before it was taken. Post the file again."""

    code = "events-not-posted"
    title = "The events could not be posted"


@dataclass(frozen=True)
class Row:
    """One event of a file: the number of its line (from 1), or of its place in a JSON list."""

    number: int
    event: bytes


@dataclass
class Told:
    """What the API said of the events of a file."""

    sent: int = 0
    fates: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[int, Fate]] = field(default_factory=list)

    def add(self, rows: list[Row], fates: tuple[Fate, ...]) -> None:
        """Add what became of some rows."""
        for fate in fates:
            self.fates[fate.fate] += 1
            if fate.fate != "duplicate":
                self.refused.append((rows[fate.index].number, fate))
        self.fates["accepted"] += len(rows) - len(fates)
        self.sent += len(rows)


@click.group()
def events() -> None:
    """Send usage events."""


@events.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="The API's base.")
@click.option(
    "--key", envvar="PAYGO_KEY", required=True, help="The service's key, or set PAYGO_KEY."
)
@click.option(
    "--batch",
    type=click.IntRange(1, 10_000),
    default=1000,
    show_default=True,
    help="Events a request.",
)
def post(file: Path, url: str, key: str, batch: int) -> None:
    """Post the usage events in FILE: CSV, a JSON list, or one JSON object a line.

    A CSV file (named .csv) has the columns id, source, type, subject and time; every
    other column is a member of the event's data, and an empty cell is left out. A time
    without an offset, or a date, is on the London clock.

    Posting a file again changes nothing: an event is known by its source and id. If the
    API cannot be reached on the way, post the file again and it goes on where it was.
    Refused events are written to FILE.errors.csv with the reasons; the exit status is
    then 1.

    \b
    Examples:
      PAYGO_KEY=pgk_… paygo events post events.csv
      paygo events post october.jsonl --key pgk_… --url https://paygo.example.nhs.uk
    """
    place = Place(file, url)
    told = Told(sent=place.read())
    if told.sent:
        click.echo(f"Going on after the first {told.sent} events.", err=True)
    waiting = islice(read_events(file), told.sent, None)
    errors = file.with_name(f"{file.name}.errors.csv")
    if not told.sent:
        errors.unlink(missing_ok=True)
    transport = Transport(url, key, timeout=60, clock=now)
    try:
        console = Console(stderr=True)
        shown = console.is_terminal
        columns = (*Progress.get_default_columns(), TextColumn("{task.fields[sent]:,} events"))
        with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
            total = _lines_of(file) if shown else None
            bar = progress.add_task("Posting", total=total, sent=told.sent)
            while rows := list(islice(waiting, batch)):
                before = len(told.refused)
                _send(transport, rows, told, url=url)
                _write_errors(errors, told.refused[before:])
                place.write(told.sent)
                progress.update(bar, completed=rows[-1].number, sent=told.sent)
    finally:
        transport.close()
    place.forget()
    _tell(told, errors)


def _send(transport: Transport, rows: list[Row], told: Told, *, url: str) -> None:
    """Send some rows; by halves where they are too many bytes or one cannot be read.

    Raises:
        EventsNotPosted: the API did not take them.
    """
    outcome = transport.post([row.event for row in rows])
    if isinstance(outcome, Divide) and len(rows) > 1:
        half = len(rows) // 2
        _send(transport, rows[:half], told, url=url)
        _send(transport, rows[half:], told, url=url)
    elif isinstance(outcome, Divide) and outcome.final:
        told.add(rows, (Fate(0, "rejected", outcome.code, "", outcome.detail),))
    elif isinstance(outcome, Again | Divide):
        raise EventsNotPosted(
            f"{url} did not take the events from number {told.sent + 1} on:"
            f" {outcome.detail or outcome.code}"
        )
    else:
        told.add(rows, outcome.fates)


def _lines_of(file: Path) -> int | None:
    """Return how many lines a file has, None where its events are a JSON list."""
    with file.open("rb") as content:
        if next((line for line in content if line.strip()), b"").lstrip().startswith(b"["):
            return None
        content.seek(0)
        return sum(part.count(b"\n") for part in iter(lambda: content.read(1 << 20), b""))


def _tell(told: Told, errors: Path) -> None:
    names = ("accepted", "duplicate", "conflict", "rejected")
    click.echo(f"{told.sent} events: {', '.join(f'{told.fates[name]} {name}' for name in names)}.")
    for number, fate in told.refused[:_SHOWN]:
        click.echo(f"  event {number}: {fate.code}: {fate.detail}", err=True)
    if len(told.refused) > _SHOWN:
        click.echo(f"  and {len(told.refused) - _SHOWN} more.", err=True)
    if told.refused:
        raise click.ClickException(f"{len(told.refused)} events were refused; see {errors}.")


def _write_errors(file: Path, refused: list[tuple[int, Fate]]) -> None:
    """Add refused events to the file that is written beside the events."""
    if not refused:
        return
    with file.open("a", newline="", encoding="utf-8") as target:
        rows = csv.writer(target)
        if not target.tell():
            rows.writerow(("event", "fate", "code", "pointer", "detail"))
        rows.writerows(
            (number, fate.fate, fate.code, fate.pointer, fate.detail) for number, fate in refused
        )


class Place:
    """How far a file has been posted to an API, kept beside the file until it is done."""

    def __init__(self, file: Path, url: str) -> None:
        self._file = file.with_name(f"{file.name}.posted")
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        # Of another content, or for another API, a place means nothing.
        self._what = hashlib.sha256(f"{url} {digest}".encode()).hexdigest()

    def read(self) -> int:
        """Return how many events the API has answered for, 0 where none."""
        try:
            what, _, count = self._file.read_text().strip().partition(" ")
        except OSError:
            return 0
        return int(count) if what == self._what and count.isdecimal() else 0

    def write(self, count: int) -> None:
        """Keep how many events the API has answered for."""
        self._file.write_text(f"{self._what} {count}\n")

    def forget(self) -> None:
        """Forget the place: the file is done."""
        self._file.unlink(missing_ok=True)


def read_events(file: Path) -> Iterator[Row]:
    """Yield each event of a file, as JSON.

    JSON is not decoded on the way, so every digit of a quantity goes out as it stands.

    Raises:
        EventFileUnreadable: it is no CSV or no JSON, or an event is no object.
    """
    if file.suffix.lower() == ".csv":
        yield from _csv_events(file)
        return
    with file.open("rb") as lines:
        first = next((line for line in lines if line.strip()), b"")
        lines.seek(0)
        if first.lstrip().startswith(b"["):
            try:
                listed = msgspec.json.decode(lines.read(), type=list[msgspec.Raw])
            except msgspec.DecodeError as error:
                raise EventFileUnreadable(f"{file} is not JSON: {error}.") from None
            for number, event in enumerate(listed, start=1):
                yield Row(number, _object(bytes(event), f"Event {number} of {file}"))
            return
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield Row(number, _object(line.strip(), f"Line {number} of {file}"))


def _object(event: bytes, place: str) -> bytes:
    try:
        msgspec.json.decode(event, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise EventFileUnreadable(f"{place} is not a JSON object: {error}.") from None
    return event


def _csv_events(file: Path) -> Iterator[Row]:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        rows = csv.DictReader(lines, strict=True)
        try:
            columns = [name.strip() for name in rows.fieldnames or ()]
            missing = [name for name in _ATTRIBUTES if name not in columns]
            if missing or len(set(columns)) != len(columns):
                raise EventFileUnreadable(
                    f"{file} needs the columns {', '.join(_ATTRIBUTES)}, each once;"
                    f" the first line has {', '.join(columns) or 'none'}."
                )
            rows.fieldnames = columns
            for cells in rows:
                yield Row(rows.line_num, _csv_event(cells, f"Line {rows.line_num} of {file}"))
        except (csv.Error, UnicodeDecodeError) as error:
            raise EventFileUnreadable(f"{file} is not CSV in UTF-8: {error}.") from None


def _csv_event(cells: dict[Any, Any], place: str) -> bytes:
    if None in cells or None in cells.values():
        raise EventFileUnreadable(f"{place} has another number of cells than the first line.")
    read = {name: value.strip() for name, value in cells.items() if value.strip()}
    event: dict[str, Any] = {name: read.pop(name) for name in _ATTRIBUTES if name in read}
    if "time" in event:
        event["time"] = _with_offset(event["time"])
    return json.dumps({"specversion": "1.0", **event, "data": read}).encode()


def _with_offset(text: str) -> str:
    """Return a time as it stands, or on the London clock where it names no offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text  # the API says what is wrong with it
    if moment.tzinfo is not None:
        return text
    # In the hour that comes twice in October, the first.
    return moment.replace(tzinfo=LONDON).isoformat()
