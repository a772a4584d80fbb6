"""What each fault cost: the rows that `make test-faults` prints as one table at the end."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any

PROPERTY = "fault"
"""Name under which a test's report carries its rows, also from another pytest process."""

_NOT_ASKED = "-"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        fault: what was done to paygo, and during what.
        tried: how often.
        lost, doubled: events that are gone, or that count twice.
        missing, repeated: numbers of invoices with a gap, or given twice; None where the
            fault concerns no invoice.
        pence: by how much invoices, payments and ledger differ from an undisturbed month.
        note: what else was measured.
    """

    fault: str
    tried: int
    lost: int = 0
    doubled: int = 0
    missing: int | None = None
    repeated: int | None = None
    pence: int | None = None
    note: str = ""

    @property
    def harmless(self) -> bool:
        """Whether nothing was lost, doubled, missing or wrong."""
        return not any((self.lost, self.doubled, self.missing, self.repeated, self.pence))


class Tally:
    """Collects the rows of one test; a row counts also where the test then fails."""

    def __init__(self, properties: list[tuple[str, object]], *, seed: int) -> None:
        self._properties = properties
        self.seed = seed

    def add(self, fault: str, tried: int, **facts: Any) -> Row:
        """Add a row and return it; assert that it is `harmless` afterwards."""
        row = Row(fault=fault, tried=tried, **facts)
        self._properties.append((PROPERTY, astuple(row)))
        return row


def table(rows: Iterable[tuple[Any, ...]]) -> Iterable[str]:
    """Yield the lines of the table."""
    head = ("fault", "tried", "events", "", "numbers", "", "pence", "")
    under = ("", "", "lost", "doubled", "missing", "doubled", "off", "")
    shown = [tuple(_NOT_ASKED if value is None else str(value) for value in row) for row in rows]
    width = max((len(row[0]) for row in shown), default=0)
    for row in (head, under, *shown):
        yield (
            f"{row[0]:<{width}}" + "".join(f"{one:>9}" for one in row[1:7]) + f"  {row[7]}"
        ).rstrip()
    yield f"{_NOT_ASKED} not at stake: no invoice was numbered there, or no money moved."
