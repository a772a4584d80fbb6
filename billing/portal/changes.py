"""Why one month's charges differ from another's: more use, or another price. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from billing.money import NOUGHT, show_pounds, to_pennies
from billing.portal.words import show_number, show_unit_price


@dataclass(frozen=True)
class Part:
    """What one price came to for an account in a month.

    Attributes:
        key: tariff code and key of the price.
        unit: in words; empty where nothing is counted.
        quantity: as metered.
        amount: pounds without VAT.
        saving: pounds that a shared pool took off.
    """

    key: tuple[str, str]
    service: str
    label: str
    unit: str
    quantity: Decimal
    amount: Decimal
    saving: Decimal = NOUGHT


@dataclass(frozen=True)
class Change:
    """By how many pounds a price's amount changed, and why.

    `by_use` and `by_price` sum to `difference`: what the other quantity would have come to at
    the earlier price a unit (rounded once to the penny), and the rest.
    """

    before: Part | None
    after: Part | None
    difference: Decimal
    by_use: Decimal
    by_price: Decimal

    @property
    def part(self) -> Part:
        """The price as it is now, or as it was when it is no longer charged."""
        part = self.after or self.before
        assert part is not None
        return part

    @property
    def words(self) -> str:
        """Return the change as a sentence, the amount first."""
        more = f"{show_pounds(abs(self.difference))} {'more' if self.difference > 0 else 'less'}"
        name = f"{self.part.service}, {self.part.label}"
        if self.before is None:
            return f"{name}: {more}, as nothing was charged for it the month before."
        if self.after is None:
            return f"{name}: {more}, as nothing was charged for it any more."
        if not (self.before.quantity and self.after.quantity and self.part.unit):
            return f"{name}: {more}."
        return f"{name}: {more}. {_causes(self, self.before, self.after)}"


def _causes(change: Change, before: Part, after: Part) -> str:
    causes = []
    step = after.quantity - before.quantity
    if change.by_use:
        causes.append(
            f"Using {show_number(abs(step))} {after.unit} {'more' if step > 0 else 'fewer'} "
            f"{_moved(change.by_use)}"
        )
    if change.by_price:
        old, new = _each(before), _each(after)
        came = f" (on average {old} a unit, now {new})" if old != new else ""
        causes.append(f"The price{came} {_moved(change.by_price)}")
    return ". ".join(causes) + "." if causes else ""


def _moved(amount: Decimal) -> str:
    return f"{'added' if amount > 0 else 'took off'} {show_pounds(abs(amount))}"


def _each(part: Part) -> str:
    """Return a part's average price a unit, for comparing; to a hundredth of a penny."""
    hundredths = Fraction(part.amount) / Fraction(part.quantity) * 10_000
    return show_unit_price(Decimal(round(hundredths)).scaleb(-4))


def changes(before: Iterable[Part], after: Iterable[Part]) -> tuple[Change, ...]:
    """Return what changed between two months, the largest difference first.

    >>> old = Part(("a", "b"), "Archive", "Studies", "studies", Decimal(10), Decimal("5.00"))
    >>> new = Part(("a", "b"), "Archive", "Studies", "studies", Decimal(20), Decimal("8.00"))
    >>> [(found.by_use, found.by_price) for found in changes([old], [new])]
    [(Decimal('5.00'), Decimal('-2.00'))]
    """
    earlier = {part.key: part for part in before}
    later = {part.key: part for part in after}
    found = []
    for key in {**earlier, **later}:
        old, new = earlier.get(key), later.get(key)
        difference = (new.amount if new else NOUGHT) - (old.amount if old else NOUGHT)
        if not difference:
            continue
        by_use = difference
        if old is not None and new is not None and old.quantity:
            step = Fraction(new.quantity) - Fraction(old.quantity)
            by_use = to_pennies(step * Fraction(old.amount) / Fraction(old.quantity))
        found.append(Change(old, new, difference, by_use, difference - by_use))
    found.sort(key=lambda change: (-abs(change.difference), change.part.key))
    return tuple(found)
