"""Local terms as they are kept: other prices, a discount, a promise to spend. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from billing.money import plain, show_pounds, to_pennies
from billing.tariffs.bands import Band
from billing.tariffs.parsing import TariffRefused, parse_prices
from billing.tariffs.reading import NUMBER
from billing.tariffs.terms import SPANS, Price, price_document
from metering.kit.errors import FieldError, Invalid

_FIELDS = frozenset({"prices", "discount_percent", "commitment"})


class LocalTermsInvalid(Invalid):
    """Local terms name other prices, a discount from 0 to 100 percent or a commitment in whole
    pennies, at least one of them; `errors` lists every fault by JSON pointer."""

    code = "local-terms-invalid"
    title = "The local terms are not valid"


def checked_terms(
    said: Mapping[str, Any], *, bands: tuple[Band, ...] = (), for_group: bool = False
) -> dict[str, Any]:
    """Return local terms in their one form.

    Args:
        said: any of `prices` (as in a tariff file), `discount_percent`, `commitment`
            {amount, per: month or financial-year}.
        bands: of the tariff, which prices may name.
        for_group: whether several accounts share them; only then may a price be shared.

    Raises:
        LocalTermsInvalid, TariffRefused (the prices).
    """
    faults = [
        FieldError(f"/{name}", "unknown-field", f"Local terms have no field '{name}'.")
        for name in sorted(set(map(str, said)) - _FIELDS)
    ]
    found: dict[str, Any] = {}
    if said.get("prices"):
        try:
            prices = parse_prices(said["prices"], bands=bands)
        except TariffRefused as refusal:
            faults += [
                FieldError(f"/prices{item.pointer}", item.code, item.detail)
                for item in refusal.errors
            ]
        else:
            faults += _sharing_faults(prices, for_group=for_group)
            found["prices"] = [price_document(price) for price in prices]
    if said.get("discount_percent") is not None:
        percent = _number(said["discount_percent"])
        if percent is None or percent > 100:
            detail = 'A discount is a number from 0 to 100 in quotes, such as "7.5".'
            faults.append(FieldError("/discount_percent", "discount", detail))
        else:
            found["discount_percent"] = plain(percent)
    if said.get("commitment") is not None:
        commitment = _commitment(said["commitment"])
        if isinstance(commitment, FieldError):
            faults.append(commitment)
        else:
            found["commitment"] = commitment
    if not found and not faults:
        faults.append(FieldError("", "empty", "Say what differs: prices, discount, commitment."))
    if faults:
        raise LocalTermsInvalid(faults[0].detail, errors=tuple(faults))
    return found


def terms_words(terms: Mapping[str, Any]) -> str:
    """Return local terms in a few words."""
    words = []
    if terms.get("prices"):
        count = len(terms["prices"])
        words.append(f"{count} local {'price' if count == 1 else 'prices'}")
    if terms.get("discount_percent"):
        words.append(f"{terms['discount_percent']}% off")
    if terms.get("commitment"):
        per = "year" if terms["commitment"].get("per") == "financial-year" else "month"
        amount = show_pounds(Decimal(terms["commitment"]["amount"]))
        words.append(f"commits to {amount} a {per}")
    return ", ".join(words) or "None"


def _sharing_faults(prices: tuple[Price, ...], *, for_group: bool) -> list[FieldError]:
    faults = []
    for index, price in enumerate(prices):
        if price.scope == "pool":
            detail = "A local price leaves the national pool; its scope is own or group."
            faults.append(FieldError(f"/prices/{index}/scope", "local-pool", detail))
        elif price.scope == "group" and not for_group:
            detail = "Only a group's agreement can share a price among its members."
            faults.append(FieldError(f"/prices/{index}/scope", "no-group", detail))
    return faults


def _commitment(said: object) -> dict[str, str] | FieldError:
    if not isinstance(said, Mapping) or set(said) - {"amount", "per"}:
        return FieldError("/commitment", "commitment", "A commitment is an amount, and per what.")
    amount, per = _number(said.get("amount")), said.get("per", "month")
    if amount is None or amount <= 0 or amount != to_pennies(amount):
        detail = "A commitment is an amount above nought in pounds and pence, in quotes."
        return FieldError("/commitment/amount", "amount", detail)
    if per not in SPANS:
        return FieldError("/commitment/per", "per", f"'per' is one of {', '.join(SPANS)}.")
    return {"amount": f"{amount:.2f}", "per": str(per)}


def _number(said: object) -> Decimal | None:
    text = str(said) if isinstance(said, int) and not isinstance(said, bool) else said
    if not isinstance(text, str) or not NUMBER.fullmatch(text):
        return None
    number = Decimal(text)
    return number if number >= 0 else None
