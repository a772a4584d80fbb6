"""Which cost centre bears a line: the account's own rules, dated; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from billing.accounts.model import covers
from billing.money import NOUGHT, plain, to_pennies

WHOLE = Decimal(100)


@dataclass(frozen=True, kw_only=True)
class CostShare:
    """Part of a line that one cost centre bears; `percent` of the line's net."""

    cost_centre: str
    subjective_code: str | None
    percent: Decimal

    def to_json(self) -> dict[str, str | None]:
        """Return JSON that `read_share` reads back."""
        return {
            "cost_centre": self.cost_centre,
            "subjective_code": self.subjective_code,
            "percent": plain(self.percent),
        }


def read_share(said: Mapping[str, Any]) -> CostShare:
    """Read what `CostShare.to_json` wrote."""
    return CostShare(
        cost_centre=said["cost_centre"],
        subjective_code=said["subjective_code"],
        percent=Decimal(said["percent"]),
    )


@dataclass(frozen=True, kw_only=True)
class AllocationRule:
    """Who bears lines of some service, meter and dimensions on London dates [starts, ends).

    Attributes:
        tariff_code: the service, None for every service.
        meter: the meter's code, None for all of the service.
        where: dimension values that the line must have, sorted by name.
        shares: percentages that sum to 100, in the order of printing.
    """

    starts_on: date
    shares: tuple[CostShare, ...]
    ends_on: date | None = None
    tariff_code: str | None = None
    meter: str | None = None
    where: tuple[tuple[str, str], ...] = ()

    @property
    def conditions(self) -> int:
        """How specific the rule is: one for each of service, meter and dimension."""
        return (self.tariff_code is not None) + (self.meter is not None) + len(self.where)

    def fits(self, *, tariff_code: str, meter: str, dimensions: Mapping[str, str]) -> bool:
        """Say whether the rule is about lines like this."""
        return (
            self.tariff_code in (None, tariff_code)
            and self.meter in (None, meter)
            and all(dimensions.get(name) == value for name, value in self.where)
        )


def share_faults(shares: Sequence[CostShare]) -> list[str]:
    """Return why shares cannot be used, in words; empty where they can."""
    faults = []
    if not shares or any(share.percent <= 0 for share in shares):
        faults.append("Give each cost centre a share above nought.")
    whole = sum((share.percent for share in shares), Decimal(0))
    if shares and whole != WHOLE:
        faults.append(f"The shares must sum to 100%; these sum to {plain(whole)}%.")
    if any(share.percent != share.percent.quantize(Decimal("0.0001")) for share in shares):
        faults.append("A share has at most four decimal places.")
    if any(not share.cost_centre.strip() or len(share.cost_centre) > 50 for share in shares) or any(
        len(share.subjective_code or "") > 50 for share in shares
    ):
        faults.append("A cost centre has 1 to 50 characters, a subjective code at most 50.")
    codes = [(share.cost_centre, share.subjective_code) for share in shares]
    if len(set(codes)) != len(codes):
        faults.append("Name each cost centre and subjective code once.")
    return faults


def borne_by(rule: AllocationRule | None, cost_centre: str, amount: Decimal) -> Decimal:
    """Return the pounds and pence of an amount that a cost centre bears under a rule."""
    if rule is None:
        return NOUGHT
    percent = sum(
        (share.percent for share in rule.shares if share.cost_centre == cost_centre), Decimal(0)
    )
    return to_pennies(amount * percent / WHOLE)


def rule_for(
    rules: Iterable[AllocationRule],
    *,
    tariff_code: str,
    meter: str,
    dimensions: Mapping[str, str],
    day: date,
) -> AllocationRule | None:
    """Return the rule for a line that ends on `day`: the most specific, then the latest begun.

    Of several that are equally specific and began together, the first by service, meter and
    dimensions, so that the answer never depends on the order of rows.
    """
    found = [
        rule
        for rule in rules
        if covers(rule.starts_on, rule.ends_on, day)
        and rule.fits(tariff_code=tariff_code, meter=meter, dimensions=dimensions)
    ]
    found.sort(key=lambda rule: (rule.tariff_code or "", rule.meter or "", rule.where))
    found.sort(key=lambda rule: (rule.conditions, rule.starts_on), reverse=True)
    return found[0] if found else None
