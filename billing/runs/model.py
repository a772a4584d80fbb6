"""A run's checks and figures, as people review them; pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any

from billing.money import NOUGHT, sum_pounds
from metering.periods import Month, london_midnight

GRACE_DAYS = 3
"""Days after the month's end that services have to send the last of its usage."""

# What a person should look at before approving: a change of at least both.
OUTLIER_POUNDS = Decimal("100.00")
OUTLIER_SHARE = Decimal("0.5")


class Outcome(StrEnum):
    """How a check came out; only `fail` stops the run."""

    PASS = "pass"  # noqa: S105 - a word, no secret
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check before the invoices: its name, outcome, and one sentence that says it."""

    name: str
    outcome: Outcome
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Return JSON that `read` reads back."""
        return asdict(self)

    @classmethod
    def read(cls, said: dict[str, Any]) -> "Check":
        """Read what `to_json` wrote."""
        return cls(name=said["name"], outcome=Outcome(said["outcome"]), detail=said["detail"])


def may_start_at(month: Month, *, grace_days: int = GRACE_DAYS) -> datetime:
    """Return the instant from which the month's run may start."""
    return london_midnight(month.end_day + timedelta(days=grace_days))


@dataclass(frozen=True, kw_only=True)
class AccountFigures:
    """One account in a run.

    Attributes:
        net: pounds without VAT of its documents in the run, credit notes taken off.
        corrections: the part of `net` that amends earlier invoices.
        last_net: of the month before, None when it had no invoice.
        checked: the checks of each draft by its id, against why invoices are sent back; see
            `runs.checklist`.
        noted: those of them that do not pass.
        documents: how many drafts or issued documents.
    """

    account_id: str
    ods_code: str
    name: str
    status: str
    reason: str | None
    net: Decimal
    vat: Decimal
    total: Decimal
    corrections: Decimal
    pool_saving: Decimal
    last_net: Decimal | None
    documents: int
    checked: Mapping[str, tuple[Check, ...]] = field(default_factory=dict)
    noted: tuple[Check, ...] = ()

    # Asked several times of each of thousands, for the order, the counts and the cells.
    @cached_property
    def change(self) -> Decimal:
        """Pounds more than the month before."""
        return self.net - (self.last_net or NOUGHT)

    @property
    def failing(self) -> tuple[Check, ...]:
        """The checks of its drafts that hold them back."""
        return tuple(check for check in self.noted if check.outcome is Outcome.FAIL)

    @property
    def warnings(self) -> tuple[Check, ...]:
        """The checks of its drafts that a person should know of."""
        return tuple(check for check in self.noted if check.outcome is Outcome.WARN)

    @cached_property
    def is_outlier(self) -> bool:
        """Whether the change from last month asks for a look."""
        if self.last_net is None:
            return False
        return abs(self.change) >= OUTLIER_POUNDS and abs(self.change) >= OUTLIER_SHARE * abs(
            self.last_net
        )


@dataclass(frozen=True, kw_only=True)
class ServiceFigures:
    """One service in a run: net pounds of its lines, credit notes taken off, and last month's."""

    code: str
    name: str
    net: Decimal
    last_net: Decimal
    accounts: int

    @property
    def change(self) -> Decimal:
        """Pounds more than the month before."""
        return self.net - self.last_net


@dataclass(frozen=True, kw_only=True)
class Review:
    """A run for review: its checks, its accounts by ODS code, its services, and their sums."""

    run_id: str
    month: Month
    status: str
    started_by: str
    approved_by: str | None
    checks: tuple[Check, ...]
    accounts: tuple[AccountFigures, ...]
    services: tuple[ServiceFigures, ...] = ()

    @property
    def ranked(self) -> tuple[AccountFigures, ...]:
        """Every account, what asks for a look first: held or parked, outliers, largest change."""
        return tuple(
            sorted(
                self.accounts,
                key=lambda account: (
                    account.status not in {"held", "parked"},
                    not account.is_outlier,
                    -abs(account.change),
                    account.ods_code,
                ),
            )
        )

    @property
    def last_net(self) -> Decimal:
        """Pounds without VAT of the month before, over the same accounts."""
        return sum_pounds([account.last_net or NOUGHT for account in self.accounts])

    @property
    def to_look_at(self) -> dict[str, tuple[int, int]]:
        """How many accounts fail, and how many are warned of, on each check of the list."""
        found: dict[str, tuple[int, int]] = {}
        for account in self.accounts:
            if not account.noted:
                continue
            failing = {check.name for check in account.failing}
            for name in failing | {check.name for check in account.warnings}:
                fails, warns = found.get(name, (0, 0))
                found[name] = (fails + (name in failing), warns + (name not in failing))
        return dict(sorted(found.items()))

    @property
    def net(self) -> Decimal:
        """Pounds without VAT over all accounts."""
        return sum_pounds([account.net for account in self.accounts])

    @property
    def vat(self) -> Decimal:
        """VAT over all accounts."""
        return sum_pounds([account.vat for account in self.accounts])

    @property
    def total(self) -> Decimal:
        """Pounds with VAT over all accounts."""
        return sum_pounds([account.total for account in self.accounts])

    @property
    def counts(self) -> dict[str, int]:
        """Accounts by status."""
        found: dict[str, int] = {}
        for account in self.accounts:
            found[account.status] = found.get(account.status, 0) + 1
        return found

    @property
    def outliers(self) -> tuple[AccountFigures, ...]:
        """Accounts whose change from last month asks for a look."""
        return tuple(account for account in self.accounts if account.is_outlier)


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """Conservation for one organisation and meter in one month.

    Attributes:
        events: quantity of raw events; of a meter whose events do not add up, what they come
            to when counted anew, None for a level while the month goes on.
        waiting: of `events`, what is accepted and not yet in the readings; its events, less those
            withdrawn, are `waiting_event_count`.
        is_waiting: some usage waits so, even where a withdrawal makes it come to nothing.
        is_rated_later: the readings changed after the month was last rated.
        unbilled: rated and not invoiced; `reason` says why, None when it is nought.
    """

    month: date
    organisation: str
    meter: str
    events: Decimal | None
    event_count: int
    reading_event_count: int
    readings: Decimal
    rated: Decimal
    parked: Decimal
    invoiced: Decimal
    reason: str | None
    waiting: Decimal = NOUGHT
    waiting_event_count: int = 0
    is_waiting: bool = False
    is_rated_later: bool = False

    @property
    def underway(self) -> tuple[str, ...]:
        """What waits its turn, in words; empty where nothing does."""
        found = []
        if self.is_waiting:
            found.append("usage that has come in is yet to be added up")
        if self.is_rated_later and self.readings != self.rated + self.parked:
            found.append("what changed in the readings is yet to be rated")
        return tuple(found)

    @property
    def unbilled(self) -> Decimal:
        """Rated and not invoiced; below nought where usage was withdrawn since."""
        return self.rated - self.invoiced

    @property
    def differences(self) -> tuple[str, ...]:
        """What does not add up, in words; empty where everything does."""
        found = []
        if self.events is not None and self.events - self.waiting != self.readings:
            found.append(f"events {self.events - self.waiting} are not readings {self.readings}")
        event_count = self.event_count - self.waiting_event_count
        if event_count != self.reading_event_count:
            found.append(f"{event_count} events are not the {self.reading_event_count} in readings")
        if not self.is_rated_later and self.readings != self.rated + self.parked:
            found.append(
                f"readings {self.readings} are not rated {self.rated} and parked {self.parked}"
            )
        return tuple(found)
