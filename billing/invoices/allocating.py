"""Lines to cost centres: a line that several bear is split, to the penny; pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any

from billing.accounts.allocation import AllocationRule, CostShare, rule_for
from billing.invoices.composing import Draft, LineKey
from billing.invoices.model import Line, LineKind
from billing.money import plain, share_out, show_pounds

_QUANTITY_PLACES = Decimal("1E-9")


def allocate(draft: Draft, *, rules: Sequence[AllocationRule]) -> Draft:
    """Return the draft with the cost centre of each line, grouped by it, corrections apart.

    Pennies of a split go by largest remainder, so that parts sum to the line; quantities
    are cut at nine places and the first part takes what is left.
    """
    if not rules:
        return draft
    lines: list[Line] = []
    keys: list[LineKey] = []
    for line, key in zip(draft.lines, draft.keys, strict=True):
        # As VAT does, a line follows the last day that it covers.
        rule = rule_for(
            rules,
            tariff_code=key.key.tariff_code,
            meter=key.meter_code,
            dimensions=key.dimensions,
            day=line.end_day - timedelta(days=1),
        )
        parts = [line] if rule is None else _parts(line, rule.shares)
        lines.extend(parts)
        keys.extend([key] * len(parts))
    # Stable: within a cost centre lines keep their order; what none bears comes last.
    order = sorted(range(len(lines)), key=lambda place: _printing_order(lines[place]))
    return replace(
        draft,
        lines=tuple(
            replace(lines[place], number=number) for number, place in enumerate(order, start=1)
        ),
        keys=tuple(keys[place] for place in order),
    )


def _printing_order(line: Line) -> tuple[bool, bool, str, str]:
    return (
        line.kind is LineKind.CORRECTION,
        line.cost_centre is None,
        line.cost_centre or "",
        line.subjective_code or "",
    )


def _parts(line: Line, shares: Sequence[CostShare]) -> list[Line]:
    if len(shares) == 1:
        (only,) = shares
        return [replace(line, cost_centre=only.cost_centre, subjective_code=only.subjective_code)]
    weights = {f"{place:04d}": share.percent for place, share in enumerate(shares)}
    nets = share_out(line.net, weights)
    savings = None if line.pool_saving is None else share_out(line.pool_saving, weights)
    quantities = _quantities(line.quantity, shares)
    return [
        replace(
            line,
            net=nets[key],
            quantity=quantity,
            pool_saving=None if savings is None else savings[key],
            cost_centre=share.cost_centre,
            subjective_code=share.subjective_code,
            working=(*line.working, _step(line, share, nets[key])),
        )
        for key, share, quantity in zip(weights, shares, quantities, strict=True)
    ]


def _quantities(quantity: Decimal | None, shares: Sequence[CostShare]) -> list[Decimal | None]:
    if quantity is None:
        return [None] * len(shares)
    rest = [
        (quantity * share.percent / 100).quantize(_QUANTITY_PLACES, rounding=ROUND_DOWN)
        for share in shares[1:]
    ]
    return [quantity - sum(rest, Decimal(0)), *rest]


def _step(line: Line, share: CostShare, net: Decimal) -> dict[str, Any]:
    coded = f", subjective code {share.subjective_code}" if share.subjective_code else ""
    return {
        "step": "allocate",
        "text": f"{plain(share.percent)}% of {show_pounds(line.net)} is borne by cost centre "
        f"{share.cost_centre}{coded}: {show_pounds(net)}, the pennies shared out so that the "
        "parts sum to the whole.",
        "percent": plain(share.percent),
        "of": f"{line.net:.2f}",
        "cost_centre": share.cost_centre,
        "amount": f"{net:.2f}",
    }
