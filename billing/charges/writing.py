"""Writing what rating says besides charges, set-wise: ratings, pools, what is parked."""

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from billing.charges.inputs import MonthInputs
from billing.charges.model import digest, fraction_text, position_json, shared_key
from billing.charges.tables import (
    ParkedUsageRow,
    PoolShareRow,
    PoolTotalRow,
    RatingRow,
)
from billing.rating.model import FrozenPool, Parked, PoolTotal, Position, RatingResult
from billing.rating.numbers import exact_text


def write_ratings(
    session: Session,
    *,
    inputs: MonthInputs,
    positions: Iterable[Position],
    faults: Collection[str],
    codes: Collection[str],
    fingerprints: Mapping[str, str],
    before: Mapping[str, tuple[str, bytes | None]],
    marks: Mapping[str, bytes],
    now: datetime,
) -> None:
    """Write what the accounts of the ODS codes were worked out from.

    Args:
        positions: of everyone; the joint ones are passed over.
        faults: ODS codes of who could not be rated at all.
        before: input fingerprint and marks by account id, as last written.
        marks: of the charges, by account id, see `ChargeKeeper`.
    """
    month = inputs.month.first_day
    said: dict[str, list[dict[str, Any]]] = {}
    for position in positions:
        if position.account is not None:
            said.setdefault(position.account, []).append(position_json(position))
    ratings = [
        {
            "account_id": account_id,
            "month": month,
            "input_fingerprint": "" if code in faults else fingerprints.get(code, ""),
            "charge_marks": marks[account_id],
            "rated_at": now,
            "readings_at": now,
            "positions": said.get(code, []),
        }
        for code in sorted(codes)
        if (account_id := inputs.account_ids.get(code)) is not None
        and (code in fingerprints or account_id in before)
    ]
    if ratings:
        statement = upsert(RatingRow)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["account_id", "month"],
                set_={
                    name: statement.excluded[name]
                    for name in (
                        "input_fingerprint",
                        "charge_marks",
                        "rated_at",
                        "readings_at",
                        "positions",
                    )
                },
            ),
            ratings,
        )


def write_parked(
    session: Session,
    *,
    inputs: MonthInputs,
    parked: Iterable[Parked],
    faults: Mapping[str, str],
    left_out: Mapping[tuple[str, str], Decimal],
    codes: Collection[str],
    now: datetime,
) -> int:
    """Write parked usage of the ODS codes that were rated; return how many things are parked.

    Args:
        faults: why an account could not be rated at all, by ODS code.
        left_out: what those accounts used, by ODS code and meter.
        codes: who was rated; what is no longer said of them is removed.
    """
    month = inputs.month
    rows: dict[str, dict[str, Any]] = {}
    for item in parked:
        _park(
            rows,
            inputs,
            organisation=item.account,
            meter=item.meter,
            dimensions=dict(item.dimensions),
            quantity=item.quantity,
            code=item.reason,
            detail=item.detail,
            facts={
                "readings": item.lines,
                "first_on": item.first_day.isoformat(),
                "end_on": item.end_day.isoformat(),
            },
            now=now,
        )
    for code, why in faults.items():
        used = {meter: q for (account, meter), q in left_out.items() if account == code}
        for meter, quantity in (used or {"": Decimal(0)}).items():
            _park(
                rows,
                inputs,
                organisation=code,
                meter=meter,
                dimensions={},
                quantity=quantity,
                code="account-contradiction",
                detail=why,
                facts={},
                now=now,
            )
    session.execute(
        delete(ParkedUsageRow).where(
            ParkedUsageRow.month == month.first_day,
            ParkedUsageRow.organisation.in_(list(codes)),
            ParkedUsageRow.id.not_in(list(rows)),
        )
    )
    if rows:
        statement = upsert(ParkedUsageRow)
        session.execute(
            # parked_at stays as it was: it tells how long the usage has waited.
            statement.on_conflict_do_update(
                index_elements=["id"],
                set_={
                    name: statement.excluded[name]
                    for name in ("account_id", "quantity", "detail", "facts")
                },
            ),
            list(rows.values()),
        )
    return len(rows)


def _park(
    rows: dict[str, dict[str, Any]],
    inputs: MonthInputs,
    *,
    organisation: str,
    meter: str,
    dimensions: dict[str, str],
    code: str,
    now: datetime,
    **said: Any,
) -> None:
    month = inputs.month
    key = "prk_" + digest(
        str(month), organisation, meter, json.dumps(dimensions, sort_keys=True), code
    )
    rows[key] = {
        "id": key,
        "month": month.first_day,
        "account_id": inputs.account_ids.get(organisation),
        "organisation": organisation,
        "meter": meter,
        "dimensions": dimensions,
        "code": code,
        "parked_at": now,
        **said,
    }


