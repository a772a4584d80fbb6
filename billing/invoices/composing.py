"""Should-have minus has: what an account's next documents say. Pure.

For every open month what should have been charged is compared with what was invoiced, price
by price. What was never invoiced becomes lines; a difference from what was becomes a
correction line at that period's prices. Re-runs, late usage, withdrawals and retrospective
prices are this one comparison.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

from billing.invoices.model import Line, LineKind, Treatment, split_by_treatment
from billing.money import NOUGHT, plain, show_pounds, sum_pounds
from billing.rating.numbers import show_cut_pounds
from metering.periods import Month


@dataclass(frozen=True, kw_only=True)
class Key:
    """What is compared: one price of one tariff version in one month."""

    month: Month
    tariff_code: str
    version_id: str
    price_key: str


@dataclass(frozen=True, kw_only=True)
class Charged:
    """A charge: what should have been invoiced.

    Attributes:
        kind: what the line asks payment for.
        line: the line as it would be printed when nothing was invoiced yet; number 0.
        meter_code: empty where nothing is counted.
    """

    key: Key
    meter_code: str
    line: Line
    dimensions: dict[str, str] = field(default_factory=dict)

    @property
    def quantity(self) -> Decimal:
        """Exact, nought where the line has no quantity."""
        return self.line.quantity or Decimal(0)


@dataclass(frozen=True, kw_only=True)
class Billed:
    """What was invoiced for a key, credit notes taken off.

    Attributes:
        conceded: pounds given back without putting the usage up to be invoiced again.
        line: the last invoiced line, for its words and VAT.
        number, issued_on: of the first invoice that billed the key; a credit note names it.
    """

    key: Key
    meter_code: str
    quantity: Decimal
    net: Decimal
    conceded: Decimal
    line: Line
    number: str
    invoice_id: str
    issued_on: date


@dataclass(frozen=True, kw_only=True)
class LineKey:
    """What a line row keeps besides the printed line."""

    key: Key
    meter_code: str
    dimensions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Draft:
    """One document to draft: its lines in order, each with its key.

    Attributes:
        credits: the invoice that a credit note credits: number, date of issue, id.
    """

    lines: tuple[Line, ...]
    keys: tuple[LineKey, ...]
    credits: tuple[str, date, str] | None = None
    tariff_codes: frozenset[str] = field(default_factory=frozenset)

    @property
    def net(self) -> Decimal:
        """Pounds without VAT; positive on a credit note too."""
        return sum_pounds([line.net for line in self.lines])


class NothingToCredit(ValueError):
    """An account comes to less than nothing, and no invoice explains it."""


def compose(
    *, month: Month, charged: Iterable[Charged], billed: Iterable[Billed]
) -> tuple[Draft, ...]:
    """Return the documents that make what was invoiced what it should have been.

    An invoice for what is due; a credit note for each invoice whose month's corrections come
    to less than nothing. Supplies outside the scope of VAT go on documents of their own.
    Nothing is returned where no line comes to any money.

    Raises:
        NothingToCredit: withdrawn usage exceeds everything that was ever invoiced.
    """
    has = {item.key: item for item in billed}
    should: dict[Key, list[Charged]] = {}
    for charge in charged:
        should.setdefault(charge.key, []).append(charge)
    fresh: list[tuple[Line, LineKey]] = []
    corrections: list[tuple[Line, LineKey, Billed]] = []
    for key in sorted(should.keys() | has.keys(), key=_order):
        charges, before = should.get(key, []), has.get(key)
        if before is None or (before.quantity == 0 and before.net == 0):
            fresh.extend(
                (
                    charge.line,
                    LineKey(key=key, meter_code=charge.meter_code, dimensions=charge.dimensions),
                )
                for charge in charges
                # What came to nothing in an earlier month is not told again each month.
                if key.month == month or charge.line.net
            )
            continue
        correction = _correction(before, charges)
        if correction is not None:
            where = LineKey(key=key, meter_code=before.meter_code)
            corrections.append((correction, where, before))
    return tuple(_documents(fresh, corrections))


def _order(key: Key) -> tuple[Month, str, str, str]:
    return (key.month, key.tariff_code, key.version_id, key.price_key)


def _correction(before: Billed, charges: Sequence[Charged]) -> Line | None:
    """Return the line that sets what was invoiced right, None where it is right."""
    should_net = sum_pounds([charge.line.net for charge in charges])
    should_quantity = sum((charge.quantity for charge in charges), Decimal(0))
    difference = should_net - before.net
    if difference < 0:
        # What a credit note gave back already is not given back twice.
        difference = max(difference, min(before.conceded - before.net, NOUGHT))
    if difference == 0:
        return None
    line = charges[-1].line if charges else before.line
    quantity = should_quantity - before.quantity
    month = before.key.month
    said: dict[str, Any] = {
        "step": "correct",
        "text": f"{month.name} should come to {show_pounds(should_net)} for "
        f"{plain(should_quantity)} and was invoiced at {show_pounds(before.net)} for "
        f"{plain(before.quantity)}, first on {before.number}: the difference is "
        f"{show_pounds(difference)}.",
        "should_net": f"{should_net:.2f}",
        "should_quantity": plain(should_quantity),
        "invoiced_net": f"{before.net:.2f}",
        "invoiced_quantity": plain(before.quantity),
        "conceded": f"{before.conceded:.2f}",
        "amount": f"{difference:.2f}",
    }
    first = min((charge.line.first_day for charge in charges), default=before.line.first_day)
    end = max((charge.line.end_day for charge in charges), default=before.line.end_day)
    return replace(
        line,
        kind=LineKind.CORRECTION,
        description=f"Correction for {month.name}: {line.description.split(': ', 1)[-1]}"
        if line.kind is LineKind.CORRECTION
        else f"Correction for {month.name}: {line.description}",
        net=difference,
        quantity=quantity or None,
        unit_price=None,
        price_words=None,
        pool_saving=None,
        # A correction amends the supply that was invoiced, under that supply's VAT.
        treatment=before.line.treatment,
        vat_rate_percent=before.line.vat_rate_percent,
        vat_reason=before.line.vat_reason,
        first_day=first,
        end_day=end,
        charge_id=charges[-1].line.charge_id if charges else None,
        working=(said, *(step for charge in charges for step in charge.line.working)),
    )


def _documents(
    fresh: Sequence[tuple[Line, LineKey]],
    corrections: Sequence[tuple[Line, LineKey, Billed]],
) -> Iterable[Draft]:
    outside = Treatment.OUTSIDE_SCOPE
    for apart in (False, True):
        due = [item for item in fresh if (item[0].treatment is outside) is apart]
        changed = [item for item in corrections if (item[0].treatment is outside) is apart]
        back: dict[tuple[Month, str], list[tuple[Line, LineKey, Billed]]] = {}
        for item in changed:
            back.setdefault((item[1].key.month, item[2].number), []).append(item)
        credited = {
            name: items
            for name, items in back.items()
            if sum_pounds([line.net for line, _, _ in items]) < 0
        }
        kept = [
            (line, key)
            for name, items in back.items()
            if name not in credited
            for line, key, _ in items
        ]
        together = [*due, *kept]
        total = sum_pounds([line.net for line, _ in together])
        total_back = sum_pounds([line.net for items in credited.values() for line, _, _ in items])
        if credited and total + total_back >= 0:
            # The month's own supplies outweigh what is given back: one invoice says both.
            together.extend((line, key) for items in credited.values() for line, key, _ in items)
            credited = {}
        if total < 0:
            raise NothingToCredit(
                "What was withdrawn comes to more than what was used, and no invoice explains it."
            )
        if any(line.net for line, _ in together):
            yield _draft(together)
        for (_, number), items in sorted(credited.items()):
            yield _draft(
                [(_turned(line), key) for line, key, _ in items],
                credits=(number, items[0][2].issued_on, items[0][2].invoice_id),
            )


def _turned(line: Line) -> Line:
    """Return a correction as a credit note prints it: what is given back is positive."""
    return replace(
        line, net=-line.net + NOUGHT, quantity=None if line.quantity is None else -line.quantity
    )


def _draft(
    items: Sequence[tuple[Line, LineKey]], *, credits: tuple[str, date, str] | None = None
) -> Draft:
    ordered = sorted(
        items,
        key=lambda item: (
            item[0].kind is LineKind.CORRECTION,
            item[1].key.month,
            item[0].service,
            item[0].first_day,
            item[0].description,
            item[0].charge_id or "",
        ),
    )
    (lines,) = split_by_treatment([line for line, _ in ordered])
    return Draft(
        lines=lines,
        keys=tuple(key for _, key in ordered),
        credits=credits,
        tariff_codes=frozenset(key.key.tariff_code for _, key in ordered),
    )


def line_kind(price_key: str, working: Sequence[Mapping[str, Any]]) -> LineKind:
    """Return what a charge's line asks payment for, from its working."""
    steps = {step["step"]: step for step in working}
    if price_key.startswith("commitment/"):
        return LineKind.SHORTFALL
    if steps.get("price", {}).get("model") == "flat":
        return LineKind.FLAT
    if "minimum" in steps and not any(Decimal(s.get("quantity", "0")) for s in working):
        return LineKind.MINIMUM
    return LineKind.USAGE


