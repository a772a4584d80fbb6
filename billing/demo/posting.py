"""Post the month through the real HTTP API, with the SDK that hosted services use."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from billing.demo.catalogue import Service
from billing.demo.usage import Plan, events_of
from metering.client import Meter, Options, Refused, Trouble
from metering.kit.errors import Unavailable

# Enough to keep the sender busy; the rest waits in the generator and not on the disk.
_AHEAD = 8_000
_STEP = 500
_PATIENCE_SECONDS = 300.0


class UsageNotTaken(Unavailable):
    """The metering API refused events of the demonstration, or did not take them in time."""

    code = "usage-not-taken"
    title = "The demonstration's usage was not taken"


@dataclass(frozen=True)
class Taken:
    """What the API said to one service's month."""

    accepted: int
    duplicate: int
    seconds: float


def post_month(
    plan: Plan,
    service: Service,
    *,
    services: Sequence[Service],
    url: str,
    key: str,
    spool: Path,
    progress: Callable[[int], None],
) -> Taken:
    """Post every event of one service; return when the API has taken all of them.

    An event's id comes from the plan, so posting the month again, whole or in part,
    changes nothing.

    Args:
        progress: told how many events are taken so far.

    Raises:
        UsageNotTaken: an event was refused, or the API was silent for five minutes.
    """
    refused: list[Refused] = []
    troubles: list[Trouble] = []
    started = time.monotonic()
    meter = Meter(
        url,
        key,
        service.code,
        spool_dir=spool,
        on_rejected=refused.append,
        on_error=troubles.append,
        options=Options(batch_seconds=0.1, backoff_seconds=0.2, longest_backoff_seconds=2.0),
    )

    def taken() -> int:
        now = meter.statistics
        return now.accepted + now.duplicate

    def settle(most_waiting: int) -> None:
        last, since = -1, time.monotonic()
        while meter.statistics.waiting > most_waiting:
            if refused:
                break
            progress(taken())
            if taken() != last:
                last, since = taken(), time.monotonic()
            elif time.monotonic() - since > _PATIENCE_SECONDS:
                said = f": {troubles[-1].detail}" if troubles else ""
                raise UsageNotTaken(f"{url} took no usage for five minutes{said}.")
            time.sleep(0.02)
        if refused:
            first = refused[0]
            raise UsageNotTaken(
                f"{url} refused an event of {service.code}: {first.code}: {first.detail}"
            )

    try:
        for number, event in enumerate(events_of(plan, service, services=services), start=1):
            quantities = dict(event.quantities)
            name = next(iter(quantities), None)
            meter.record(
                event.event_type,
                event.organisation,
                None if name is None else quantities.pop(name),
                # A second quantity travels beside the dimensions, as the text that it is.
                {**event.dimensions, **{more: str(value) for more, value in quantities.items()}},
                event.at,
                event_id=event.event_id,
                quantity_field=name,
            )
            if number % _STEP == 0:
                settle(_AHEAD)
        meter.flush(0.0)
        settle(0)
    finally:
        meter.close(5.0)
    now = meter.statistics
    progress(taken())
    return Taken(now.accepted, now.duplicate, time.monotonic() - started)
