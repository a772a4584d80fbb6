"""What the rating of a month is worked out from, read from the database."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.accounts import queries as accounts
from billing.accounts.tables import AgreementRow
from billing.charges.local import LocalBook
from billing.charges.model import digest, read_fraction, read_position
from billing.charges.tables import MonthRatingRow, PoolShareRow, PoolTotalRow, RatingRow
from billing.rating.model import (
    Agreement,
    DatedTariff,
    Days,
    FrozenPool,
    FrozenShare,
    GroupMembership,
    LocalTerms,
    Position,
    Usage,
)
from billing.rating.numbers import add
from billing.tariffs import queries as tariffs
from metering.kit.errors import Refusal
from metering.organisations import queries as organisations
from metering.periods import Month
from metering.readings.month_totals import Words, load_words, month_signatures, month_totals

# Accounts whose usage is held at once: enough that a statement costs nothing beside its
# rows, few enough that memory does not grow with the nation.
ACCOUNTS_AT_ONCE = 50


@dataclass(frozen=True, kw_only=True)
class MonthInputs:
    """Everything but the usage that a month's rating depends on.

    Attributes:
        versions: approved versions in force in the month.
        version_ids: id by tariff code and version name.
        agreements: by ODS code.
        account_ids: account id by ODS code.
        signatures: of the readings, by ODS code.
        history: positions after the month before; empty in April.
        frozen: blended prices of a closed month.
        is_frozen: whether the month is closed.
        heirs: whose progress of the year another account took over as the month began, see
            `hand_over`.
        terms_faults: ODS codes whose local terms cannot be read, with the reason.
    """

    month: Month
    versions: tuple[DatedTariff, ...]
    version_ids: dict[tuple[str, str], str]
    agreements: dict[str, list[Agreement]]
    account_ids: dict[str, str]
    organisation_ids: dict[str, int]
    signatures: dict[str, str]
    history: tuple[Position, ...]
    frozen: tuple[FrozenPool, ...]
    is_frozen: bool
    heirs: dict[str, str] = field(default_factory=dict)
    terms_faults: dict[str, str] = field(default_factory=dict)

    @property
    def cuts(self) -> list[date]:
        """London dates in the month on which something that prices depend on changes."""
        days: set[date | None] = set()
        for version in self.versions:
            days |= {version.tariff.effective_from, version.ends_on}
        for agreements in self.agreements.values():
            for agreement in agreements:
                days |= {agreement.starts_on, agreement.ends_on}
                for terms in agreement.terms:
                    days |= {terms.days.first_day, terms.days.end_day}
        return sorted(
            day
            for day in days
            if day is not None and self.month.first_day < day < self.month.end_day
        )

    def account_fingerprints(self) -> dict[str, str]:
        """Return, by ODS code, a text that changes when an account's own inputs do."""
        versions = digest(
            *(
                f"{self.version_ids[item.tariff.code, item.tariff.version]}/{item.ends_on}"
                for item in self.versions
            )
        )
        positions: dict[str, list[str]] = {}
        for position in self.history:
            if position.account is not None:
                positions.setdefault(position.account, []).append(repr(position))
        return {
            code: digest(
                versions,
                self.signatures.get(code, ""),
                *(repr(item) for item in self.agreements.get(code, ())),
                *sorted(positions.get(code, ())),
            )
            for code in {*self.agreements, *self.signatures}
        }

    def fingerprint(self, account_fingerprints: dict[str, str]) -> str:
        """Return a text that changes when anything of the month does."""
        joint = sorted(repr(item) for item in self.history if item.account is None)
        return digest(
            *(f"{code} {account_fingerprints[code]}" for code in sorted(account_fingerprints)),
            *joint,
        )


