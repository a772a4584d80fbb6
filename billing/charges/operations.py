"""Rating a month for everyone, month to date: the charges are what should be invoiced.

A pass that finds nothing changed ends after one look at the readings. While a month is
open, a change of usage moves the pool's price for all its members, so all are rated and
those whose charges differ are written. Once a bill run has frozen the pools, only the
accounts whose own usage or agreement changed are rated, at the frozen price.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from billing.charges import writing
from billing.charges.inputs import MonthInputs, load_inputs, load_usage, quantities
from billing.charges.model import SharedKey, shared_key
from billing.charges.passing import fault_of, pass_over, rate_pools, rate_some
from billing.charges.queries import sum_of_charges
from billing.charges.tables import MonthRatingRow, PoolShareRow, PoolTotalRow, RatingRow
from billing.rating.model import Agreement, Charge, FrozenPool, PoolTotal, RatingResult, Usage
from billing.rating.pools import freeze
from metering.periods import Month

_LOG = logging.getLogger(__name__)
# Any constant: who rates a month takes (this, the month's number).
_LOCK = 7_201_960


@dataclass(frozen=True, kw_only=True)
class RatingCounts:
    """What one pass did.

    Attributes:
        rated: accounts rated.
        written: accounts whose charges were written.
        charges: charges of the accounts rated.
        parked: things set aside, see `parked_usage`.
        faults: accounts that could not be rated at all.
    """

    rated: int = 0
    written: int = 0
    charges: int = 0
    parked: int = 0
    faults: int = 0


def lock_month(session: Session, *, month: Month) -> None:
    """Let one transaction at a time rate, freeze or draft from a month."""
    session.execute(
        text("SELECT pg_advisory_xact_lock(:lock, :month)"),
        {"lock": _LOCK, "month": month.year * 12 + month.month},
    )


def rate_charges(session: Session, *, month: Month, now: datetime) -> RatingCounts:
    """Bring the month's charges up to its readings, agreements and versions.

    Usage that cannot be rated goes to `parked_usage` with its reason. An account that makes
    rating fail is set aside whole, loudly, and the others are rated.
    """
    lock_month(session, month=month)
    done = _pass(session, month=month, now=now, everyone=False)
    return RatingCounts() if done is None else done.counts


def freeze_month(session: Session, *, month: Month, now: datetime) -> int:
    """Rate the month and take its pool totals for good; return how many were frozen.

    Idempotent: a month that is frozen keeps what it has.
    """
    lock_month(session, month=month)
    row = session.get(MonthRatingRow, month.first_day, populate_existing=True)
    if row is not None and row.frozen_at is not None:
        return 0
    done = _pass(session, month=month, now=now, everyone=True)
    assert done is not None
    pools = _pools(done.result.pools, done.shared)
    for pool in pools.values():
        writing.write_frozen(session, inputs=done.inputs, pool=pool, now=now)
    done.row.frozen_at = now
    session.flush()
    return len(pools)


@dataclass(frozen=True, kw_only=True)
class _Done:
    counts: RatingCounts
    inputs: MonthInputs
    shared: tuple[Charge, ...]
    result: RatingResult
    row: MonthRatingRow


def _pass(session: Session, *, month: Month, now: datetime, everyone: bool) -> _Done | None:
    """Rate what changed, or everyone; return None where nothing changed."""
    inputs = load_inputs(session, month=month)
    fingerprints = inputs.account_fingerprints()
    whole = inputs.fingerprint(fingerprints)
    row = session.get(MonthRatingRow, month.first_day, populate_existing=True)
    if row is not None and row.fingerprint == whole and not everyone:
        return None
    before: dict[str, tuple[str, bytes | None]] = {
        account_id: (given, marks)
        for account_id, given, marks in session.execute(
            select(RatingRow.account_id, RatingRow.input_fingerprint, RatingRow.charge_marks).where(
                RatingRow.month == month.first_day
            )
        )
    }
    some = None if everyone else _to_rate(inputs, fingerprints, before)
    codes = sorted({*inputs.account_ids, *inputs.signatures} if some is None else some)
    passed = pass_over(
        session,
        inputs=inputs,
        codes=codes,
        before={account_id: marks for account_id, (_, marks) in before.items()},
        # What freezing a pool keeps of each member comes from its charges.
        keep_shared=everyone or inputs.is_frozen,
    )
    result, faults = passed.rest, passed.faults
    writing.write_ratings(
        session,
        inputs=inputs,
        positions=result.positions,
        faults=faults,
        codes=codes,
        fingerprints=fingerprints,
        before=before,
        marks=passed.marks,
        now=now,
    )
    parked = writing.write_parked(
        session,
        inputs=inputs,
        parked=result.parked,
        faults=faults,
        left_out=quantities(
            load_usage(session, inputs=inputs, codes=sorted(faults)) if faults else ()
        ),
        codes=codes,
        now=now,
    )
    writing.write_pools(session, inputs=inputs, result=result, whole=some is None, now=now)
    if row is None:
        row = MonthRatingRow(month=month.first_day, positions=[], frozen_at=None)
        session.add(row)
    row.fingerprint = whole
    row.rated_at = now
    row.amount = sum_of_charges(session, month=month)
    if some is None:
        row.positions = writing.joint_positions(result)
    session.flush()
    if inputs.is_frozen:
        # A price that nobody had used when the month closed is frozen at its first use.
        had = {shared_key(pool) for pool in inputs.frozen}
        for key, pool in _pools(result.pools, passed.shared).items():
            if key not in had:
                writing.write_frozen(session, inputs=inputs, pool=pool, now=now)
        session.flush()
    counts = RatingCounts(
        rated=len(fingerprints) if some is None else len(some),
        written=passed.written,
        charges=passed.charges,
        parked=parked,
        faults=len(faults),
    )
    return _Done(counts=counts, inputs=inputs, shared=passed.shared, result=result, row=row)


def thaw_month(session: Session, *, month: Month) -> None:
    """Open a frozen month again, before anything of it was approved."""
    lock_month(session, month=month)
    session.execute(delete(PoolShareRow).where(PoolShareRow.month == month.first_day))
    for pool in session.scalars(select(PoolTotalRow).where(PoolTotalRow.month == month.first_day)):
        pool.frozen_at = None
    row = session.get(MonthRatingRow, month.first_day)
    if row is not None:
        row.frozen_at = None
        row.fingerprint = "thawed"
    session.flush()


def refresh_true_ups(session: Session, *, month: Month) -> int:
    """Work out again what a closed month's late usage leaves to the central team.

    Returns the number of pools whose true-up changed. No charge is touched.
    """
    lock_month(session, month=month)
    inputs = load_inputs(session, month=month)
    if not inputs.is_frozen:
        return 0
    result = rate_pools(session, inputs=inputs)
    return writing.write_true_ups(session, inputs=inputs, result=result)


def _to_rate(
    inputs: MonthInputs,
    fingerprints: Mapping[str, str],
    before: Mapping[str, tuple[str, bytes | None]],
) -> list[str] | None:
    """Return the ODS codes to rate, None for everyone."""
    code_of = {account_id: code for code, account_id in inputs.account_ids.items()}
    known = {code_of[account_id]: given for account_id, (given, _) in before.items()}
    changed = [
        code for code in inputs.account_ids if fingerprints.get(code, "") != known.get(code, "")
    ]
    shared = any(price.shared for item in inputs.versions for price in item.tariff.prices) or any(
        terms.group is not None
        for found in inputs.agreements.values()
        for agreement in found
        for terms in agreement.terms
    )
    if not before or (shared and not (inputs.is_frozen and _pools_known(inputs))):
        return None
    strangers = [code for code in inputs.signatures if code not in inputs.account_ids]
    if strangers:
        # Usage of an organisation without an account is parked by looking at all of it.
        return None
    return changed


def _pools_known(inputs: MonthInputs) -> bool:
    """Say whether every pooled price in force was frozen when the month closed."""
    frozen = {(pool.tariff, pool.version, pool.price_key) for pool in inputs.frozen}
    return all(
        (item.tariff.code, item.tariff.version, price.key) in frozen
        for item in inputs.versions
        for price in item.tariff.prices
        if price.scope == "pool"
    ) and not any(
        price.scope == "group" for item in inputs.versions for price in item.tariff.prices
    )


def rate_inputs(
    inputs: MonthInputs, agreements: Mapping[str, list[Agreement]], usage: list[Usage]
) -> tuple[RatingResult, dict[str, str]]:
    """Rate usage, real or supposed, on a month's agreements and versions.

    Where that fails, find whose contradictions make it fail and rate the rest.

    Returns:
        What rating says, and by ODS code why an account could not be rated.
    """
    faults = {code: why for code, why in inputs.terms_faults.items() if code in agreements}
    good = {code: found for code, found in agreements.items() if code not in faults}
    try:
        return rate_some(inputs, good, [u for u in usage if u.account not in faults]), faults
    except Exception:
        _LOG.exception("rating %s failed; looking for the accounts at fault", inputs.month)
    by_account: dict[str, list[Usage]] = {}
    for item in usage:
        by_account.setdefault(item.account, []).append(item)
    for code in good:
        why = fault_of(inputs, code, by_account.get(code, []))
        if why is not None:
            faults[code] = why
    good = {code: found for code, found in good.items() if code not in faults}
    return rate_some(inputs, good, [u for u in usage if u.account not in faults]), faults


def _pools(pools: Iterable[PoolTotal], charges: Iterable[Charge]) -> dict[SharedKey, FrozenPool]:
    """Return each pool that has a blended price, frozen with the shares of its charges."""
    members: dict[tuple[str, str, str, str, str | None], list[Charge]] = {}
    for charge in charges:
        if charge.scope != "own":
            members.setdefault(
                (charge.tariff, charge.version, charge.price_key, charge.scope, charge.group), []
            ).append(charge)
    return {
        shared_key(pool): freeze(
            pool,
            members.get((pool.tariff, pool.version, pool.price_key, pool.scope, pool.group), ()),
        )
        for pool in pools
        if pool.blended_price is not None
    }