def write_pools(
    session: Session, *, inputs: MonthInputs, result: RatingResult, whole: bool, now: datetime
) -> None:
    """Write pool totals of an open month; of a closed one only those that are new to it.

    Args:
        whole: whether everyone was rated; only then are totals no longer said removed.
    """
    month = inputs.month.first_day
    had = {shared_key(pool) for pool in inputs.frozen}
    if whole and not inputs.is_frozen:
        session.execute(delete(PoolTotalRow).where(PoolTotalRow.month == month))
    rows = [_pool_row(inputs, pool, now) for pool in result.pools if shared_key(pool) not in had]
    if rows:
        statement = upsert(PoolTotalRow)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=[
                    "month",
                    "version_id",
                    "price_key",
                    "scope",
                    "group_code",
                    "terms_code",
                ],
                set_={name: statement.excluded[name] for name in _POOL_FIGURES},
            ),
            rows,
        )


_POOL_FIGURES = (
    "label",
    "quantity",
    "joint_quantity",
    "joint_amount",
    "blended_price",
    "blended_fraction",
    "amount",
    "saving",
    "true_up",
    "member_count",
    "taken_at",
)


def _pool_row(inputs: MonthInputs, pool: PoolTotal, now: datetime) -> dict[str, Any]:
    blended = pool.blended_price
    return {
        **_pool_key(inputs, pool),
        "label": pool.label,
        "quantity": Decimal(exact_text(pool.quantity)),
        "joint_quantity": Decimal(exact_text(pool.joint_quantity)),
        "joint_amount": Decimal(exact_text(pool.joint_amount)),
        "blended_price": None if blended is None else Decimal(exact_text(blended)),
        "blended_fraction": None if blended is None else fraction_text(blended),
        "amount": pool.amount,
        "saving": pool.saving,
        "true_up": Decimal(exact_text(pool.true_up)),
        "member_count": pool.members,
        "taken_at": now,
        "frozen_at": None,
    }


def _pool_key(inputs: MonthInputs, pool: PoolTotal | FrozenPool) -> dict[str, Any]:
    return {
        "month": inputs.month.first_day,
        "version_id": inputs.version_ids[pool.tariff, pool.version],
        "price_key": pool.price_key,
        "scope": pool.scope,
        "group_code": pool.group or "",
        "terms_code": pool.terms or "",
    }


def write_frozen(session: Session, *, inputs: MonthInputs, pool: FrozenPool, now: datetime) -> None:
    """Freeze a pool: mark its total and keep each member's share."""
    key = _pool_key(inputs, pool)
    session.execute(
        update(PoolTotalRow)
        .where(*(getattr(PoolTotalRow, name) == value for name, value in key.items()))
        .values(frozen_at=now)
    )
    if pool.shares:
        session.execute(
            insert(PoolShareRow),
            [
                {
                    **key,
                    "account_id": inputs.account_ids[code],
                    "exact": fraction_text(share.exact),
                    "amount": share.amount,
                }
                for code, share in pool.shares.items()
            ],
        )


def write_true_ups(session: Session, *, inputs: MonthInputs, result: RatingResult) -> int:
    """Write the true-ups of a closed month's pools; return how many changed."""
    had = {
        tuple(row[:5]): row.true_up
        for row in session.execute(
            select(
                PoolTotalRow.version_id,
                PoolTotalRow.price_key,
                PoolTotalRow.scope,
                PoolTotalRow.group_code,
                PoolTotalRow.terms_code,
                PoolTotalRow.true_up,
            ).where(PoolTotalRow.month == inputs.month.first_day)
        )
    }
    changed = []
    for pool in result.pools:
        key = _pool_key(inputs, pool)
        true_up = Decimal(exact_text(pool.true_up))
        if had.get(tuple(value for name, value in key.items() if name != "month")) != true_up:
            changed.append({f"k_{name}": value for name, value in key.items()} | {"t": true_up})
    if changed:
        session.connection().execute(
            update(PoolTotalRow)
            .where(
                *(
                    getattr(PoolTotalRow, name) == bindparam(f"k_{name}")
                    for name in (
                        "month",
                        "version_id",
                        "price_key",
                        "scope",
                        "group_code",
                        "terms_code",
                    )
                )
            )
            .values(true_up=bindparam("t")),
            changed,
        )
    return len(changed)


def joint_positions(result: RatingResult) -> list[dict[str, Any]]:
    """Return where groups and pools stand in the financial year, as JSON."""
    return [position_json(item) for item in result.positions if item.account is None]
