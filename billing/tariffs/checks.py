"""Rules that a price, and the prices of one tariff together, must keep."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from billing.tariffs.bands import Band
from billing.tariffs.terms import Price, Tariff
from metering.kit.errors import FieldError
from metering.meters.model import Meter


def price_faults(price: Price, at: str) -> list[FieldError]:
    """Return the rules that one well-formed price breaks.

    A pooled price (DESIGN §6) is graduated or per-unit, its unit prices never rise
    from tier to tier, and it has no tier `flat`, no unit price of nought (a free
    band) and no minimum. Only so does nobody ever pay more than alone.
    """
    faults: list[FieldError] = []

    def fault(field: str, code: str, detail: str) -> None:
        faults.append(FieldError(f"{at}/{field}" if field else at, code, detail))

    if price.minimum is not None and price.maximum is not None and price.minimum > price.maximum:
        fault("minimum", "minimum-above-maximum", "The minimum is above the maximum.")
    if price.minimum is not None and price.shared:
        fault("minimum", "own-only", "A minimum is for a price of scope own only.")
    if price.model == "flat":
        if price.shared:
            fault("scope", "own-only", "A flat monthly amount cannot be shared.")
        if price.where or price.band is not None:
            fault("", "flat-is-plain", "A flat monthly amount has no 'where' and no 'band'.")
        if price.included is not None:
            fault("included", "nothing-to-include", "A flat monthly amount includes nothing.")
        if price.convert is not None:
            fault("convert", "nothing-to-convert", "A flat monthly amount converts nothing.")
    if price.resets == "financial-year" and price.model == "volume":
        for index, tier in enumerate(price.tiers):
            if tier.flat != 0:
                detail = "A volume price that continues through the year has no flat amounts."
                fault(f"tiers/{index}/flat", "flat-each-month", detail)
    if price.scope == "pool":
        faults.extend(_pool_faults(price, at))
    return faults


def _pool_faults(price: Price, at: str) -> list[FieldError]:
    faults: list[FieldError] = []
    if price.model not in {"graduated", "per-unit"}:
        detail = f"A {price.model} price cannot be pooled; pool a graduated or per-unit price."
        return [FieldError(f"{at}/model", "pool-model", detail)]
    if price.unit_price is not None and price.unit_price == 0:
        faults.append(FieldError(f"{at}/unit_price", "pool-free", _FREE))
    for index, tier in enumerate(price.tiers):
        where = f"{at}/tiers/{index}"
        if tier.flat != 0:
            detail = "A pooled price has no flat amounts: a small member could pay more than alone."
            faults.append(FieldError(f"{where}/flat", "pool-flat", detail))
        if tier.unit_price == 0:
            faults.append(FieldError(f"{where}/unit_price", "pool-free", _FREE))
        if index and tier.unit_price > price.tiers[index - 1].unit_price:
            detail = (
                "A pooled price never rises from tier to tier: one trust's use would raise "
                "another's bill."
            )
            faults.append(FieldError(f"{where}/unit_price", "pool-rises", detail))
    return faults


_FREE = "A pooled price has no free band; use 'included', which is each account's own."


def meter_faults(tariff: Tariff, meters: Mapping[str, Meter]) -> list[FieldError]:
    """Return where the tariff names a meter, dimension or value that is not registered.

    Args:
        meters: every registered meter by its code.
    """
    faults: list[FieldError] = []
    for index, price in enumerate(tariff.prices):
        at = f"/prices/{index}"
        if price.meter is None:
            continue
        meter = meters.get(price.meter)
        if meter is None:
            detail = f"No meter '{price.meter}' is registered."
            faults.append(FieldError(f"{at}/meter", "unknown-meter", detail))
            continue
        for name, value in price.where:
            dimension = meter.dimensions.get(name)
            if dimension is None:
                detail = f"The meter {meter.code} has no dimension '{name}'."
                faults.append(FieldError(f"{at}/where/{name}", "unknown-dimension", detail))
            elif dimension.get("values") is not None and value not in dimension["values"]:
                detail = f"'{value}' is no value of the dimension {name} of {meter.code}."
                faults.append(FieldError(f"{at}/where/{name}", "unknown-value", detail))
        if price.band is not None and meter.resolution != "hour":
            detail = f"The readings of {meter.code} are kept by day; bands need them by hour."
            faults.append(FieldError(f"{at}/band", "needs-hours", detail))
    return faults


def tie_faults(placed: Sequence[tuple[str, Price]], bands: Sequence[Band]) -> list[FieldError]:
    """Return the pairs of prices between which some usage could not choose.

    The price with the most conditions (each dimension of `where`, and a band, is
    one) wins. Two prices of a meter with equally many, that one usage can meet
    both, are a tie, and refused. A flat amount prices no usage: it never ties.
    """
    slots = {band.name: band.slots for band in bands}
    faults: list[FieldError] = []
    seen: dict[str, str] = {}
    for place, price in placed:
        if price.key in seen:
            detail = f"The key '{price.key}' is that of {seen[price.key]} too; give one a 'key'."
            faults.append(FieldError(f"{place}/key", "duplicate-key", detail))
        seen.setdefault(price.key, place)
    pricing = [(place, price) for place, price in placed if price.model != "flat"]
    for (first_place, first), (second_place, second) in combinations(pricing, 2):
        if first.meter == second.meter and first.conditions == second.conditions:
            meet = all(dict(first.where).get(name, value) == value for name, value in second.where)
            both = slots.get(first.band or "", _ALWAYS) & slots.get(second.band or "", _ALWAYS)
            if meet and both:
                detail = (
                    f"Some usage fits {first_place} and this price equally well; make one of "
                    "them more specific."
                )
                faults.append(FieldError(second_place, "tie", detail))
    return faults


_ALWAYS = frozenset(range(168))
