"""Say which cost centres bear an account's lines; the trust's own choice, dated."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.accounts import queries
from billing.accounts.allocation import CostShare, share_faults
from billing.accounts.operations import BadDates
from billing.accounts.tables import AllocationRuleRow
from billing.tariffs import queries as tariff_queries
from metering.kit import audit
from metering.kit.errors import Conflict, FieldError, Invalid, NotFound
from metering.kit.ids import new_id
from metering.periods import show_date


class CostAllocationInvalid(Invalid):
    """Shares are percentages of named cost centres that sum to 100."""

    code = "cost-allocation-invalid"
    title = "The allocation is not complete"


class CostAllocationOverlaps(Conflict):
    """Another rule for the same lines holds for some of those days."""

    code = "cost-allocation-overlaps"
    title = "Another allocation holds then"


class CostAllocationUnknown(NotFound):
    """The account has no such allocation rule."""

    code = "cost-allocation-unknown"
    title = "No such cost allocation"


def set_allocation(
    session: Session,
    *,
    account_id: str,
    shares: Sequence[CostShare],
    starts_on: date,
    principal: str,
    now: datetime,
    tariff_code: str | None = None,
    meter: str | None = None,
    dimensions: Mapping[str, str] | None = None,
    ends_on: date | None = None,
) -> AllocationRuleRow:
    """Let cost centres bear lines from `starts_on`, ending an earlier open rule for the same.

    The last rule for the same lines, if it starts that very day, gets the new shares. Lines on
    documents already issued keep theirs.

    Args:
        tariff_code, meter, dimensions: which lines; a meter needs its service.

    Raises:
        AccountUnknown, TariffUnknown, CostAllocationInvalid, CostAllocationOverlaps, BadDates.
    """
    queries.account(session, account_id=account_id)
    if tariff_code is not None:
        tariff_queries.tariff(session, code=tariff_code)
    faults = share_faults(shares)
    if meter is not None and tariff_code is None:
        faults.append("Name the service of the meter.")
    if faults:
        detail = " ".join(faults)
        raise CostAllocationInvalid(detail, errors=(FieldError("/shares", "invalid", detail),))
    if ends_on is not None and ends_on <= starts_on:
        raise BadDates("An allocation ends after it starts.")
    where = dict(sorted((dimensions or {}).items()))
    selector = json.dumps(where, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    others = session.scalars(
        select(AllocationRuleRow).where(
            AllocationRuleRow.account_id == account_id,
            AllocationRuleRow.tariff_code.is_not_distinct_from(tariff_code),
            AllocationRuleRow.meter.is_not_distinct_from(meter),
            AllocationRuleRow.selector == selector,
        )
    ).all()
    for other in others:
        later = any(one.starts_on > starts_on for one in others)
        if other.starts_on == starts_on and ends_on is None and not later:
            other.shares = [share.to_json() for share in shares]
            other.ends_on = None
            session.flush()
            _note(session, "set allocation", other, principal, now)
            return other
        if other.ends_on is None and other.starts_on < starts_on:
            other.ends_on = starts_on
        elif (other.ends_on is None or other.ends_on > starts_on) and (
            ends_on is None or other.starts_on < ends_on
        ):
            raise CostAllocationOverlaps(f"Another holds from {show_date(other.starts_on)}.")
    session.flush()
    row = AllocationRuleRow(
        account_id=account_id,
        id=new_id("alr", now=now),
        tariff_code=tariff_code,
        meter=meter,
        dimensions=where,
        selector=selector,
        starts_on=starts_on,
        ends_on=ends_on,
        shares=[share.to_json() for share in shares],
        created_at=now,
    )
    session.add(row)
    session.flush()
    _note(session, "set allocation", row, principal, now)
    return row


def end_allocation(
    session: Session,
    *,
    account_id: str,
    rule_id: str,
    ends_on: date,
    principal: str,
    now: datetime,
) -> None:
    """End a rule: `ends_on` is the first London date that it no longer covers.

    A rule is never removed, so it covers its first day at least.

    Raises:
        CostAllocationUnknown; BadDates: it would end later than it does.
    """
    row = session.get(AllocationRuleRow, (account_id, rule_id))
    if row is None:
        raise CostAllocationUnknown(f"The account has no allocation rule {rule_id}.")
    if row.ends_on is not None and ends_on > row.ends_on:
        raise BadDates("An allocation ends not later than it did.")
    row.ends_on = max(ends_on, row.starts_on + timedelta(days=1))
    session.flush()
    _note(session, "end allocation", row, principal, now)


def _note(
    session: Session, action: str, row: AllocationRuleRow, principal: str, now: datetime
) -> None:
    audit.record(
        session,
        now=now,
        principal=principal,
        action=action,
        object_kind="account",
        object_id=row.account_id,
        facts={
            "rule": row.id,
            "tariff": row.tariff_code,
            "meter": row.meter,
            "dimensions": row.dimensions,
            "shares": row.shares,
        },
    )
