"""Charges as text that COPY reads: the quick way to write a nation's."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from billing.charges.model import charge_name, digest
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
_encode = msgspec.json.encode


def copy_text(text: str) -> str:
    """Return a value as COPY's text format wants it: backslash, tab and line ends escaped."""
    return text.translate(_ESCAPES)


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
        self._account_ids = {code: copy_text(found) for code, found in account_ids.items()}
        self._version_ids = version_ids
        self._common: dict[tuple[Any, ...], tuple[str, str]] = {}

    def lines(self, charges: Iterable[Charge]) -> Iterator[str]:
        """Yield one line for each charge."""
        for charge in charges:
            key = (
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
            common = self._common.get(key)
            if common is None:
                common = self._common[key] = self._of_price(charge)
            of_price, name = common
            account_id = self._account_ids[charge.account]
            alone = charge.alone_amount
            # JSON escapes control characters itself; only its backslashes are left.
            working = _encode(charge.working).decode().replace("\\", "\\\\")
            yield (
                f"{account_id}\tchg_{digest(account_id, name)}{of_price}{charge.quantity:f}\t"
                f"{charge.exact_text}\t{charge.amount:f}\t"
                f"{NULL if alone is None else f'{alone:f}'}\t{working}\n"
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
