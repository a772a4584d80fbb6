"""Which price a piece of usage falls under.

A price book is one tariff version as one account has it: its prices, with the
prices of a local agreement put in place of those with the same key, or added.
The price with the most conditions wins; a local one before the tariff's; a flat
amount that names a meter covers its use only when no other price does.
"""

from billing.rating.model import Dimensions, LocalTerms
from billing.rating.prices import Pricer
from billing.tariffs.terms import Price, Tariff

REASONS = {
    "no-agreement": "The account has no agreement in force on these days.",
    "no-version": "The account's tariff has no version in force on these days.",
    "no-price": "None of the account's tariffs has a price for this usage on these days.",
    "no-hour": "The meter has prices by time of day, and the usage does not say its hour.",
    "two-tariffs": "Two of the account's tariffs price the usage; it can be charged only once.",
    "two-prices": "Two prices fit the usage equally well.",
    "beyond-last-tier": "The usage goes past the last tier, which has an end.",
    "negative-quantity": "More was withdrawn than used, so there is no quantity to price.",
}


class Entry:
    """A price in a book, ready to walk, and whose it is."""

    __slots__ = ("band_slots", "local", "order", "price", "pricer", "where")

    def __init__(
        self, price: Price, *, order: int, local: LocalTerms | None, slots: frozenset[int] | None
    ) -> None:
        self.price = price
        self.pricer = Pricer(price)
        self.order = order
        self.local = local
        self.band_slots = slots
        self.where = price.where


class PriceBook:
    """A tariff version with the local terms in force, if any."""

    def __init__(self, tariff: Tariff, terms: LocalTerms | None) -> None:
        self.tariff = tariff
        self.terms = terms
        local = {price.key: price for price in terms.prices} if terms is not None else {}
        replaced = set(local)
        prices = [(price, None) for price in tariff.prices if price.key not in replaced]
        found: list[tuple[Price, LocalTerms | None]] = [
            *prices,
            *((price, terms) for price in local.values()),
        ]
        self.entries = [
            Entry(
                price,
                order=order,
                local=owner,
                slots=None if price.band is None else tariff.band_slots.get(price.band, _NEVER),
            )
            for order, (price, owner) in enumerate(found)
        ]
        self.monthly = [
            entry
            for entry in self.entries
            if entry.price.model == "flat" or entry.price.minimum is not None
        ]
        self._by_meter: dict[str, list[Entry]] = {}
        for entry in self.entries:
            if entry.price.meter is not None:
                self._by_meter.setdefault(entry.price.meter, []).append(entry)
        self.banded = {
            meter
            for meter, entries in self._by_meter.items()
            if any(entry.band_slots is not None for entry in entries)
        }
        self._found: dict[tuple[str, Dimensions, int | None], Entry | str] = {}

    def prices_meter(self, meter: str) -> bool:
        """Say whether any price names the meter."""
        return meter in self._by_meter

    def find(self, meter: str, dimensions: Dimensions, slot: int | None) -> Entry | str:
        """Return the entry for usage, or the reason (a key of `REASONS`) why there is none.

        Args:
            slot: hour of the week, see `slot_of`; None where it is not known.
        """
        key = (meter, dimensions, slot if meter in self.banded else None)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._search(*key)
        return found

    def _search(self, meter: str, dimensions: Dimensions, slot: int | None) -> Entry | str:
        labels = dict(dimensions)
        fitting = [entry for entry in self._by_meter.get(meter, ()) if entry.price.matches(labels)]
        if slot is None and any(entry.band_slots is not None for entry in fitting):
            return "no-hour"
        fitting = [e for e in fitting if e.band_slots is None or slot in e.band_slots]
        usage_prices = [entry for entry in fitting if entry.price.model != "flat"] or fitting
        if not usage_prices:
            return "no-price"
        best = max(_rank(entry) for entry in usage_prices)
        winners = [entry for entry in usage_prices if _rank(entry) == best]
        if len(winners) > 1 and winners[0].price.model != "flat":
            return "two-prices"
        return winners[0]


def _rank(entry: Entry) -> tuple[int, bool]:
    return entry.price.conditions, entry.local is not None


_NEVER: frozenset[int] = frozenset()
