"""Cutting a month where anything changes: agreement ∩ tariff version ∩ terms ∩ membership.

A segment is a run of London days on which an account has one tariff version, one
set of local terms (or none) and one membership. Usage outside every segment has
no agreement; a version's price never reaches past its last day.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import TypeVar

from billing.rating.books import PriceBook
from billing.rating.model import Agreement, DatedTariff, Days, LocalTerms
from billing.tariffs.terms import Tariff
from metering.periods import Month

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Days of the month on which nothing changes for one account and tariff."""

    account: str
    tariff: Tariff
    book: PriceBook
    terms: LocalTerms | None
    in_pool: bool
    group: str | None
    first_day: date
    end_day: date
    agreement_ends_on: date | None

    @property
    def days(self) -> int:
        """Number of London dates."""
        return (self.end_day - self.first_day).days


class Versions:
    """The tariff versions in force in a month, and the price books made from them."""

    def __init__(self, tariffs: Iterable[DatedTariff | Tariff], month: Month) -> None:
        self.month = month
        self._spans: dict[str, list[tuple[Tariff, date, date]]] = {}
        self._books: dict[tuple[int, int | None], PriceBook] = {}
        by_code: dict[str, list[DatedTariff]] = {}
        for given in tariffs:
            dated = DatedTariff(given) if isinstance(given, Tariff) else given
            by_code.setdefault(dated.tariff.code, []).append(dated)
        for code, versions in by_code.items():
            versions.sort(key=lambda dated: dated.tariff.effective_from)
            starts = [dated.tariff.effective_from for dated in versions]
            if len(set(starts)) != len(starts):
                raise ValueError(f"two versions of {code} start on one day")
            ends = [*starts[1:], date.max]
            spans = []
            for dated, start, end in zip(versions, starts, ends, strict=True):
                first = max(start, month.first_day)
                last = min(end, dated.ends_on or date.max, month.end_day)
                if first < last:
                    spans.append((dated.tariff, first, last))
            self._spans[code] = spans

    def spans(self, code: str) -> Sequence[tuple[Tariff, date, date]]:
        """Return each version of the tariff in force, with its days of the month, in order."""
        return self._spans.get(code, ())

    def book(self, tariff: Tariff, terms: LocalTerms | None) -> PriceBook:
        """Return the price book, made once for each version and terms."""
        key = (id(tariff), None if terms is None else id(terms))
        book = self._books.get(key)
        if book is None:
            book = self._books[key] = PriceBook(tariff, terms)
        return book


def segments_of(agreement: Agreement, versions: Versions) -> list[Segment]:
    """Return the segments of one agreement in the month, in order of days.

    Raises:
        ValueError: two local terms or two groups hold on one day.
    """
    month = versions.month
    first = max(agreement.starts_on, month.first_day)
    end = min(agreement.ends_on or date.max, month.end_day)
    spans = versions.spans(agreement.tariff)
    found: list[Segment] = []
    if first >= end or not spans:
        return found
    dated: list[Days] = [
        *agreement.pool,
        *(membership.days for membership in agreement.groups),
        *(terms.days for terms in agreement.terms),
    ]
    edges = {day for days in dated for day in (days.first_day, days.end_day) if day is not None}
    for tariff, version_first, version_end in spans:
        begin, stop = max(first, version_first), min(end, version_end)
        if begin >= stop:
            continue
        cuts = [begin, *sorted(day for day in edges if begin < day < stop), stop]
        for start, finish in pairwise(cuts):
            terms = _only(agreement, "local terms", [t for t in agreement.terms if start in t.days])
            membership = _only(
                agreement, "groups", [g for g in agreement.groups if start in g.days]
            )
            found.append(
                Segment(
                    account=agreement.account,
                    tariff=tariff,
                    book=versions.book(tariff, terms),
                    terms=terms,
                    in_pool=any(start in days for days in agreement.pool),
                    group=None if membership is None else membership.group,
                    first_day=start,
                    end_day=finish,
                    agreement_ends_on=agreement.ends_on,
                )
            )
    return found


def _only(agreement: Agreement, what: str, found: list[Found]) -> Found | None:
    if len(found) > 1:
        raise ValueError(f"{agreement.account} has two {what} on {agreement.tariff} on one day")
    return found[0] if found else None
