"""The month recomputed from raw events in one SQL statement, beside all of paygo's own code.

Nothing here uses readings, charges or the rating engine: only the events as they
arrived, the prices as they were approved, and PostgreSQL's exact numerics. It knows
what the demonstration's catalogue uses of the tariff format (`Unsupported` says what
not) and a month in which nothing was charged before.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.tariffs import queries as tariff_queries
from billing.tariffs.terms import Price
from metering.kit.errors import Invalid
from metering.periods import Month

_WEEK = list(range(168))


class Unsupported(Invalid):
    """The independent check does not know a price of this form."""

    code = "check-unsupported"
    title = "The check does not know this price"


@dataclass(frozen=True)
class Recomputed:
    """What one price comes to for all trusts together, worked out twice.

    Attributes:
        from_events: pounds, by the SQL of this module.
        invoiced: pounds, the sum of the invoice lines.
    """

    tariff: str
    price: str
    quantity_from_events: Decimal
    quantity_invoiced: Decimal
    from_events: Decimal
    invoiced: Decimal

    @property
    def agrees(self) -> bool:
        """Whether both quantities and both amounts are equal, to the last digit."""
        return (
            self.from_events == self.invoiced
            and self.quantity_from_events == self.quantity_invoiced
        )


def recompute(session: Session, *, month: Month) -> list[Recomputed]:
    """Work out every price of the month anew and set it beside what was invoiced.

    Raises:
        Unsupported: a price has a form that this check does not know.
    """
    prices = [
        _row(found.tariff.code, price, found.tariff.band_slots)
        for found in tariff_queries.in_force(
            session, from_day=month.first_day, to_day=month.end_day
        )
        for price in found.tariff.prices
    ]
    session.execute(text(_PRICES_TABLE))
    session.execute(text(_TIERS_TABLE))
    session.execute(text(_INSERT_PRICE), [price for price, _ in prices])
    session.execute(text(_INSERT_TIER), [tier for _, tiers in prices for tier in tiers])
    rows = session.execute(
        text(_RECOMPUTE),
        {"month": month.first_day, "first": month.period.start, "end": month.period.end},
    )
    return [Recomputed(*row) for row in rows]


def _row(
    tariff: str, price: Price, bands: Mapping[str, frozenset[int]]
) -> tuple[dict[str, object], list[dict[str, object]]]:
    unknown = (
        price.model not in {"per-unit", "graduated", "package", "flat"}
        or price.scope == "group"
        or price.resets != "month"
        or price.convert is not None
    )
    if unknown:
        raise Unsupported(f"The check does not know the form of {tariff} {price.key}.")
    row: dict[str, object] = {
        "tariff": tariff,
        "price": price.key,
        "meter": price.meter,
        "wanted": json.dumps(dict(price.where)),
        "slots": sorted(bands[price.band]) if price.band else _WEEK,
        "conditions": price.conditions,
        "model": price.model,
        "pooled": price.scope == "pool",
        "included": price.included.quantity if price.included else Decimal(0),
        "discount": price.discount_percent or Decimal(0),
        "minimum": price.minimum,
        "maximum": price.maximum,
        "amount": price.amount,
        "package_size": price.package_size,
        "package_price": price.package_price,
    }
    lower = Decimal(0)
    tiers: list[dict[str, object]] = []
    for tier in price.tiers:
        tiers.append(_tier(tariff, price.key, lower, tier.up_to, tier.unit_price))
        lower = tier.up_to or lower
    if price.model == "per-unit":
        assert price.unit_price is not None
        tiers.append(_tier(tariff, price.key, lower, None, price.unit_price))
    return row, tiers


def _tier(
    tariff: str, price: str, lower: Decimal, upper: Decimal | None, unit_price: Decimal
) -> dict[str, object]:
    return {
        "tariff": tariff,
        "price": price,
        "lower": lower,
        "upper": upper,
        "unit_price": unit_price,
    }


_PRICES_TABLE = """
CREATE TEMPORARY TABLE check_prices (
    tariff text, price text, meter text, wanted jsonb, slots integer[], conditions integer,
    model text, pooled boolean, included numeric, discount numeric, minimum numeric,
    maximum numeric, amount numeric, package_size numeric, package_price numeric
) ON COMMIT DROP
"""
_TIERS_TABLE = """
CREATE TEMPORARY TABLE check_tiers (
    tariff text, price text, lower numeric, upper numeric, unit_price numeric
) ON COMMIT DROP
"""
_INSERT_PRICE = """
INSERT INTO check_prices VALUES (
    :tariff, :price, :meter, CAST(:wanted AS jsonb), :slots, :conditions, :model, :pooled,
    :included, :discount, :minimum, :maximum, :amount, :package_size, :package_price
)
"""
_INSERT_TIER = "INSERT INTO check_tiers VALUES (:tariff, :price, :lower, :upper, :unit_price)"

_RECOMPUTE = """
WITH used AS (
    -- Raw events by trust, meter, labels and London hour of the week (0 is Monday midnight).
    SELECT accounts.id AS account_id, meters.code AS meter, dimension_sets.dimensions,
        (extract(isodow FROM occurred_at AT TIME ZONE 'Europe/London')::integer - 1) * 24
            + extract(hour FROM occurred_at AT TIME ZONE 'Europe/London')::integer AS slot,
        sum(usage_events.quantity) AS quantity
    FROM usage_events
    JOIN meters ON meters.id = usage_events.meter_id
    JOIN dimension_sets ON dimension_sets.id = usage_events.dimension_set_id
    JOIN accounts ON accounts.organisation_id = usage_events.subject_id
    WHERE occurred_at >= :first AND occurred_at < :end
    GROUP BY 1, 2, 3, 4
), priced AS (
    -- The most specific price that matches takes the usage.
    SELECT DISTINCT ON (used.account_id, used.meter, used.dimensions, used.slot)
        used.account_id, used.quantity, check_prices.*
    FROM used
    JOIN check_prices ON check_prices.meter = used.meter
        AND used.dimensions @> check_prices.wanted AND used.slot = ANY (check_prices.slots)
    ORDER BY used.account_id, used.meter, used.dimensions, used.slot,
        check_prices.conditions DESC
), owned AS (
    SELECT account_id, tariff, price, sum(quantity) AS quantity,
        greatest(sum(quantity) - max(included), 0) AS chargeable
    FROM priced GROUP BY 1, 2, 3
), walked AS (
    -- A pooled price is walked once, on everybody's quantity; any other one, on each trust's.
    SELECT who.account_id, who.tariff, who.price, who.chargeable,
        coalesce(sum(greatest(
            least(who.chargeable, coalesce(tier.upper, who.chargeable)) - tier.lower, 0
        ) * tier.unit_price), 0) AS exact
    FROM (
        SELECT account_id, tariff, price, chargeable FROM owned
        JOIN check_prices USING (tariff, price) WHERE NOT pooled
        UNION ALL
        SELECT NULL, tariff, price, sum(chargeable) FROM owned
        JOIN check_prices USING (tariff, price) WHERE pooled GROUP BY 2, 3
    ) AS who
    LEFT JOIN check_tiers AS tier USING (tariff, price)
    GROUP BY 1, 2, 3, 4
), amounts AS (
    SELECT tariff, price, round(greatest(
        least(
            (CASE WHEN model = 'package'
                THEN ceil(chargeable / package_size) * package_price ELSE exact END)
            * (100 - discount) / 100,
            coalesce(maximum, 'Infinity')
        ),
        coalesce(minimum, 0)
    ), 2) AS amount
    FROM walked JOIN check_prices USING (tariff, price)
    UNION ALL
    -- What an agreement costs by itself: a flat amount, and a minimum that no usage reached.
    SELECT tariff, price, round(CASE WHEN model = 'flat' THEN amount ELSE minimum END, 2)
    FROM check_prices
    JOIN agreements ON agreements.tariff_code = check_prices.tariff
        AND agreements.starts_on <= :month AND agreements.ends_on IS NULL
    LEFT JOIN owned USING (account_id, tariff, price)
    WHERE model = 'flat' OR (minimum IS NOT NULL AND owned.quantity IS NULL)
), billed AS (
    SELECT tariff_code AS tariff, price_key AS price, sum(invoice_lines.quantity) AS quantity,
        sum(invoice_lines.net) AS net
    FROM invoice_lines
    JOIN invoices ON invoices.account_id = invoice_lines.account_id
        AND invoices.id = invoice_lines.invoice_id
    WHERE invoice_lines.month = :month AND invoices.status IN ('issued', 'settled')
    GROUP BY 1, 2
)
SELECT check_prices.tariff, check_prices.price,
    CASE WHEN model = 'flat' THEN coalesce(billed.quantity, 0)
        ELSE coalesce(
            (SELECT sum(quantity) FROM owned
             WHERE owned.tariff = check_prices.tariff AND owned.price = check_prices.price), 0
        ) END,
    coalesce(billed.quantity, 0),
    coalesce(
        (SELECT sum(amounts.amount) FROM amounts
         WHERE amounts.tariff = check_prices.tariff AND amounts.price = check_prices.price), 0
    ),
    coalesce(billed.net, 0)
FROM check_prices
LEFT JOIN billed ON billed.tariff = check_prices.tariff AND billed.price = check_prices.price
ORDER BY 1, 2
"""
