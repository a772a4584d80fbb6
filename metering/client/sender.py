"""The sending thread: batches, retries and settles what the backlog holds.

Everything here belongs to one process. A forked child makes its own.
"""

import json
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from metering.client.backlog import Backlog, Kept, reached
from metering.client.events import Event
from metering.client.model import Options, Refused, Statistics, Trouble
from metering.client.segments import Entry
from metering.client.spool import SetAside, Spool
from metering.client.transport import CLOCK_TOLERANCE, Again, Divide, Fate, Receipt, Transport

_HURRIED_SECONDS = 0.5
_random = secrets.SystemRandom()


class Sender:
    """Takes events from any thread and delivers them from one of its own.

    Args:
        transport: used by the sending thread alone.
        spool: the disk's part, None for memory alone.
        options: bounds and waits.
        refuse: called with each event that the API refuses.
        tell: called with each new trouble.
    """

    def __init__(
        self,
        transport: Transport,
        spool: Spool | None,
        *,
        options: Options,
        refuse: Callable[[Refused], None],
        tell: Callable[[Trouble], None],
    ) -> None:
        self._transport = transport
        self._spool = spool
        self._options = options
        self._refuse = refuse
        self._tell = tell
        self._backlog = Backlog(spool, memory_events=options.memory_events)
        self._changed = threading.Condition()
        self._recorded = 0
        self._recovered = 0
        self._ended: Counter[str] = Counter()
        self._told: set[str] = set()
        # Batches taken from the backlog, the next to send first; halves of a divided one.
        self._batches: deque[list[Entry]] = deque()
        self._batch_events = options.batch_events
        self._failures = 0
        self._adopt_at = 0.0
        self._adopted = spool is None
        self._hurried = 0
        self._stopped = False
        self._threads: list[threading.Thread] = []

    # For the threads of the host

    def put(self, event: Event, payload: bytes) -> None:
        """Keep an event for sending. Never raises, never waits for the network."""
        stopped = self._stopped
        kept, refusal = (Kept.NOWHERE, None) if stopped else self._backlog.put(payload)
        with self._changed:
            self._recorded += 1
            if kept is Kept.NOWHERE:
                self._ended["lost"] += 1
            if self._waiting in {1, self._batch_events}:
                self._changed.notify_all()
        if kept is Kept.ON_DISK:
            self._told.discard("spool-refused")
        elif refusal is not None:
            self._tell_once("spool-refused", f"events are kept in memory: {refusal}")
        if kept is Kept.NOWHERE:
            full = f"memory holds its {self._options.memory_events} events"
            self._tell(Trouble("lost", "the Meter is closed" if stopped else full, event))
        self.start()

    def refuse_here(self, refused: Refused) -> None:
        """Count and report an event that is faulty before it is sent."""
        with self._changed:
            self._recorded += 1
            self._ended["rejected"] += 1
        self._refuse(refused)

    @property
    def _waiting(self) -> int:
        return self._recorded + self._recovered - self._ended.total()

    @property
    def statistics(self) -> Statistics:
        """What this process has done so far."""
        with self._changed:
            return Statistics(
                recorded=self._recorded,
                recovered=self._recovered,
                waiting=self._waiting,
                **self._ended,
            )

    def flush(self, timeout: float) -> bool:
        """Wait until everything put so far is settled; False after `timeout` seconds."""
        self.start()
        deadline = time.monotonic() + timeout
        with self._changed:
            self._hurried += 1
            self._changed.notify_all()
            try:
                if not self._changed.wait_for(lambda: self._adopted or self._stopped, timeout):
                    return False
                marks = self._backlog.marks()
                left = max(deadline - time.monotonic(), 0.0)
                self._changed.wait_for(lambda: reached(marks) or self._stopped, left)
                return reached(marks)
            finally:
                self._hurried -= 1

    def close(self, timeout: float) -> bool:
        """Flush for at most `timeout` seconds and end; return whether nothing is left."""
        delivered = not self._stopped and self.flush(timeout)
        with self._changed:
            if self._stopped:
                return self._waiting == 0
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            # A request under way may outlast this; it then ends with the process.
            if thread is not threading.current_thread():
                thread.join(0.2)
        if self._spool is not None:
            self._spool.close()
        if not any(thread.is_alive() for thread in self._threads):
            self._transport.close()
        return delivered

    def start(self) -> None:
        """Start the threads if they do not run yet."""
        if self._threads or self._stopped:
            return
        with self._changed:
            if self._threads or self._stopped:
                return
            targets = [("paygo-sender", self._run)]
            if self._spool is not None and self._options.fsync_seconds > 0:
                targets.append(("paygo-sync", self._keep_synchronised))
            for name, target in targets:
                thread = threading.Thread(target=target, name=name, daemon=True)
                # The interpreter may be ending, or out of threads: the next call tries again.
                with suppress(RuntimeError):
                    thread.start()
                    self._threads.append(thread)

    def hold(self) -> None:
        """Stand still for a fork."""
        # In this order, since `flush` notes the marks of the spool while it holds `_changed`.
        self._changed.acquire()
        if self._spool is not None:
            self._spool.lock.acquire()

    def let_go(self) -> None:
        """Go on after `hold`."""
        if self._spool is not None:
            self._spool.lock.release()
        self._changed.release()

    def abandon(self) -> None:
        """Close what a forked child inherited, without touching what it stands for."""
        self._stopped = True
        if self._spool is not None:
            self._spool.abandon()

    # For the threads of our own

    def _keep_synchronised(self) -> None:
        assert self._spool is not None
        while not self._pause(self._options.fsync_seconds):
            try:
                self._spool.sync()
            except OSError as error:
                self._tell_once("spool-unsynchronised", f"a power cut may lose events: {error}")
            else:
                self._told.discard("spool-unsynchronised")

    def _run(self) -> None:
        while not self._stopped:
            try:
                self._step()
            except SetAside as aside:
                with self._changed:
                    self._ended["set_aside"] += aside.count
                self._tell_once("spool-unreadable", str(aside))
            except Exception as error:
                # This thread outlives any fault of ours: the batch is kept and tried again.
                self._back_off(Again("internal", f"{type(error).__name__}: {error}"))

    def _step(self) -> None:
        if self._spool is not None and time.monotonic() >= self._adopt_at:
            self._adopt(self._spool)
        if not self._batches:
            self._await_events()
            batch = self._backlog.take(
                limit=self._batch_events, max_bytes=self._options.batch_bytes
            )
            if batch:
                self._batches.append(batch)
            return
        batch = self._batches[0]
        outcome = self._transport.post([entry.payload for entry in batch])
        self._check_clock()
        if isinstance(outcome, Receipt):
            self._receive(batch, outcome.fates)
        elif isinstance(outcome, Again):
            self._back_off(outcome)
        elif len(batch) > 1:
            middle = len(batch) // 2
            if outcome.too_large:
                self._batch_events = middle
            self._batches[0] = batch[middle:]
            self._batches.appendleft(batch[:middle])
        else:
            self._isolated(batch, outcome)

    def _adopt(self, spool: Spool) -> None:
        self._adopt_at = time.monotonic() + self._options.adopt_seconds
        try:
            found = spool.adopt()
        except OSError as error:
            found = 0
            self._tell_once("spool-unreadable", str(error))
        for path in spool.damage_found():
            detail = f"{path} holds lines that cannot be read; it is kept as damaged-*"
            self._tell(Trouble("spool-damaged", detail))
        with self._changed:
            self._recovered += found
            self._adopted = True
            self._changed.notify_all()

    def _await_events(self) -> None:
        """Wait for a first event, then a little for company."""
        until_adoption = max(self._adopt_at - time.monotonic(), 0.0)
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopped or self._waiting > 0,
                None if self._spool is None else until_adoption,
            )
            self._changed.wait_for(
                lambda: self._stopped or self._hurried or self._waiting >= self._batch_events,
                self._options.batch_seconds if self._waiting > 0 else 0,
            )

    def _receive(self, batch: Sequence[Entry], fates: Sequence[Fate]) -> None:
        for fate in fates:
            # Before the event is forgotten: a crash in between repeats the report.
            if fate.fate != "duplicate":
                self._refuse(_refused(batch[fate.index], fate))
        self._batches.popleft()
        self._backlog.settle(batch)
        ended = Counter(
            fate.fate if fate.fate in {"duplicate", "conflict"} else "rejected" for fate in fates
        )
        ended["accepted"] += len(batch) - len(fates)
        self._failures = 0
        self._told &= {"spool-refused", "spool-unsynchronised", "spool-unreadable", "clock-skew"}
        with self._changed:
            self._ended.update(ended)
            self._changed.notify_all()

    def _isolated(self, batch: Sequence[Entry], outcome: Divide) -> None:
        if outcome.final:
            self._receive(batch, [Fate(0, "rejected", outcome.code, "", outcome.detail)])
        else:
            self._back_off(Again(outcome.code, outcome.detail, slow=True))

    def _back_off(self, again: Again) -> None:
        self._tell_once(again.code, again.detail)
        options = self._options
        bound = min(
            options.longest_backoff_seconds, options.backoff_seconds * 2 ** min(self._failures, 30)
        )
        self._failures += 1
        if again.after is not None:
            self._pause(again.after + _random.uniform(0, min(bound, 1)))
        elif again.slow:
            self._pause(options.slow_seconds * _random.uniform(0.5, 1))
        else:
            self._pause(_random.uniform(0, bound), yields=True)

    def _pause(self, seconds: float, *, yields: bool = False) -> bool:
        """Wait; return whether we are stopped. With `yields`, someone's flush shortens it."""
        until = time.monotonic() + seconds
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or (yields and self._hurried), seconds)
            left = until - time.monotonic()
            if left > 0 and not self._stopped:
                self._changed.wait_for(
                    lambda: self._stopped, min(left, _random.uniform(0, _HURRIED_SECONDS))
                )
            return self._stopped

    def _check_clock(self) -> None:
        ahead = self._transport.clock_ahead
        if abs(ahead) > CLOCK_TOLERANCE:
            seconds = round(ahead.total_seconds())
            self._tell_once("clock-skew", f"this clock is {seconds} s ahead of the API's")
        else:
            self._told.discard("clock-skew")

    def _tell_once(self, code: str, detail: str) -> None:
        if code not in self._told:
            self._told.add(code)
            self._tell(Trouble(code, detail))


def _refused(entry: Entry, fate: Fate) -> Refused:
    return Refused(json.loads(entry.payload), fate.fate, fate.code, fate.pointer, fate.detail)
