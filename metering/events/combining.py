"""One commit for many requests: group commit within a process.

A commit costs a flush to disk, whatever is in it. Threads that want to store
at the same time put their lots in a queue; the first of them stores all that
wait, in one transaction, and every one gets its own receipt after that commit.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy.exc import DBAPIError

from metering.events.lots import Lot
from metering.kit.db import is_transient

EVENTS_TOGETHER_MAX = 2_000
"""Events that share a commit."""

EVENTS_ALONE_MIN = 500
"""From so many events on a request has a commit of its own."""

StoreAll = Callable[[Sequence[Lot]], None]


@dataclass(slots=True)
class _Waiting:
    lot: Lot
    done: threading.Event = field(default_factory=threading.Event)
    failure: BaseException | None = None


class Combiner:
    """Stores lots, together where several wait.

    Args:
        store_all: stores some lots in one committed transaction, completing their fates;
            never called by two threads at once.
        store_large: the same for one large lot; threads call it at once.
    """

    def __init__(self, store_all: StoreAll, *, store_large: StoreAll) -> None:
        self._store_all = store_all
        self._store_large = store_large
        self._turn = threading.Lock()
        self._queue_lock = threading.Lock()
        self._queue: list[_Waiting] = []

    def store(self, lot: Lot) -> None:
        """Store a lot; returns once it is committed.

        Raises:
            DBAPIError: the database refused or did not answer; nothing of it is stored
                as far as is known.
            CatalogueMoved: judge it again.
        """
        if lot.received >= EVENTS_ALONE_MIN:
            # A large one gains nothing from company and would keep the small ones waiting.
            self._store_large([lot])
            return
        mine = _Waiting(lot)
        with self._queue_lock:
            self._queue.append(mine)
        # Whoever gets the turn first stores for all who came before; the others find it done.
        with self._turn:
            while not mine.done.is_set():
                self._store_waiting()
        if mine.failure is not None:
            raise mine.failure

    def _store_waiting(self) -> None:
        with self._queue_lock:
            size, taken = 0, 0
            for waiting in self._queue:
                size += waiting.lot.received
                if taken and size > EVENTS_TOGETHER_MAX:
                    break
                taken += 1
            group, self._queue = self._queue[:taken], self._queue[taken:]
        try:
            self._store_all([waiting.lot for waiting in group])
        except DBAPIError as error:
            if len(group) == 1 or is_transient(error):
                _fail(group, error)
            else:
                # One of them may be the cause: the others must not pay for it.
                for waiting in group:
                    self._store_alone(waiting)
        except BaseException as error:
            # Whoever waits must hear of it; the one who stores hears of it like the others.
            _fail(group, error)
            if not isinstance(error, Exception):
                raise
        finally:
            for waiting in group:
                waiting.done.set()

    def _store_alone(self, waiting: _Waiting) -> None:
        try:
            self._store_all([waiting.lot])
        except DBAPIError as error:
            waiting.failure = error


def _fail(group: Sequence[_Waiting], error: BaseException) -> None:
    for waiting in group:
        waiting.failure = error
