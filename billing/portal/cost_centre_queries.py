"""Reads for the page of cost centres: the rules in the words of services and meters."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.accounts import queries as accounts
from billing.accounts.allocation import CostShare, read_share
from billing.accounts.tables import AllocationRuleRow
from billing.portal.budget_queries import tariff_names
from metering.meters.tables import MeterRow


@dataclass(frozen=True)
class RuleSeen:
    """A rule with the names that pages show."""

    row: AllocationRuleRow
    what: str
    shares: tuple[CostShare, ...]


def account_rules(session: Session, *, account_id: str) -> list[RuleSeen]:
    """Return an account's rules: the general before the special, then the latest first."""
    rows = accounts.allocation_rows(session, account_id=account_id)
    if not rows:
        return []
    names = tariff_names(session)
    meters = {
        row.code: row
        for row in session.scalars(
            select(MeterRow).where(MeterRow.code.in_({r.meter for r in rows}))
        )
    }
    found = []
    for row in rows:
        parts = ["Every service" if row.tariff_code is None else names[row.tariff_code]]
        if row.meter is not None:
            meter = meters.get(row.meter)
            parts.append(row.meter if meter is None else meter.name)
        for name, value in sorted(row.dimensions.items()):
            meter = meters.get(row.meter or "")
            said = {} if meter is None else meter.dimensions.get(name, {})
            parts.append(f"{said.get('label') or name} {value}")
        found.append(
            RuleSeen(row, ", ".join(parts), tuple(read_share(share) for share in row.shares))
        )
    found.sort(key=lambda one: one.row.starts_on, reverse=True)
    found.sort(key=lambda one: one.what if one.row.tariff_code else "")
    return found


def dimension_names(session: Session, *, meter: str) -> dict[str, str]:
    """Return the dimensions of a meter: by the name in events, and by its label, the name."""
    row = session.scalar(select(MeterRow).where(MeterRow.code == meter))
    if row is None:
        return {}
    return {
        words.casefold(): name
        for name, said in row.dimensions.items()
        for words in (name, said.get("label") or name)
    }