def blended_price(working: Sequence[Mapping[str, Any]]) -> Decimal | None:
    """Return the blended price of a line that shares one, None where it has its own.

    Pounds a unit; digits that never end are cut where the working cut them.
    """
    for step in working:
        if step["step"] in {"share", "frozen"} and step.get("blended_price"):
            return Decimal(step["blended_price"])
    return None


def price_words(working: Sequence[Mapping[str, Any]]) -> tuple[Decimal | None, str | None]:
    """Return the unit price where one price says it all, else how the line is priced."""
    steps = {step["step"]: step for step in working}
    shared = steps.get("share") or steps.get("frozen")
    if shared is not None:
        price = show_cut_pounds(blended_price(working) or NOUGHT)
        who = "national pool" if shared["scope"] == "pool" else f"group {shared['group']}"
        return None, f"{who} price, {price} a unit"
    step = steps.get("price")
    if step is None:
        return None, None
    plain_steps = set(steps) <= {"price", "round"}
    tiers = step.get("tiers", [])
    if step["model"] == "per-unit" and plain_steps and "unit_price" in step:
        return Decimal(step["unit_price"]), None
    if step["model"] == "graduated" and plain_steps and len(tiers) == 1:
        only = tiers[0]
        if only["flat"] == "0":
            return Decimal(only["unit_price"]), None
    words = {
        "per-unit": f"£{step.get('unit_price', '')} a unit",
        "graduated": f"tiered, {len(tiers)} tiers reached",
        "volume": f"volume price, £{step.get('unit_price', '')} for every unit",
        "package": f"£{step.get('package_price', '')} for each {step.get('package_size', '')}",
        "flat": "monthly amount",
        "percentage": f"{step.get('percent', '')}%",
    }[step["model"]]
    extra = [name for name in ("include", "discount", "maximum", "minimum") if name in steps]
    names = {
        "include": "after the included quantity",
        "discount": "less discount",
        "maximum": "up to the maximum",
        "minimum": "at least the minimum",
    }
    return None, ", ".join([words, *(names[name] for name in extra)])
