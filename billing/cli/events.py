"""`paygo events post`: send a file of usage events to a metering API."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import click
import msgspec

from metering.client.transport import Again, Divide, Fate, Transport
from metering.kit.clock import now
from metering.kit.errors import Malformed, Unavailable

_SHOWN = 20


class EventFileUnreadable(Malformed):
    """A file of events is neither a JSON list nor one JSON object a line."""

    code = "event-file-unreadable"
    title = "The file of events cannot be read"


class EventsNotPosted(Unavailable):
    """The metering API did not take a batch; what went before it was taken."""

    code = "events-not-posted"
    title = "The events could not be posted"


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
    """Post the CloudEvents in FILE: a JSON list, or one JSON object a line.

    Posting a file again changes nothing: an event is known by its source and id.
    Refused events are listed with the reason, and the exit status is then 1.

    \b
    Examples:
      PAYGO_KEY=pgk_… paygo events post events.jsonl
      paygo events post october.json --key pgk_… --url https://paygo.example.nhs.uk
    """
    fates: Counter[str] = Counter()
    refused: list[tuple[int, Fate]] = []
    transport = Transport(url, key, timeout=60, clock=now)
    waiting = read_events(file)
    sent = 0
    try:
        while chunk := list(islice(waiting, batch)):
            outcome = transport.post(chunk)
            if isinstance(outcome, Again | Divide):
                raise EventsNotPosted(
                    f"{url} did not take the events from number {sent + 1} on:"
                    f" {outcome.detail or outcome.code}"
                )
            for fate in outcome.fates:
                fates[fate.fate] += 1
                if fate.fate != "duplicate":
                    refused.append((sent + fate.index + 1, fate))
            fates["accepted"] += len(chunk) - len(outcome.fates)
            sent += len(chunk)
    finally:
        transport.close()
    told = ", ".join(
        f"{fates[name]} {name}" for name in ("accepted", "duplicate", "conflict", "rejected")
    )
    click.echo(f"{sent} events: {told}.")
    for number, fate in refused[:_SHOWN]:
        click.echo(f"  event {number}: {fate.code}: {fate.detail}", err=True)
    if len(refused) > _SHOWN:
        click.echo(f"  and {len(refused) - _SHOWN} more; the quarantine has all.", err=True)
    if refused:
        raise click.ClickException(f"{len(refused)} events were refused.")


def read_events(file: Path) -> Iterator[bytes]:
    """Yield each event of a JSON list, or of one JSON object a line, as it is written.

    Nothing is decoded on the way, so every digit of a quantity goes out as it stands.

    Raises:
        EventFileUnreadable: a line or the whole is not JSON, or an event is no object.
    """
    with file.open("rb") as lines:
        first = next((line for line in lines if line.strip()), b"")
        lines.seek(0)
        if first.lstrip().startswith(b"["):
            try:
                listed = msgspec.json.decode(lines.read(), type=list[msgspec.Raw])
            except msgspec.DecodeError as error:
                raise EventFileUnreadable(f"{file} is not JSON: {error}.") from None
            for number, event in enumerate(listed, start=1):
                yield _object(bytes(event), f"Event {number} of {file}")
            return
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _object(line.strip(), f"Line {number} of {file}")


def _object(event: bytes, place: str) -> bytes:
    try:
        msgspec.json.decode(event, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise EventFileUnreadable(f"{place} is not a JSON object: {error}.") from None
    return event
