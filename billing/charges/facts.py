"""The working of a charge as it is kept: facts, which the words are made of when it is read.

A charge is rated again whenever anything of its month moves, and its working is read when an
invoice is drafted. What is kept is therefore the steps with the values that they used: exact
numbers (a fraction as `numerator/denominator`, nothing cut) and the whole of the price. It
needs no tariff to be read, and gives the same words and figures as `write_working`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

import msgspec

from billing.rating.numbers import Exact
from billing.rating.working import JointWalk, Step, write_working
from billing.tariffs.terms import Price, Tier

FORMAT = 1
"""What the list of facts begins with; words that were kept as words have no such number."""

_PRICE_NUMBERS = ("unit_price", "package_size", "package_price", "amount", "percent")


class FactWriter:
    """Writes facts as JSON; what charges have in common is written once and kept."""

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder(enc_hook=self._hook).encode
        self._prices: dict[int, tuple[Price, msgspec.Raw]] = {}
        self._walks: dict[int, tuple[JointWalk, msgspec.Raw]] = {}

    def facts(self, steps: Sequence[Step]) -> str:
        """Return the steps of a charge as JSON text."""
        said: list[Any] = [FORMAT]
        for name, values in steps:
            # A dataclass would be written whole; the hook is asked for everything else.
            said.append(
                (name, self._price(values[0]), *values[1:]) if name == "price" else (name, *values)
            )
        return self._encode(said).decode()

    def _price(self, price: Price) -> msgspec.Raw:
        found = self._prices.get(id(price))
        if found is None:
            found = self._prices[id(price)] = (price, _raw(price_facts(price)))
        return found[1]

    def _hook(self, value: object) -> object:
        if isinstance(value, Fraction):
            return f"{value.numerator}/{value.denominator}"
        if isinstance(value, JointWalk):
            # The walk itself is kept beside its text, so that its id is nobody else's.
            found = self._walks.get(id(value))
            if found is None:
                numbers = [_number(each) for each in (value.start, value.quantity, value.amount)]
                said = [price_facts(value.price), *numbers]
                found = self._walks[id(value)] = (value, _raw(said))
            return found[1]
        raise TypeError(f"{type(value).__name__} is not a fact")


def _raw(said: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(said))


def _number(number: Exact) -> str:
    if isinstance(number, Fraction):
        return f"{number.numerator}/{number.denominator}"
    return f"{number:f}"


def price_facts(price: Price) -> dict[str, Any]:
    """Return what a price's working needs of it, JSON-ready."""
    said: dict[str, Any] = {"model": price.model, "resets": price.resets}
    for name in _PRICE_NUMBERS:
        number = getattr(price, name)
        if number is not None:
            said[name] = _number(number)
    if price.tiers:
        said["tiers"] = [
            [
                None if tier.up_to is None else _number(tier.up_to),
                _number(tier.unit_price),
                _number(tier.flat),
            ]
            for tier in price.tiers
        ]
    return said


def read_working(said: Sequence[Any]) -> tuple[Mapping[str, Any], ...]:
    """Return the working in words that `FactWriter` kept as facts.

    Args:
        said: `charges.working`; what was kept in words is returned as it is.

    Raises:
        ValueError: the facts are of a format that this version does not know.
    """
    if not said or not isinstance(said[0], int):
        return tuple(said)
    if said[0] != FORMAT:
        raise ValueError(f"a working of format {said[0]}; this version knows {FORMAT}")
    return write_working(
        tuple(
            Step(
                name,
                tuple(read(value) for read, value in zip(_READERS[name], values, strict=True)),
            )
            for name, *values in said[1:]
        )
    )


def _exact(text: str) -> Exact:
    over, slash, under = text.partition("/")
    return Fraction(int(over), int(under)) if slash else Decimal(text)


def _same(value: Any) -> Any:
    return value


def _price(said: Mapping[str, Any]) -> Price:
    tiers = tuple(tuple(tier) for tier in said.get("tiers", ()))
    return _made(said["model"], said["resets"], tiers, *(said.get(name) for name in _PRICE_NUMBERS))


@lru_cache(maxsize=4096)
def _made(
    model: Any,
    resets: Any,
    tiers: tuple[tuple[str | None, str, str], ...],
    unit_price: str | None,
    package_size: str | None,
    package_price: str | None,
    amount: str | None,
    percent: str | None,
) -> Price:
    """Return one price object for all charges that have the same facts."""
    return Price(
        key="",
        label="",
        model=model,
        resets=resets,
        tiers=tuple(
            Tier(_number_of(up_to), Decimal(price), Decimal(flat)) for up_to, price, flat in tiers
        ),
        unit_price=_number_of(unit_price),
        package_size=_number_of(package_size),
        package_price=_number_of(package_price),
        amount=_number_of(amount),
        percent=_number_of(percent),
    )


def _number_of(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _walk(said: Sequence[Any]) -> JointWalk:
    price, start, quantity, amount = said
    return _walked(_price(price), start, quantity, amount)


@lru_cache(maxsize=1024)
def _walked(price: Price, start: str, quantity: str, amount: str) -> JointWalk:
    """Return one walk for all members of a pool: it is put into words once."""
    return JointWalk(price, _exact(start), _exact(quantity), _exact(amount))


_READERS: dict[str, tuple[Callable[[Any], Any], ...]] = {
    "convert": (Decimal, Decimal, _same, _exact),
    "include": (_exact, Decimal, _same, _exact, _exact, _exact),
    "price": (_price, _exact, _exact, _exact, _exact, _same, _same),
    "share": (_same, _same, _same, _walk, _exact, _exact, _exact),
    "frozen": (_same, _same, _exact, _exact, _exact, _exact),
    "discount": (Decimal, _same, _exact, _exact),
    "maximum": (_exact, _exact, _exact, _exact),
    "minimum": (Decimal, _exact, _same, _same, _exact, _exact),
    "commit": (_same, _exact, _same, _exact, _exact, date.fromisoformat),
    "split": (_same, Decimal, Decimal, _exact, _exact),
    "round": (_exact, Decimal, _same),
}
