"""Take usage: one request in, one receipt out, committed before it is given.

This is an edge, like a view: it opens the transactions. `Ingest` holds what a
process remembers (catalogue, partitions) and the queue for group commit.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy.exc import DBAPIError

from metering.events.catalogue import Catalogue, CatalogueMemory
from metering.events.combining import Combiner
from metering.events.decoding import Decoded
from metering.events.judging import judge
from metering.events.lots import Lot
from metering.events.model import REJECTED, Receipt
from metering.events.partitions import PartitionMemory
from metering.events.rules import Window
from metering.events.store import (
    COPIED_MIN,
    Care,
    CatalogueMoved,
    came_between,
    has_moved,
    store,
    store_by_copy,
)
from metering.kit.auth import Key
from metering.kit.clock import Clock
from metering.kit.db import Database, Direct
from metering.kit.errors import Unavailable
from metering.sources.model import EVENTS_WRITE, SourcePrincipal
from metering.sources.operations import LAST_USED_GRAIN, ScopeMissing, note_use

_ATTEMPTS = 8

LARGE_AT_ONCE = 3
"""Requests that have a transaction of their own at a time; more would only take turns."""

REPEATS_EXPECTED = 32
"""After a repeat, ids of so many more of the source's requests are looked up first."""


class CatalogueBusy(Unavailable):
    """The catalogue changes faster than events can be judged by it. Try again."""

    code = "catalogue-busy"
    title = "The catalogue is being changed"


class Ingest:
    """The way in for usage events, one for each process.

    Args:
        database: where they are stored.
        clock: gives the instant of receipt.
        correction_months: how many whole months back usage may be sent.
    """

    def __init__(self, database: Database, *, clock: Clock, correction_months: int) -> None:
        self.catalogue = CatalogueMemory(database)
        self._database = database
        self._clock = clock
        self._correction_months = correction_months
        self._noted: dict[str, datetime] = {}
        self._expected: dict[int, int] = {}  # by source: requests that may repeat ids
        self._partitions = PartitionMemory(database)
        self._shared = database.direct()
        self._own = database.direct(connections=LARGE_AT_ONCE)
        self._combiner = Combiner(self._store_all, store_large=self._store_large)

    def accept(self, decoded: Decoded, *, key: Key | None, now: datetime) -> Receipt:
        """Judge and store the events of one request; they are committed on return.

        Raises:
            KeyRefused: the key is not, or no longer, valid.
            ScopeMissing: the key may not post events.
            CatalogueBusy: the catalogue changed at every attempt.
        """
        lot = self._accept(decoded, lambda: self.catalogue.authenticate(key, now=now), now=now)
        return lot.receipt()

    def accept_again(
        self, decoded: Decoded, *, principal: SourcePrincipal, now: datetime
    ) -> dict[int, UUID]:
        """Judge and store events that were refused before.

        Returns:
            By place, the ids under which those are kept that are refused again.
        """
        lot = self._accept(decoded, lambda: principal, now=now)
        return {refused.fate.index: refused.kept_as(lot.source_id) for refused in lot.refused}

    def _accept(
        self, decoded: Decoded, who: Callable[[], SourcePrincipal], *, now: datetime
    ) -> Lot:
        stale: Catalogue | None = None
        for _ in range(_ATTEMPTS):
            if stale is not None:
                self.catalogue.reload(stale)
            principal = who()
            stale = self.catalogue.current()
            if EVENTS_WRITE not in principal.scopes:
                raise ScopeMissing(f"This key may not do that: it lacks '{EVENTS_WRITE}'.")
            lot = self._judge(decoded, stale, principal, now=now)
            try:
                self._combiner.store(lot)
            except CatalogueMoved:
                continue
            return lot
        raise CatalogueBusy("The catalogue is being changed; send the events again.", retry_after=1)

    def note_use(self, key_id: str, *, now: datetime) -> None:
        """Note that a key was used, seldom enough to cost nothing."""
        last = self._noted.get(key_id)
        if last is None or now - last >= LAST_USED_GRAIN:
            self._noted[key_id] = now
            with self._database.transaction() as session:
                note_use(session, key_ids=[key_id], now=now)

    def _judge(
        self, decoded: Decoded, catalogue: Catalogue, principal: SourcePrincipal, *, now: datetime
    ) -> Lot:
        window = Window.at(now, correction_months=self._correction_months)
        lot = judge(
            decoded,
            catalogue=catalogue,
            principal=principal,
            window=window,
            dimension_sets=self.catalogue.dimension_set,
        )
        self._partitions.ensure([window.months[place] for place in lot.places])
        return lot

    def _store_all(self, lots: Sequence[Lot]) -> None:
        self._store(self._shared, lots)

    def _store_large(self, lots: Sequence[Lot]) -> None:
        self._store(self._own, lots)

    def _store(self, direct: Direct, lots: Sequence[Lot]) -> None:
        """Store lots in a transaction, and again with more care where an id was there already."""
        copied = len(lots) == 1 and len(lots[0].keys) >= COPIED_MIN
        expected = any(self._expected.get(lot.source_id) for lot in lots)
        care = Care.REPEATS if expected else Care.ALL_NEW
        while True:
            try:
                self._attempt(direct, lots, care, copied=copied and care is not Care.RIVALS)
                break
            except DBAPIError as error:
                if has_moved(error):
                    raise CatalogueMoved from None
                if care is Care.RIVALS or not came_between(error):
                    raise
                care = Care(care + 1)
        for lot in lots:
            if any(fate.fate != REJECTED for fate in lot.fates):
                self._expected[lot.source_id] = REPEATS_EXPECTED
            elif left := self._expected.get(lot.source_id, 0):
                self._expected[lot.source_id] = left - 1

    def _attempt(self, direct: Direct, lots: Sequence[Lot], care: Care, *, copied: bool) -> None:
        def work(connection: psycopg.Connection[Any]) -> None:
            if copied:
                store_by_copy(connection, lots[0], now=self._clock(), care=care)
            else:
                store(connection, lots, now=self._clock(), care=care)

        direct.retrying(work, pipelined=not copied)
