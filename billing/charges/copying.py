"""Charges as text that COPY reads: the quick way to write a nation's."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from billing.charges.facts import FactWriter
from billing.charges.model import charge_name, digest_bytes
from billing.rating.model import Charge
from metering.periods import Month

CHARGE_COLUMNS = (
    "account_id",
    "id",
    "month",
    "tariff_code",
    "version_id",
    "price_key",
    "label",
    "meter",
    "unit",
    "scope",
    "group_code",
    "terms_code",
    "vat",
    "dimensions",
    "band",
    "first_on",
    "end_on",
    "quantity",
    "exact",
    "amount",
    "alone_amount",
    "working",
)

NULL = "\\N"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copy_text(text: str) -> str:
    """Return a value as COPY's text format wants it: backslash, tab and line ends escaped."""
    return text.translate(_ESCAPES)


class CopyLine(NamedTuple):
    """One charge as a line of COPY's text format; `key` is its id without the prefix."""

    account_id: str
    key: bytes
    text: str


def charge_id(key: bytes) -> str:
    """Return the id of the charge with this key."""
    return f"chg_{key.hex()}"


class CopyLines:
    """Charges as lines of COPY's text format, in the order of `CHARGE_COLUMNS`.

    What all accounts' charges of one price have in common is written once and kept: a
    national month has millions of charges and hundreds of prices.
    """

    def __init__(
        self,
        *,
        month: Month,
        account_ids: Mapping[str, str],
        version_ids: Mapping[tuple[str, str], str],
    ) -> None:
        self._month = month
        self._account_ids = {code: (found, copy_text(found)) for code, found in account_ids.items()}
        self._version_ids = version_ids
        self._common: dict[tuple[Any, ...], tuple[str, str]] = {}
        self._facts = FactWriter().facts

    def lines(self, charges: Iterable[Charge]) -> Iterator[CopyLine]:
        """Yield one line for each charge."""
        for charge in charges:
            price = (
                charge.tariff,
                charge.version,
                charge.price_key,
                charge.scope,
                charge.group,
                charge.terms,
                charge.first_day,
                charge.end_day,
                charge.unit,
                charge.label,
            )
            common = self._common.get(price)
            if common is None:
                common = self._common[price] = self._of_price(charge)
            of_price, name = common
            account_id, account_text = self._account_ids[charge.account]
            key = digest_bytes(account_id, name)
            alone = charge.alone_amount
            # JSON escapes control characters itself; only its backslashes are left.
            facts = self._facts(charge.steps).replace("\\", "\\\\")
            yield CopyLine(
                account_id,
                key,
                f"{account_text}\tchg_{key.hex()}{of_price}{charge.quantity:f}\t"
                f"{charge.exact_text}\t{charge.amount:f}\t"
                f"{NULL if alone is None else f'{alone:f}'}\t{facts}\n",
            )

    def _of_price(self, charge: Charge) -> tuple[str, str]:
        """Return the columns that do not depend on the account, and what names the charge."""
        version_id = self._version_ids[charge.tariff, charge.version]
        columns = (
            self._month.first_day.isoformat(),
            charge.tariff,
            version_id,
            charge.price_key,
            charge.label,
            charge.meter or "",
            charge.unit or "",
            charge.scope,
            charge.group or "",
            charge.terms or "",
            charge.vat,
            json.dumps(dict(charge.where)),
            charge.band,
            charge.first_day.isoformat(),
            charge.end_day.isoformat(),
        )
        written = "\t".join(NULL if text is None else copy_text(text) for text in columns)
        return f"\t{written}\t", charge_name(charge, month=self._month, version_id=version_id)
