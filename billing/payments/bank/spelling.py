"""How invoices may be named in a payer's text, and which of thousands a text could mean; pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

# A nation's open invoices and names are spelt out once, not for each page.
_REMEMBERED = 65_536
_SHORTEST = 8
# Read by people, these look alike.
_LOOKALIKES = str.maketrans({"O": "0", "I": "1", "L": "1"})


class Spelling(NamedTuple):
    """An invoice's number as a slip of the pen may write it.

    Attributes:
        number: capital letters and digits alone; `look` with those made equal that look alike.
        tail: its last digits without noughts in front.
        order: its purchase order, compact; empty where there is none.
    """

    number: str
    look: str
    tail: str
    order: str


@lru_cache(maxsize=_REMEMBERED)
def compact(text: str) -> str:
    """Return the capital letters and digits of a text: `pg-2627 000123` → `PG2627000123`."""
    return re.sub(r"[^A-Z0-9]", "", text.upper())


@lru_cache(maxsize=_REMEMBERED)
def words(text: str) -> frozenset[str]:
    """Return the words and numbers of a text, in capitals."""
    return frozenset(re.findall(r"[A-Z0-9]+", text.upper()))


@lru_cache(maxsize=_REMEMBERED)
def spelling(number: str, order: str) -> Spelling:
    """Return how a compact number and a purchase order may be written."""
    return Spelling(
        number=number,
        look=look_of(number),
        tail=number[-6:].lstrip("0") or "0",
        order=compact(order),
    )


def look_of(text: str) -> str:
    """Return a compact text with the characters made equal that look alike."""
    return text.translate(_LOOKALIKES)


class _Parts(defaultdict[str, list[int]]):
    """Where among the spellings each part is."""

    def __init__(self) -> None:
        super().__init__(list)


class Spellings:
    """Finds those of many spellings that have a part in common with a text.

    A statement has thousands of lines and a nation thousands of open invoices: each line is
    looked up by its own few pieces, instead of being tried against every invoice.
    """

    def __init__(self, spellings: Sequence[Spelling]) -> None:
        looks, orders, self._tails = _Parts(), _Parts(), _Parts()
        for place, found in enumerate(spellings):
            looks[found.look].append(place)
            if found.order:
                orders[found.order].append(place)
            self._tails[found.tail].append(place)
        self._looks, self._orders = (
            (parts, {len(part) for part in parts}) for parts in (looks, orders)
        )
        self._numbers = {found.number: place for place, found in enumerate(spellings)}
        self._lengths = {len(number) for number in self._numbers}
        self._signs = sorted({sign for number in self._numbers for sign in number})

    def places(self, said: str, almost: Iterable[str], figures: Iterable[str]) -> list[int]:
        """Return, in order, the places of the spellings that a text could mean.

        Args:
            said: the text, compact.
            almost: what `almost` returns for it.
            figures: the numbers in the text, without noughts in front.
        """
        found = set(_within(self._looks, look_of(said)))
        found.update(self._numbers[number] for number in almost)
        found.update(_within(self._orders, said))
        for figure in figures:
            found.update(self._tails.get(figure, ()))
        return sorted(found)

    def almost(self, said: str) -> set[str]:
        """Return the numbers that a stretch of `said` is but for one slip of the pen.

        One character wrong, left out, put in, or two neighbours swapped; never the first one
        left out or put in, or any longer run of digits would do. Numbers of less than eight
        characters are too like each other.
        """
        numbers = self._numbers
        return {
            number
            for length in self._lengths
            if length >= _SHORTEST
            for number in self._mended(said, length)
            if number in numbers
        }

    def _mended(self, said: str, length: int) -> Iterator[str]:
        """Yield every text of a length that a stretch of `said` comes to, one slip undone."""
        for start in range(len(said) - length + 2):
            short, same, long = (said[start : start + length + more] for more in (-1, 0, 1))
            for place in range(1, length):
                yield from (short[:place] + sign + short[place:] for sign in self._signs)
            if len(same) < length:
                continue
            for place in range(length):
                before, here, after = same[:place], same[place], same[place + 1 :]
                yield from (before + sign + after for sign in self._signs if sign != here)
                if after and after[0] != here:
                    yield before + after[0] + here + after[1:]
            if len(long) > length:
                yield from (long[:place] + long[place + 1 :] for place in range(1, length + 1))


@lru_cache(maxsize=1)
def spellings_of(spellings: tuple[Spelling, ...]) -> Spellings:
    """Return `Spellings`, those of the last time where they are the same.

    Invoices change far less often than somebody looks at a bank line.
    """
    return Spellings(spellings)


def _within(of: tuple[_Parts, set[int]], said: str) -> Iterator[int]:
    parts, lengths = of
    for length in lengths:
        for start in range(len(said) - length + 1):
            yield from parts.get(said[start : start + length], ())
