"""Events that wait to be sent: on disk where there is a spool, in memory where there is not.

Memory also takes what the disk refuses. It is bounded, because a billing SDK
must never exhaust its host: past the bound an event is lost, and told.
"""

import threading
from collections import deque
from collections.abc import Sequence
from enum import Enum

from metering.client.segments import Entry, Segment
from metering.client.spool import Spool

Marks = list[tuple[Segment, int]]


class Kept(Enum):
    """Where a recorded event is now."""

    ON_DISK = "on disk"
    IN_MEMORY = "in memory"
    NOWHERE = "nowhere"


class Backlog:
    """A queue with any number of writers and one reader.

    Args:
        spool: the disk's part, None to keep everything in memory.
        memory_events: most events in memory.
    """

    def __init__(self, spool: Spool | None, *, memory_events: int) -> None:
        self._spool = spool
        self._memory_events = memory_events
        self._memory: deque[Entry] = deque()
        self._in_memory = Segment(None)
        self._lock = threading.Lock()

    def put(self, payload: bytes) -> tuple[Kept, OSError | None]:
        """Keep an event; return where, and what the disk said if it refused. Never raises."""
        refused: OSError | None = None
        if self._spool is not None:
            try:
                self._spool.append(payload)
            except OSError as error:
                refused = error
            else:
                return Kept.ON_DISK, None
        with self._lock:
            memory = self._in_memory
            if memory.count - memory.finished >= self._memory_events:
                return Kept.NOWHERE, refused
            memory.count += 1
            self._memory.append(Entry(memory, memory.count, payload))
        return Kept.IN_MEMORY, refused

    def take(self, *, limit: int, max_bytes: int) -> list[Entry]:
        """Return the next events to send, at least one if any waits.

        Raises:
            SetAside: a file of the spool cannot be read; the next call goes on behind it.
        """
        taken = [] if self._spool is None else self._spool.take(limit=limit, max_bytes=max_bytes)
        total = sum(len(entry.payload) for entry in taken)
        with self._lock:
            while self._memory and len(taken) < limit:
                total += len(self._memory[0].payload)
                if taken and total > max_bytes:
                    break
                taken.append(self._memory.popleft())
        return taken

    def settle(self, entries: Sequence[Entry]) -> None:
        """Forget events that the API has answered for."""
        on_disk = [entry for entry in entries if entry.segment is not self._in_memory]
        with self._lock:
            self._in_memory.finished += len(entries) - len(on_disk)
        if self._spool is not None and on_disk:
            self._spool.settle(on_disk)

    def marks(self) -> Marks:
        """Return a note of everything that waits now."""
        with self._lock:
            marks = [(self._in_memory, self._in_memory.count)]
        return marks if self._spool is None else marks + self._spool.marks()


def reached(marks: Marks) -> bool:
    """Return whether everything that waited when `marks` was taken is settled."""
    return all(segment.finished >= count for segment, count in marks)