def load_inputs(session: Session, *, month: Month) -> MonthInputs:
    """Read what a month's rating depends on; readings' signatures before readings."""
    signatures = month_signatures(session, month=month)
    payers = accounts.payers(session)
    code_of = {payer.account.id: payer.ods_code for payer in payers}
    versions = tariffs.in_force(session, from_day=month.first_day, to_day=month.end_day)
    agreements: dict[str, list[Agreement]] = {}
    faults: dict[str, str] = {}
    local = LocalBook(session, month, {item.tariff.code: item.tariff.bands for item in versions})
    for row in accounts.agreements(session, from_day=month.first_day, to_day=month.end_day):
        code = code_of[row.account_id]
        try:
            agreements.setdefault(code, []).append(_agreement(row, code, local.terms(row)))
        except (ValueError, KeyError, TypeError, ArithmeticError, Refusal) as error:
            faults[code] = f"The terms of agreement {row.id} cannot be read: {error}"
    frozen_at = session.scalar(
        select(MonthRatingRow.frozen_at).where(MonthRatingRow.month == month.first_day)
    )
    heirs = _handed_over(payers, month)
    return MonthInputs(
        month=month,
        versions=tuple(DatedTariff(item.tariff, item.effective_to) for item in versions),
        version_ids={(item.tariff.code, item.tariff.version): item.id for item in versions},
        agreements=agreements,
        account_ids={payer.ods_code: payer.account.id for payer in payers},
        organisation_ids={payer.ods_code: payer.organisation_id for payer in payers},
        signatures=signatures,
        history=()
        if month.financial_month == 1
        else hand_over(_history(session, month.previous, code_of), heirs),
        heirs=heirs,
        frozen=() if frozen_at is None else _frozen(session, month, code_of),
        is_frozen=frozen_at is not None,
        terms_faults=faults,
    )


def load_usage(
    session: Session,
    *,
    inputs: MonthInputs,
    codes: Sequence[str] | None = None,
    meters: Sequence[str] | None = None,
    until: date | None = None,
    words: Words | None = None,
) -> list[Usage]:
    """Read the month's usage, of the given ODS codes or of everyone.

    Args:
        meters: only these meters, all where None.
        until: only London days before this one.
        words: where they were read already.
    """
    ids = None if codes is None else _subject_ids(session, inputs, codes)
    return [
        Usage(
            account=total.ods_code,
            meter=total.meter,
            quantity=total.quantity,
            day=total.day,
            dimensions=total.dimensions,
            hour=total.hour,
        )
        for total in month_totals(
            session,
            month=inputs.month,
            cuts=inputs.cuts,
            organisation_ids=ids,
            meters=meters,
            until=until,
            words=words,
        )
    ]


class UsagePart(NamedTuple):
    """All the usage of some accounts."""

    codes: Sequence[str]
    usage: list[Usage]


def usage_in_parts(
    session: Session,
    *,
    inputs: MonthInputs,
    codes: Sequence[str],
    meters: Sequence[str] | None = None,
) -> Iterator[UsagePart]:
    """Read the usage of the ODS codes a few at a time, so that memory does not grow with them.

    Args:
        meters: only these meters, all where None.
    """
    words = load_words(session)
    for first in range(0, len(codes), ACCOUNTS_AT_ONCE):
        some = codes[first : first + ACCOUNTS_AT_ONCE]
        usage = load_usage(session, inputs=inputs, codes=some, meters=meters, words=words)
        yield UsagePart(some, usage)


def _subject_ids(session: Session, inputs: MonthInputs, codes: Iterable[str]) -> list[int]:
    ids = inputs.organisation_ids
    strangers = [code for code in codes if code not in ids]
    known = [ids[code] for code in codes if code in ids]
    return [*known, *organisations.ids_of(session, ods_codes=strangers)] if strangers else known


def _agreement(row: AgreementRow, code: str, terms: tuple[LocalTerms, ...]) -> Agreement:
    days = Days(row.starts_on, row.ends_on)
    return Agreement(
        account=code,
        tariff=row.tariff_code,
        starts_on=row.starts_on,
        ends_on=row.ends_on,
        pool=(days,) if row.pooled else (),
        groups=() if row.group_code is None else (GroupMembership(row.group_code, days),),
        terms=terms,
    )


