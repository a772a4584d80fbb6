"""Pricing past usage under a draft, through the code that rates every month."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from sqlalchemy.orm import Session

from billing.accounts import queries as accounts
from billing.charges import queries as charges
from billing.charges.inputs import MonthInputs, hand_over, load_inputs, usage_in_parts
from billing.money import NOUGHT
from billing.rating.engine import MonthRating
from billing.rating.model import Charge, DatedTariff, Position
from billing.simulations.model import Comparison, MonthSum, Row, Unpriced
from billing.tariffs import queries as tariffs
from billing.tariffs.model import Tariff
from metering.meters import queries as meters
from metering.periods import Month

Progress = Callable[[int, int], None]
Sums = dict[tuple[str, str], Decimal]
UnpricedSums = dict[tuple[str, str, str, str], Decimal]


def months_of(first: Month, last: Month) -> list[Month]:
    """Return the months from `first` to `last`, both included."""
    found = [first]
    while found[-1] < last:
        found.append(found[-1].next)
    return found


def compare(
    session: Session, *, tariff: Tariff, first: Month, last: Month, progress: Progress | None = None
) -> Comparison:
    """Price the months' usage of every account on the tariff as if the draft had been in force.

    The draft holds from the first day to the last, whatever its `effective_from`; agreements,
    memberships, local agreements and usage are the real ones. Pools are walked anew: a closed
    month's frozen price belongs to the old prices. Beside it stands what was charged: the
    charges of the same tariff as last rated.

    Args:
        progress: called with months done and months in all.

    Raises:
        TariffUnknown: there is no tariff of the draft's code.
    """
    source_id = tariffs.tariff(session, code=tariff.code).source_id
    codes = [meter.code for meter in meters.every(session, source_id=source_id)]
    names = {payer.ods_code: payer.account.name for payer in accounts.payers(session)}
    span = months_of(first, last)
    everywhere = replace(tariff, effective_from=min(tariff.effective_from, first.first_day))
    history: tuple[Position, ...] | None = None
    simulated: Sums = {}
    quantities: Sums = {}
    unpriced: UnpricedSums = {}
    monthly: list[tuple[Month, Decimal]] = []

    def add(rated: Iterable[Charge]) -> Decimal:
        total = NOUGHT
        for charge in rated:
            key = (charge.account, charge.meter or "")
            simulated[key] = simulated.get(key, NOUGHT) + charge.amount
            quantities[key] = quantities.get(key, Decimal(0)) + charge.quantity
            total += charge.amount
        return total

    for done, month in enumerate(span):
        if progress is not None:
            progress(done, len(span))
        inputs = load_inputs(session, month=month)
        rating = MonthRating(
            month=month,
            tariffs=[DatedTariff(everywhere)],
            # What came before the first month is real.
            history=[p for p in inputs.history if p.tariff == tariff.code]
            if history is None
            else hand_over(history, inputs.heirs),
        )
        total = NOUGHT
        for own in _own_charges(session, inputs, rating, tariff.code, codes):
            total += add(own)
        rest = rating.finish()
        total += add(rest.charges)
        history = rest.positions
        for parked in rest.parked:
            why = (parked.account, parked.meter, parked.reason, parked.detail)
            unpriced[why] = unpriced.get(why, Decimal(0)) + parked.quantity
        monthly.append((month, total))
    charged = charges.sums_by_account_and_meter(
        session, tariff_code=tariff.code, first=first, last=last
    )
    had = charges.sums_by_month(session, tariff_code=tariff.code, first=first, last=last)
    if progress is not None:
        progress(len(span), len(span))
    return Comparison(
        months=tuple(
            MonthSum(month=str(month), charged=had.get(month, NOUGHT), simulated=total)
            for month, total in monthly
        ),
        rows=tuple(
            Row(
                organisation=code,
                name=names.get(code, code),
                service=tariff.code,
                meter=meter,
                quantity=quantities.get((code, meter), Decimal(0)),
                charged=charged.get((code, meter), NOUGHT),
                simulated=simulated.get((code, meter), NOUGHT),
            )
            for code, meter in sorted(simulated.keys() | charged.keys())
        ),
        unpriced=tuple(
            Unpriced(
                organisation=code, meter=meter, reason=reason, detail=detail, quantity=quantity
            )
            for (code, meter, reason, detail), quantity in sorted(unpriced.items())
        ),
    )


def _own_charges(
    session: Session, inputs: MonthInputs, rating: MonthRating, tariff: str, meters: Sequence[str]
) -> Iterator[Iterable[Charge]]:
    """Rate everyone on the one tariff, a few accounts at a time."""
    agreements = {
        code: on_it
        for code, found in sorted(inputs.agreements.items())
        if (on_it := [agreement for agreement in found if agreement.tariff == tariff])
    }
    for some in usage_in_parts(session, inputs=inputs, codes=list(agreements), meters=meters):
        yield rating.add([item for code in some.codes for item in agreements[code]], some.usage)
