"""Local agreements as rating wants them: which terms an account has on which days."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
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
        """Return an account's terms on a tariff: its own and its group's dated ones.

        What the agreement itself says holds on the days on which none of those does.

        Raises:
            TariffRefused, ValueError, KeyError, ArithmeticError: the terms cannot be read.
        """
        tariff = agreement.tariff_code
        rows = list(self._rows.get((agreement.account_id, None, tariff), ()))
        if agreement.group_code is not None:
            rows += self._rows.get((None, agreement.group_code, tariff), ())
        found = [self._dated(row) for row in rows]
        if agreement.terms:
            group = agreement.group_code if agreement.terms.get("shared") else None
            found += [
                read_terms(
                    agreement.terms,
                    code=agreement.terms.get("code", agreement.id),
                    days=days,
                    bands=self._bands.get(tariff, ()),
                    group=group,
                )
                for days in days_without(
                    Days(agreement.starts_on, agreement.ends_on), [item.days for item in found]
                )
            ]
        return tuple(sorted(found, key=lambda item: item.days.first_day))

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


def days_without(whole: Days, taken: Iterable[Days]) -> Sequence[Days]:
    """Return the spans of `whole` that no other span takes.

    >>> days_without(Days(date(2026, 4, 1)), [Days(date(2026, 5, 1), date(2026, 6, 1))])[1]
    Days(first_day=datetime.date(2026, 6, 1), end_day=None)
    """
    left: list[Days] = []
    start: date | None = whole.first_day
    for days in sorted(taken, key=lambda item: item.first_day):
        if start is None or (whole.end_day is not None and days.first_day >= whole.end_day):
            break
        if days.first_day > start:
            left.append(Days(start, days.first_day))
        start = None if days.end_day is None else max(start, days.end_day)
    if start is not None and (whole.end_day is None or start < whole.end_day):
        left.append(Days(start, whole.end_day))
    return left