def _history(session: Session, month: Month, code_of: dict[str, str]) -> tuple[Position, ...]:
    found: list[Position] = []
    joint = session.scalar(
        select(MonthRatingRow.positions).where(MonthRatingRow.month == month.first_day)
    )
    found.extend(read_position(said, account=None) for said in joint or ())
    rows = session.execute(
        select(RatingRow.account_id, RatingRow.positions).where(
            RatingRow.month == month.first_day, RatingRow.positions != json.loads("[]")
        )
    )
    for account_id, positions in rows:
        found.extend(read_position(said, account=code_of[account_id]) for said in positions)
    return tuple(found)


def _handed_over(payers: Iterable[accounts.Payer], month: Month) -> dict[str, str]:
    """Return the ODS codes whose progress of the year goes to another's as `month` begins.

    # ASSUMPTION: a merger hands tiers and included quantities of the financial year over at
    # the first month that begins on its date or after it; until then each counts by itself.
    """
    since, until = month.previous.period.start, month.period.start
    closing = {
        payer.account.id: payer
        for payer in payers
        if payer.account.successor_id is not None
        and payer.account.closed_at is not None
        and since < payer.account.closed_at <= until
    }
    code_of = {payer.account.id: payer.ods_code for payer in payers}
    found = {}
    for payer in closing.values():
        heir = payer.account.successor_id
        while heir in closing:
            heir = closing[heir].account.successor_id
        assert heir is not None
        found[payer.ods_code] = code_of[heir]
    return found


def hand_over(history: Iterable[Position], heirs: Mapping[str, str]) -> tuple[Position, ...]:
    """Return positions with those of merged accounts added to their successors'.

    Pounds spent towards a commitment stay: the commitment was the predecessor's own, and ends
    with its agreement.

    Args:
        heirs: ODS code of the successor by that of the predecessor.
    """
    if not heirs:
        return tuple(history)
    found: dict[tuple[str | None, str | None, str, str], Position] = {}
    for position in history:
        heir = None if position.account is None else heirs.get(position.account)
        kept = position
        if heir is not None and not position.price_key.startswith("commitment/"):
            kept = replace(position, account=heir)
        key = (kept.account, kept.group, kept.tariff, kept.price_key)
        before = found.get(key)
        found[key] = (
            kept
            if before is None
            else replace(
                before,
                free_used=add(before.free_used, kept.free_used),
                billable=add(before.billable, kept.billable),
            )
        )
    return tuple(found.values())


def _frozen(session: Session, month: Month, code_of: dict[str, str]) -> tuple[FrozenPool, ...]:
    shares: dict[tuple[str, ...], dict[str, FrozenShare]] = {}
    for row in session.scalars(select(PoolShareRow).where(PoolShareRow.month == month.first_day)):
        shares.setdefault(_key(row), {})[code_of[row.account_id]] = FrozenShare(
            read_fraction(row.exact), row.amount
        )
    rows = session.scalars(
        select(PoolTotalRow).where(
            PoolTotalRow.month == month.first_day, PoolTotalRow.frozen_at.is_not(None)
        )
    ).all()
    names = {
        row.id: (row.tariff_code, row.version)
        for row in tariffs.versions_by_id(session, ids={row.version_id for row in rows})
    }
    return tuple(
        FrozenPool(
            tariff=names[row.version_id][0],
            version=names[row.version_id][1],
            price_key=row.price_key,
            scope="pool" if row.scope == "pool" else "group",
            group=row.group_code or None,
            terms=row.terms_code or None,
            blended_price=read_fraction(row.blended_fraction),
            shares=shares.get(_key(row), {}),
        )
        for row in rows
        if row.blended_fraction is not None
    )


def _key(row: PoolShareRow | PoolTotalRow) -> tuple[str, ...]:
    return (row.version_id, row.price_key, row.scope, row.group_code, row.terms_code)


def quantities(usage: Iterable[Usage]) -> dict[tuple[str, str], Decimal]:
    """Return what was used by ODS code and meter."""
    found: dict[tuple[str, str], Decimal] = {}
    for item in usage:
        key = (item.account, item.meter)
        found[key] = found.get(key, Decimal(0)) + item.quantity
    return found
