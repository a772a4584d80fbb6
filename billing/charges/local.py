"""Local agreements as rating wants them: which terms an account has on which days."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy.orm import Session

from billing.accounts import queries as accounts
from billing.accounts.tables import AgreementRow, LocalAgreementRow
from billing.rating.model import Commitment, Days, LocalTerms
from billing.tariffs.bands import Band
from billing.tariffs.model import parse_prices
from metering.periods import Month

Bands = Mapping[str, tuple[Band, ...]]


class LocalBook:
    """The local agreements that touch a month, each read once.

    One object serves all members of a group, so that rating sees that they share it.
    """

    def __init__(self, session: Session, month: Month, bands: Bands) -> None:
        self._bands = bands
        self._rows: dict[tuple[str | None, str | None, str], list[LocalAgreementRow]] = {}
        self._read: dict[str, LocalTerms] = {}
        for row in accounts.local_agreements(
            session, from_day=month.first_day, to_day=month.end_day
        ):
            key = (row.account_id, row.group_code, row.tariff_code)
            self._rows.setdefault(key, []).append(row)

    def terms(self, agreement: AgreementRow) -> tuple[LocalTerms, ...]:
        """Return an account's dated terms on a tariff: its own and its group's.

        Raises:
            TariffRefused, ValueError, KeyError, ArithmeticError: the terms cannot be read.
        """
        tariff = agreement.tariff_code
        rows = list(self._rows.get((agreement.account_id, None, tariff), ()))
        if agreement.group_code is not None:
            rows += self._rows.get((None, agreement.group_code, tariff), ())
        return tuple(
            sorted((self._dated(row) for row in rows), key=lambda item: item.days.first_day)
        )

    def _dated(self, row: LocalAgreementRow) -> LocalTerms:
        if row.id not in self._read:
            self._read[row.id] = read_terms(
                row.terms,
                code=row.id,
                days=Days(row.starts_on, row.ends_on),
                bands=self._bands.get(row.tariff_code, ()),
                group=row.group_code,
            )
        return self._read[row.id]


def read_terms(
    said: Mapping[str, Any],
    *,
    code: str,
    days: Days,
    bands: tuple[Band, ...],
    group: str | None,
) -> LocalTerms:
    """Read terms as `accounts.terms.checked_terms` writes them."""
    commitment = said.get("commitment")
    discount = said.get("discount_percent")
    return LocalTerms(
        code=code,
        days=days,
        prices=parse_prices(said["prices"], bands=bands) if said.get("prices") else (),
        discount_percent=None if discount is None else Decimal(discount),
        commitment=None
        if commitment is None
        else Commitment(Decimal(commitment["amount"]), commitment.get("per", "month")),
        group=group,
    )
