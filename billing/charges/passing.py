"""One pass of rating over a month: a few accounts at a time, what they share at the end.

Charges are written as they are priced, so a pass holds the usage of a few accounts, the lines
of shared prices, and little of each account. Where something makes rating fail, what was
written is taken back, whoever is at fault is found and set aside, and the others are rated.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from sqlalchemy.orm import Session

from billing.charges.inputs import MonthInputs, load_usage, usage_in_parts
from billing.charges.keeping import ChargeKeeper
from billing.rating.engine import MonthRating, rate_month
from billing.rating.model import Agreement, Charge, RatingResult, Usage

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
Agreements = Mapping[str, Sequence[Agreement]]


class CannotBeRated(Exception):
    """Rating these accounts together failed; the cause is what failed."""


@dataclass(frozen=True, kw_only=True)
class Passed:
    """What a pass came to.

    Attributes:
        rest: pools, parked usage, positions, and of the charges the shortfalls alone.
        shared: charges of shared prices, where they were to be kept.
        marks: of every account's charges, by account id.
        written: accounts whose charges were written.
        charges: how many there are, of everyone rated.
        faults: by ODS code, why an account could not be rated.
    """

    rest: RatingResult
    shared: tuple[Charge, ...]
    marks: Mapping[str, bytes]
    written: int
    charges: int
    faults: Mapping[str, str] = field(default_factory=dict)


def pass_over(
    session: Session,
    *,
    inputs: MonthInputs,
    codes: Sequence[str],
    before: Mapping[str, bytes | None],
    keep_shared: bool = False,
) -> Passed:
    """Rate the ODS codes and write their charges.

    Args:
        keep_shared: whether the charges of shared prices are wanted back.
        codes: with or without an account; a shared price needs every member's.
        before: marks by account id, as last written.
    """
    return _without_faults(
        session,
        inputs,
        codes,
        lambda faults: _attempt(session, inputs, codes, before, faults, keep_shared=keep_shared),
    )


def _without_faults(
    session: Session,
    inputs: MonthInputs,
    codes: Sequence[str],
    work: Callable[[Mapping[str, str]], T],
) -> T:
    """Do the work without the accounts that make rating fail; it is told why, by ODS code."""
    faults = {code: why for code, why in inputs.terms_faults.items() if code in set(codes)}
    try:
        return work(faults)
    except CannotBeRated:
        _LOG.exception("rating %s failed; looking for the accounts at fault", inputs.month)
    for code in codes:
        if code not in faults:
            usage = load_usage(session, inputs=inputs, codes=[code])
            why = fault_of(inputs, code, usage)
            if why is not None:
                faults[code] = why
    return work(faults)


def rate_pools(session: Session, *, inputs: MonthInputs) -> RatingResult:
    """Rate what is shared alone, and write nothing; only the pools of the result are whole."""
    prices = [price for version in inputs.versions for price in version.tariff.prices]
    for found in inputs.agreements.values():
        prices += [price for item in found for terms in item.terms for price in terms.prices]
    meters = sorted({price.meter for price in prices if price.shared and price.meter is not None})
    codes = sorted({*inputs.agreements, *inputs.signatures})

    def work(faults: Mapping[str, str]) -> RatingResult:
        rating = _month_rating(inputs)
        left = [code for code in codes if code not in faults]
        for some in usage_in_parts(session, inputs=inputs, codes=left, meters=meters):
            agreements = [item for code in some.codes for item in inputs.agreements.get(code, ())]
            _rated(partial(rating.add, agreements, some.usage))
        shared = rating.shared()
        while _rated(partial(next, shared, ())):
            pass
        return _rated(rating.finish)

    return _without_faults(session, inputs, codes, work)


def fault_of(inputs: MonthInputs, code: str, usage: Iterable[Usage]) -> str | None:
    """Return why an account cannot be rated even by itself, None where it can."""
    try:
        rate_some(inputs, {code: inputs.agreements.get(code, ())}, usage)
    except Exception as error:
        _LOG.exception("account %s cannot be rated for %s", code, inputs.month)
        return f"Rating failed: {error}"
    return None


def rate_some(inputs: MonthInputs, agreements: Agreements, usage: Iterable[Usage]) -> RatingResult:
    """Rate usage, real or supposed, of some accounts, in memory."""
    return rate_month(
        month=inputs.month,
        tariffs=inputs.versions,
        agreements=[item for found in agreements.values() for item in found],
        usage=usage,
        history=inputs.history,
        frozen=inputs.frozen,
    )


def _month_rating(inputs: MonthInputs) -> MonthRating:
    return MonthRating(
        month=inputs.month,
        tariffs=inputs.versions,
        history=inputs.history,
        frozen=inputs.frozen,
    )


def _rated(work: Callable[[], T]) -> T:
    """Do a piece of rating; what goes wrong in it is some account's, not the database's."""
    try:
        return work()
    except Exception as error:
        raise CannotBeRated from error


def _attempt(
    session: Session,
    inputs: MonthInputs,
    codes: Sequence[str],
    before: Mapping[str, bytes | None],
    faults: Mapping[str, str],
    *,
    keep_shared: bool,
) -> Passed:
    account_ids = [inputs.account_ids[code] for code in codes if code in inputs.account_ids]
    marks_before = {account_id: before.get(account_id, b"") for account_id in account_ids}
    rating = _month_rating(inputs)
    count = 0
    with (
        session.begin_nested(),
        ChargeKeeper(session, inputs=inputs, before=marks_before) as keeper,
    ):
        wanted = [code for code in codes if code not in faults]
        usage = usage_in_parts(session, inputs=inputs, codes=wanted)
        found = next(usage, None)
        while found is not None:
            agreements = [item for code in found.codes for item in inputs.agreements.get(code, ())]
            charges = _rated(partial(rating.add, agreements, found.usage))
            count += len(charges)
            writing = keeper.compare(charges)
            # The next usage is read before these charges are written, and priced while they are.
            keeper.wait()
            found = next(usage, None)
            keeper.begin(writing)
        kept: list[Charge] = []
        shared = rating.shared()
        while some := _rated(partial(next, shared, ())):
            count += len(some)
            keeper.begin(keeper.compare(some))
            if keep_shared:
                kept += some
        rest = _rated(rating.finish)
        count += len(rest.charges)
        keeper.begin(keeper.compare(rest.charges))
        marks = keeper.close(account_ids)
    return Passed(
        rest=rest,
        shared=tuple(kept),
        marks=marks,
        written=len(keeper.changed),
        charges=count,
        faults=faults,
    )
