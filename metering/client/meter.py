"""`Meter`: record usage in a hosted service without ever getting in its way."""

import atexit
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import requests

from metering.client import events
from metering.client.model import ManifestRefused, Options, Refused, Statistics, Trouble
from metering.client.sender import Sender
from metering.client.spool import Spool, spool_root
from metering.client.transport import MANIFESTS_PATH, Key, Transport, is_usable
from metering.kit import clock as kit_clock
from metering.kit.ids import uuid7
from metering.periods import Month

logger = logging.getLogger("paygo.client")

Quantity = Decimal | int | str
Report = TypeVar("Report", Refused, Trouble)


class Meter:
    """Records usage events and delivers each one exactly once, in the background.

    >>> with Meter("https://metering.example.nhs.uk", key, "imaging-archive",
    ...            spool_dir="/var/spool/paygo") as meter:  # doctest: +SKIP
    ...     meter.record("study.archived", "RRK", 1, {"modality": "CT"})

    `record` never uses the network, never waits for it, and raises only for programming
    errors. With `spool_dir` an event is in the operating system's hands before `record`
    returns: it survives `kill -9` of the process, and a power cut once `fsync_seconds`
    have passed; the next process with the same `spool_dir` delivers it. Without, what
    waits dies with the process. Several processes may share one `spool_dir`.

    Threads may share a Meter, and a fork gets a working one of its own; do not call it
    from a signal handler. Callbacks run in the sending thread (or in the thread that
    records, for `lost` and `invalid`) and should return soon; what they raise is logged.

    Args:
        url: the API's base, for example `https://metering.example.nhs.uk`.
        key: the source's key, or a function that returns the present one.
        source: the source's code.
        spool_dir: folder on a local disk for what is not yet delivered.
        on_rejected: told of each event that the API refuses or finds in conflict.
        on_error: told of each new trouble, once per outage.
        strict: raise programming errors; False hands them to `on_rejected` instead.
        quantity_field: the usual name of the quantity in `data`.
        options: bounds and waits.
        clock: gives the present instant as an aware datetime.

    Raises:
        ValueError: `url` is no http(s) address, or `key` or `source` is unusable.
    """

    def __init__(
        self,
        url: str,
        key: Key,
        source: str,
        *,
        spool_dir: str | os.PathLike[str] | None = None,
        on_rejected: Callable[[Refused], object] | None = None,
        on_error: Callable[[Trouble], object] | None = None,
        strict: bool = True,
        quantity_field: str = "quantity",
        options: Options | None = None,
        clock: kit_clock.Clock = kit_clock.now,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"'{url}' is not an http or https address")
        if isinstance(key, str) and not is_usable(key):
            raise ValueError("the key is empty or no plain word")
        self._url = url.rstrip("/")
        self._key = key
        self._source = events.text(source, "source")
        self._root = (
            None
            if spool_dir is None
            else spool_root(Path(spool_dir).absolute(), url=self._url, source=source)
        )
        self._on_rejected = on_rejected
        self._on_error = on_error
        self._strict = strict
        self._quantity_field = quantity_field
        self._options = options or Options()
        self._clock = clock
        self._sender = self._new_sender()
        with _meters_lock:
            _meters.add(self)
        if self._root is not None:
            # What an earlier process left is delivered even if nothing is ever recorded.
            self._sender.start()

    def _new_sender(self) -> Sender:
        """Make everything that belongs to one process."""
        options = self._options
        spool = None
        if self._root is not None:
            spool = Spool(
                self._root,
                name=uuid7(now=self._clock()).hex,
                max_bytes=options.spool_bytes,
                sync_each=options.fsync_seconds <= 0,
            )
        return Sender(
            Transport(self._url, self._key, timeout=options.timeout_seconds, clock=self._clock),
            spool,
            options=options,
            refuse=lambda refused: _call(self._on_rejected, refused),
            tell=lambda trouble: _call(self._on_error, trouble),
        )

    def _before_fork(self) -> None:
        self._sender.hold()

    def _after_fork_in_parent(self) -> None:
        self._sender.let_go()

    def _after_fork_in_child(self) -> None:
        """Leave the parent's events to the parent and begin with none."""
        inherited, self._sender = self._sender, self._new_sender()
        inherited.abandon()

    def record(
        self,
        event_type: str,
        organisation: str,
        quantity: Quantity | None = None,
        dimensions: Mapping[str, str] | None = None,
        at: datetime | None = None,
        *,
        event_id: str | None = None,
        quantity_field: str | None = None,
    ) -> str:
        """Record that an organisation used something, and return the event's id.

        Args:
            event_type: the CloudEvents type that the meter counts, for example `study.archived`.
            organisation: ODS code of the user.
            quantity: in the meter's unit, exact; None where each event counts as one.
            dimensions: labels that usage is split by.
            at: aware instant of the use; by default now.
            event_id: by default a new UUIDv7; give one that is yours to make a repeated
                call harmless.
            quantity_field: the quantity's name in `data`, if not the Meter's usual one.

        Raises:
            TypeError: a float quantity or another wrong type (with `strict`).
            ValueError: a naive instant or another senseless value (with `strict`).
        """
        now = self._clock()
        event_id = event_id if event_id is not None else str(uuid7(now=now))
        return self._record(
            event_id,
            lambda: events.usage(
                event_id=event_id,
                source=self._source,
                event_type=event_type,
                organisation=organisation,
                at=at if at is not None else now,
                quantity=quantity,
                quantity_field=quantity_field or self._quantity_field,
                dimensions=dimensions,
            ),
        )

    def replace(
        self,
        replaced_id: str,
        event_type: str,
        organisation: str,
        quantity: Quantity | None = None,
        dimensions: Mapping[str, str] | None = None,
        at: datetime | None = None,
        *,
        event_id: str | None = None,
        quantity_field: str | None = None,
    ) -> str:
        """Record the event that stands in for an earlier one, and return its own new id.

        Args as for `record`; give `at`, since the use happened when it happened.

        Raises:
            TypeError, ValueError: as `record`.
        """
        now = self._clock()
        event_id = event_id if event_id is not None else str(uuid7(now=now))
        return self._record(
            event_id,
            lambda: events.usage(
                event_id=event_id,
                source=self._source,
                event_type=event_type,
                organisation=organisation,
                at=at if at is not None else now,
                quantity=quantity,
                quantity_field=quantity_field or self._quantity_field,
                dimensions=dimensions,
                replaces=replaced_id,
            ),
        )

    def withdraw(
        self,
        withdrawn_id: str,
        organisation: str,
        reason: str,
        at: datetime | None = None,
        *,
        event_id: str | None = None,
    ) -> str:
        """Cancel an earlier event, and return the withdrawal's own id.

        Args:
            withdrawn_id: id of the event that was wrong.
            organisation: the ODS code that event named.
            reason: one sentence; the organisation can read it.
            at: aware instant of the withdrawal; by default now.
            event_id: the withdrawal's own id; by default a new UUIDv7.

        Raises:
            TypeError, ValueError: as `record`.
        """
        now = self._clock()
        event_id = event_id if event_id is not None else str(uuid7(now=now))
        return self._record(
            event_id,
            lambda: events.withdrawal(
                event_id=event_id,
                source=self._source,
                withdrawn=withdrawn_id,
                organisation=organisation,
                reason=reason,
                at=at if at is not None else now,
            ),
        )

    def _record(self, event_id: str, build: Callable[[], events.Event]) -> str:
        try:
            event = build()
            payload = events.encode(event)
        except (TypeError, ValueError) as error:
            if self._strict:
                raise
            self._sender.refuse_here(
                Refused({"id": event_id}, "invalid", "invalid", "", str(error))
            )
        else:
            self._sender.put(event, payload)
        return event_id

    @property
    def statistics(self) -> Statistics:
        """What this process has done so far."""
        return self._sender.statistics

    def flush(self, timeout: float = 30.0) -> bool:
        """Send everything recorded until now and wait; return whether all of it is settled.

        Args:
            timeout: longest wait in seconds.
        """
        return self._sender.flush(timeout)

    def close(self, timeout: float = 30.0) -> bool:
        """Flush, stop and let go; return whether nothing is left to send.

        What is left stays in the spool; without one it is gone, and counted as waiting.

        Args:
            timeout: longest wait in seconds.
        """
        with _meters_lock:
            _meters.discard(self)
        return self._sender.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def manifest(
        self, period: str, meter: str, count: int, total: Quantity, timeout: float = 30.0
    ) -> dict[str, Any]:
        """Post this source's own count of a month, for the API to compare; waits for its answer.

        Args:
            period: the month, `YYYY-MM`.
            meter: code of the meter.
            count: events in that London month.
            total: the sum of their quantities, exact.

        Raises:
            ValueError: `period` is no month or `count` is negative.
            ManifestRefused: there was no answer, or a refusal.
        """
        if count < 0:
            raise ValueError("a count is not negative")
        body = {
            "source": self._source,
            "period": str(Month.parse(period)),
            "meter": events.text(meter, "meter"),
            "count": count,
            "sum": events.write_quantity(total),
        }
        transport = Transport(self._url, self._key, timeout=timeout, clock=self._clock)
        try:
            response = transport.request(
                MANIFESTS_PATH, json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
            if not 200 <= response.status_code < 300:
                raise ManifestRefused(f"{response.status_code}: {response.text[:500]}")
            answer: dict[str, Any] = response.json()
        except requests.RequestException as error:
            raise ManifestRefused(str(error)) from error
        finally:
            transport.close()
        return answer


def _call(callback: Callable[[Report], object] | None, report: Report) -> None:
    """Hand a report to the host, whose faults must not become ours."""
    if callback is None:
        logger.warning("%s", report)
        return
    try:
        callback(report)
    except Exception:
        logger.exception("the host's callback failed for %s", report)


# Open Meters, held so that those the host let drop still deliver when the interpreter ends.
_meters: set[Meter] = set()
_meters_lock = threading.Lock()


def _before_fork() -> None:
    _meters_lock.acquire()
    for meter in _meters:
        meter._before_fork()


def _after_fork_in_parent() -> None:
    for meter in _meters:
        meter._after_fork_in_parent()
    _meters_lock.release()


def _after_fork_in_child() -> None:
    _meters_lock.release()
    for meter in _meters:
        meter._after_fork_in_child()


def _close_all() -> None:
    deadline: float | None = None
    for meter in list(_meters):
        if deadline is None:
            deadline = time.monotonic() + meter._options.exit_seconds
        meter.close(max(deadline - time.monotonic(), 0.0))


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
atexit.register(_close_all)
