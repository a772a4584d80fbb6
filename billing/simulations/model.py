"""What a simulation says: sums, gainers and losers, biggest movers. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from billing.money import NOUGHT, plain, sum_pounds

MOVERS = 10
LONGEST_MONTHS = 24


@dataclass(frozen=True, kw_only=True)
class Row:
    """One account's use of one meter of a service over the whole span.

    Attributes:
        organisation: ODS code.
        name: of the account.
        service: tariff code.
        meter: empty for amounts that count nothing (monthly charges, shortfalls).
        quantity: as metered, that the draft prices.
        charged: pounds and pence, without VAT, as rated and charged.
        simulated: the same under the draft.
    """

    organisation: str
    name: str
    service: str
    meter: str
    quantity: Decimal
    charged: Decimal
    simulated: Decimal

    @property
    def difference(self) -> Decimal:
        """Pounds more (or, negative, less) under the draft."""
        return self.simulated - self.charged


@dataclass(frozen=True, kw_only=True)
class MonthSum:
    """The nation in one month (`YYYY-MM`)."""

    month: str
    charged: Decimal
    simulated: Decimal

    @property
    def difference(self) -> Decimal:
        """Pounds more (or, negative, less) under the draft."""
        return self.simulated - self.charged


@dataclass(frozen=True, kw_only=True)
class Unpriced:
    """Usage that the draft has no price for: on an invoice it would be parked."""

    organisation: str
    meter: str
    reason: str
    detail: str
    quantity: Decimal


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A whole simulation."""

    months: tuple[MonthSum, ...]
    rows: tuple[Row, ...]
    unpriced: tuple[Unpriced, ...]

    @property
    def charged(self) -> Decimal:
        """National total as charged."""
        return sum_pounds([month.charged for month in self.months])

    @property
    def simulated(self) -> Decimal:
        """National total under the draft."""
        return sum_pounds([month.simulated for month in self.months])

    @property
    def difference(self) -> Decimal:
        """Pounds more (or, negative, less) under the draft."""
        return self.simulated - self.charged

    def by_account(self) -> tuple[Row, ...]:
        """Each account's sum, by ODS code; `service` and `meter` are empty, quantity nought."""
        return _summed(self.rows, lambda row: (row.organisation, row.name, "", ""))

    def by_service(self) -> tuple[Row, ...]:
        """Each service's sum; account and meter are empty, quantity nought."""
        return _summed(self.rows, lambda row: ("", "", row.service, ""))

    def by_meter(self) -> tuple[Row, ...]:
        """Each meter's sum, with its quantity; the account is empty."""
        return _summed(self.rows, lambda row: ("", "", row.service, row.meter), keep=True)

    def gainers(self) -> int:
        """How many accounts would have paid less."""
        return sum(row.difference < 0 for row in self.by_account())

    def losers(self) -> int:
        """How many accounts would have paid more."""
        return sum(row.difference > 0 for row in self.by_account())

    def movers(self, *, most: int = MOVERS) -> tuple[Row, ...]:
        """Return the accounts whose total changes most, either way, largest first."""
        moved = [row for row in self.by_account() if row.difference]
        moved.sort(key=lambda row: (-abs(row.difference), row.organisation))
        return tuple(moved[:most])

    def to_json(self) -> dict[str, Any]:
        """Return JSON that `read_comparison` reads back equal."""
        return {
            "months": [[m.month, str(m.charged), str(m.simulated)] for m in self.months],
            "rows": [
                [
                    row.organisation,
                    row.name,
                    row.service,
                    row.meter,
                    plain(row.quantity),
                    str(row.charged),
                    str(row.simulated),
                ]
                for row in self.rows
            ],
            "unpriced": [
                [item.organisation, item.meter, item.reason, item.detail, plain(item.quantity)]
                for item in self.unpriced
            ],
        }


def read_comparison(said: Mapping[str, Any]) -> Comparison:
    """Read what `Comparison.to_json` wrote."""
    return Comparison(
        months=tuple(
            MonthSum(month=month, charged=Decimal(charged), simulated=Decimal(simulated))
            for month, charged, simulated in said["months"]
        ),
        rows=tuple(
            Row(
                organisation=organisation,
                name=name,
                service=service,
                meter=meter,
                quantity=Decimal(quantity),
                charged=Decimal(charged),
                simulated=Decimal(simulated),
            )
            for organisation, name, service, meter, quantity, charged, simulated in said["rows"]
        ),
        unpriced=tuple(
            Unpriced(
                organisation=organisation,
                meter=meter,
                reason=reason,
                detail=detail,
                quantity=Decimal(quantity),
            )
            for organisation, meter, reason, detail, quantity in said["unpriced"]
        ),
    )


def content_hash(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a tariff document, whatever the order of its fields."""
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


CSV_HEADER = (
    "Organisation",
    "Name",
    "Service",
    "Meter",
    "Quantity",
    "Charged",
    "Under the draft",
    "Difference",
)


def csv_rows(comparison: Comparison) -> Iterable[Sequence[str | Decimal]]:
    """Yield the cells under `CSV_HEADER`, a row for each account, service and meter."""
    for row in comparison.rows:
        yield (
            row.organisation,
            row.name,
            row.service,
            row.meter,
            row.quantity,
            f"{row.charged:.2f}",
            f"{row.simulated:.2f}",
            f"{row.difference:.2f}",
        )


def _summed(rows: Iterable[Row], key_of: Any, *, keep: bool = False) -> tuple[Row, ...]:
    sums: dict[tuple[str, str, str, str], list[Decimal]] = {}
    for row in rows:
        found = sums.setdefault(key_of(row), [Decimal(0), NOUGHT, NOUGHT])
        if keep:
            found[0] += row.quantity
        found[1] += row.charged
        found[2] += row.simulated
    return tuple(
        Row(
            organisation=organisation,
            name=name,
            service=service,
            meter=meter,
            quantity=quantity,
            charged=charged,
            simulated=simulated,
        )
        for (organisation, name, service, meter), (quantity, charged, simulated) in sorted(
            sums.items()
        )
    )
