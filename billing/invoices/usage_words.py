"""What readings behind an invoice are told by: meters, dimension sets, prices; read once a run."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.rating.books import PriceBook
from billing.rating.model import Dimensions
from billing.tariffs import queries as tariffs
from billing.tariffs.model import parse_tariff

_SETS_KEPT = 100_000
"""Dimension sets remembered at most, some hundred bytes each."""
_SETS = text("SELECT id, dimensions FROM dimension_sets WHERE id = ANY(:ids)")
_METERS = text("SELECT code, name, unit, dimensions FROM meters WHERE code = ANY(:codes)")


class MeterWords(NamedTuple):
    """A meter for people: its name, unit, and the label of each dimension."""

    name: str
    unit: str
    labels: Mapping[str, str]


@dataclass
class UsageWords:
    """What readings and their prices are told by, kept from one invoice to the next.

    Dimension sets and approved tariff versions never change, so what was read once is not
    read again; meters are those of the day on which this was made.
    """

    sets: dict[int, Dimensions] = field(default_factory=dict)
    books: dict[str, PriceBook] = field(default_factory=dict)
    meters: dict[str, MeterWords] = field(default_factory=dict)

    def read_for(
        self, session: Session, *, version_ids: Collection[str], meters: Collection[str]
    ) -> None:
        """Read the tariff versions and meters, by code, that are not known yet."""
        self.books.update(books_of(session, set(version_ids) - self.books.keys()))
        unknown = set(meters) - self.meters.keys()
        if not unknown:
            return
        for code, name, unit, dimensions in session.execute(_METERS, {"codes": sorted(unknown)}):
            labels = {
                key: label
                for key, said in dimensions.items()
                if (label := (said or {}).get("label"))
            }
            self.meters[code] = MeterWords(name, unit, labels)

    def read_sets(self, session: Session, *, ids: Collection[int]) -> None:
        """Read the dimension sets that are not known yet."""
        if len(self.sets) > _SETS_KEPT:
            self.sets.clear()
        unknown = set(ids) - self.sets.keys()
        if not unknown:
            return
        for set_id, dimensions in session.execute(_SETS, {"ids": sorted(unknown)}):
            self.sets[set_id] = tuple(
                sorted((key, str(value)) for key, value in dimensions.items())
            )


def books_of(session: Session, ids: Iterable[str]) -> dict[str, PriceBook]:
    """Return the prices of tariff versions, by the versions' ids."""
    rows = tariffs.versions_by_id(session, ids=set(ids))
    return {row.id: PriceBook(parse_tariff(row.content), None) for row in rows}
