"""What a host sees of the SDK besides `Meter`: options, reports and statistics."""

from dataclasses import dataclass
from typing import Any

from metering.client.events import MAX_EVENT_BYTES


@dataclass(frozen=True)
class Options:
    """Bounds and waits; the defaults suit a web service.

    Attributes:
        batch_events: most events a request; the API takes 10,000.
        batch_bytes: most bytes of JSON a request; the API takes 8 MiB.
        batch_seconds: longest that an event waits for company.
        fsync_seconds: how much of the past a power cut may take from the spool;
            0 synchronises before `record` returns.
        spool_bytes: most that this process keeps on disk.
        memory_events: most that it keeps in memory, without a spool or when the disk refuses.
        timeout_seconds: for connecting, and for each wait on the answer.
        backoff_seconds, longest_backoff_seconds: first and longest bound of the random wait
            after a failure (exponential, full jitter).
        slow_seconds: wait after an answer that a person must mend, such as a wrong key.
        adopt_seconds: how often to look for what ended sibling processes left in the spool.
        exit_seconds: longest that leaving the interpreter waits for the last events.
    """

    batch_events: int = 1000
    batch_bytes: int = 4 * 1024 * 1024
    batch_seconds: float = 1.0
    fsync_seconds: float = 1.0
    spool_bytes: int = 1024 * 1024 * 1024
    memory_events: int = 100_000
    timeout_seconds: float = 30.0
    backoff_seconds: float = 0.5
    longest_backoff_seconds: float = 60.0
    slow_seconds: float = 60.0
    adopt_seconds: float = 60.0
    exit_seconds: float = 5.0

    def __post_init__(self) -> None:
        if not 1 <= self.batch_events <= 10_000:
            raise ValueError("batch_events is from 1 to 10,000")
        if not MAX_EVENT_BYTES <= self.batch_bytes <= 8 * 1024 * 1024 - 10_001:
            raise ValueError("batch_bytes is from 64 KiB to just under 8 MiB")


@dataclass(frozen=True)
class Refused:
    """An event that the API did not take; handed to `on_rejected`.

    Attributes:
        event: the CloudEvent as it was sent.
        fate: `rejected`, `conflict` (its id is known with other content), or `invalid`
            (found faulty here, with `strict=False`).
        code: the API's stable kebab-case reason.
        pointer: JSON pointer to the fault, within the batch.
        detail: the API's sentence for a person.
    """

    event: dict[str, Any]
    fate: str
    code: str
    pointer: str
    detail: str


@dataclass(frozen=True)
class Trouble:
    """Something a person should know; handed to `on_error`, once per outage.

    Attributes:
        code: stable kebab-case word: `unreachable`, `http-503` or the code of the API's
            problem (key wrong, too many requests), `not-a-receipt`, `clock-skew`,
            `spool-refused` (kept in memory), `spool-unsynchronised`, `spool-unreadable`
            (stays for the next start), `spool-damaged` (file kept aside), `lost` (memory full
            too), `internal`.
        detail: one sentence.
        event: the CloudEvent that is lost, for `lost`.
    """

    code: str
    detail: str
    event: dict[str, Any] | None = None


@dataclass(frozen=True)
class Statistics:
    """What this process has done since the Meter was made (or since the fork).

    `recorded + recovered = accepted + duplicate + conflict + rejected + lost + set_aside
    + waiting`. `recovered` came from ended processes' spools; `set_aside` could not be read from
    the disk and stays there for the next start.
    """

    recorded: int = 0
    recovered: int = 0
    accepted: int = 0
    duplicate: int = 0
    conflict: int = 0
    rejected: int = 0
    lost: int = 0
    set_aside: int = 0
    waiting: int = 0


class ManifestRefused(Exception):
    """A manifest did not reach the API or was refused; nothing is kept for later."""
