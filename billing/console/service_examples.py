"""How a service posts usage: examples that work as printed. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from metering.meters.model import Meter
from metering.periods import london


@dataclass(frozen=True)
class Examples:
    """What the page prints. Each reads the key from the environment as `PAYGO_KEY`."""

    event: str
    curl: str
    python: str
    client: str


def example_data(meters: tuple[Meter, ...]) -> dict[str, str]:
    """Return `data` that every meter of one event type takes."""
    data: dict[str, str] = {}
    for meter in meters:
        if meter.quantity_field is not None:
            data[meter.quantity_field] = "1"
        for name, about in sorted(meter.dimensions.items()):
            values = about.get("values")
            data[name] = meter.filter[name][0] if name in meter.filter else (values or ["any"])[0]
    return data


def examples(
    *,
    address: str,
    source: str,
    meters: tuple[Meter, ...],
    organisation: str,
    event_id: str,
    now: datetime,
) -> Examples:
    """Return the examples for a service.

    Args:
        address: where paygo is reached, without a slash at the end.
        meters: the service's; those of the first one's event type are shown.
    """
    event_type = meters[0].event_type
    together = tuple(meter for meter in meters if meter.event_type == event_type)
    data = example_data(together)
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": event_type,
        "subject": organisation,
        "time": london(now).isoformat(timespec="seconds"),
        "data": data,
    }
    written = json.dumps(event, indent=2)
    return Examples(
        event=written,
        curl=_curl(address, written),
        python=_python(address, event),
        client=_client(address, source, together, organisation, data),
    )


def _curl(address: str, event: str) -> str:
    quoted = event.replace("'", "'\\''")
    return (
        f"curl --fail-with-body '{address}/api/v1/events' \\\n"
        '  --header "Authorization: Bearer $PAYGO_KEY" \\\n'
        "  --header 'Content-Type: application/cloudevents+json' \\\n"
        f"  --data '{quoted}'\n"
    )


def _python(address: str, event: Mapping[str, Any]) -> str:
    fields = "\n".join(
        f'    "{name}": {json.dumps(value)},'
        for name, value in event.items()
        if name not in {"id", "time"}
    )
    return f"""import os
import uuid
from datetime import datetime, timezone

import requests

event = {{
    "id": str(uuid.uuid4()),
    "time": datetime.now(timezone.utc).isoformat(),
{fields}
}}
answer = requests.post(
    "{address}/api/v1/events",
    json=event,
    headers={{
        "Authorization": "Bearer " + os.environ["PAYGO_KEY"],
        "Content-Type": "application/cloudevents+json",
    }},
    timeout=10,
)
answer.raise_for_status()
print(answer.json())
"""


def _client(
    address: str,
    source: str,
    meters: tuple[Meter, ...],
    organisation: str,
    data: Mapping[str, str],
) -> str:
    field = next((one.quantity_field for one in meters if one.quantity_field is not None), None)
    dimensions = {name: value for name, value in data.items() if name != field}
    quantity = "None" if field is None else "1"
    named = "" if field is None else f'\n        quantity_field="{field}",'
    return f"""import os

from metering.client import Meter

with Meter(
    "{address}",
    os.environ["PAYGO_KEY"],
    "{source}",
    spool_dir="paygo-spool",
) as meter:
    meter.record(
        "{meters[0].event_type}",
        "{organisation}",
        {quantity},
        {json.dumps(dimensions)},{named}
    )
    print("delivered" if meter.flush(timeout=10) else "kept, and sent later")
    print(meter.statistics)
"""
