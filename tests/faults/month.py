"""One month of six trusts, from posted events to money in, as steps that may be cut off.

Each step is what a job or a person does; it is called again until it comes to its end. At
any moment `wrongs` must be empty, and at the end every trust has been asked for, and has
paid, the same pennies as in a month that nothing disturbed.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

from sqlalchemy import func, select

from billing import jobs
from billing.documents.render import DOCUMENTS
from billing.invoices import queries as invoices
from billing.invoices.tables import DocumentRow, IssuedNumberRow
from billing.invoices.verifying import verify_invoices
from billing.ledger import queries as ledger
from billing.notifications.jobs import deliver
from billing.notifications.tables import DeliveryRow
from billing.payments import jobs as payments
from billing.payments import mirror
from billing.payments.bank import imports
from billing.payments.bank.csv_file import PLAIN, read_csv_statement
from billing.payments.bank.tables import BankLineRow
from billing.payments.conservation import check_books
from billing.payments.stripe_gateway import StripeGateway
from billing.payments.tables import AllocationRow, PaymentRow
from billing.runs import operations as runs
from billing.runs import work as run_work
from billing.runs.reconciling import reconcile_month
from billing.runs.tables import BillRunAccountRow
from metering.events.tables import usage_events
from metering.kit import audit, jobruns
from metering.kit.db import Database
from metering.kit.jobruns import Job
from metering.kit.tables import AuditEntryRow
from metering.periods import london_day
from tests import make
from tests.billing.notifications import makers as notes
from tests.billing.payments.fake_stripe import SECRET_KEY, WEBHOOK_SECRET, FakeStripe
from tests.metering import make as metering
from tests.scenarios import story

MONTH = story.APRIL
TRUSTS = ("RAL", "RJ1", "RR8", "RRK", "RWE", "RXH")
NOW = datetime(2026, 5, 5, 8, 0, tzinfo=UTC)
"""When the work begins; each further attempt is `LATER` after the one before."""
LATER = timedelta(minutes=16)

_DAYS = 30
_BATCHES = 15
EVENTS = len(TRUSTS) * _DAYS * 2
"""Events that are posted: of two services, each day, by each trust."""

_POOLED = make.price(
    model="graduated",
    scope="pool",
    tiers=[
        {"up_to": "500", "unit_price": "0.50"},
        {"up_to": "2000", "unit_price": "0.41"},
        {"up_to": None, "unit_price": "0.33"},
    ],
)
_TEXTS = make.price(
    meter="texts-sent", unit_price="0.0227", included={"quantity": "100", "per": "month"}
)
_JOBS: Mapping[str, Job] = jobruns.check_names(jobs.ALL_JOBS)


@dataclass
class World:
    """A paygo and what is around it.

    Attributes:
        hook: address of the trusts' webhook receiver.
        attempts: begun so far; the clock goes on with each.
    """

    database: Database
    stripe: FakeStripe
    hook: str
    attempts: int = 0

    @property
    def now(self) -> datetime:
        return NOW + LATER * self.attempts


def begin(database: Database, *, hook: str) -> None:
    """Register trusts and services, and post a month of usage."""
    with database.transaction() as session:
        make.source(session)
        make.source(session, code="patient-messaging")
        make.meter(session)
        make.meter(session, code="texts-sent", source="patient-messaging", unit="text messages")
        make.tariff(session, _POOLED, make.price(meter=None, model="flat", amount="250.00"))
        make.tariff(session, _TEXTS, code="patient-messaging")
        for code in TRUSTS:
            trust = make.account(session, code=code)
            make.agreement(session, account=trust)
            make.agreement(session, account=trust, tariff="patient-messaging")
            notes.endpoint(session, account_id=trust.id, url=hook, kinds=("invoice.issued",))
    for place, (source, kind) in enumerate(
        (("imaging-archive", "uk.nhs.studies-archived"), ("patient-messaging", "uk.nhs.texts-sent"))
    ):
        service = metering.service(database, source=source, now=NOW)
        events = [
            metering.event(
                1_000_000 * place + 100 * day + number,
                source=source,
                type=kind,
                subject=code,
                time=f"2026-04-{day:02d}T10:00:00+01:00",
            )
            | {"data": {"quantity": str(7 + number * 3 + day % 5)}}
            for day in range(1, _DAYS + 1)
            for number, code in enumerate(TRUSTS)
        ]
        for start in range(_BATCHES):
            receipt = service.post(*events[start::_BATCHES])
            assert receipt.accepted == len(events[start::_BATCHES])


# --- the steps


def _job(name: str, database: Database, *, now: datetime) -> None:
    made = jobruns.run_job(database, _JOBS[name], clock=lambda: now, started_by="scheduler@test")
    if made.outcome != "succeeded":
        raise RuntimeError(f"{name} {made.outcome}: {made.error}")


def _gateway(base: str) -> StripeGateway:
    return StripeGateway(SECRET_KEY, webhook_secret=WEBHOOK_SECRET, api_base=base, retries=0)


def _push(base: str, database: Database, *, now: datetime) -> None:
    done = payments.push_all(database, _gateway(base), now=now)
    if done.get("unavailable") or done.get("refused"):
        raise RuntimeError(f"not pushed: {done}")


def _listen(
    base: str, webhooks: list[tuple[bytes, str]], database: Database, *, now: datetime
) -> None:
    gateway = _gateway(base)
    for content, signature in webhooks:
        with database.transaction() as session:
            mirror.store_event(session, event=gateway.read_event(content, signature), now=now)
    payments.apply_events(database, gateway, now=now)


def _import(content: bytes, database: Database, *, now: datetime) -> None:
    with database.transaction() as session:
        imports.import_statement(
            session,
            statement=read_csv_statement(content, bank_account="60-70-80 10014069", mapping=PLAIN),
            content=content,
            file_name="may.csv",
            principal="usr_clerk",
            now=now,
        )


def _deliver(database: Database, *, now: datetime) -> None:
    done = deliver(database, now=now, outlets=notes.outlets())
    if done["faults"]:
        raise RuntimeError(f"not delivered: {done}")


def draft(run_id: str, database: Database, *, now: datetime) -> None:
    """Draft a run as the command does, which takes no job's lock."""
    run_work.draft_run(database, run_id=run_id, now=now)


def approve(run_id: str, principal: str, database: Database, *, now: datetime) -> None:
    """Approve a run."""
    with database.transaction() as session:
        runs.approve_run(session, run_id=run_id, principal=principal, now=now)


def issue(run_id: str, database: Database, *, now: datetime) -> None:
    """Issue a run as the command does, which takes no job's lock."""
    run_work.issue_run(database, run_id=run_id, principal=story.APPROVER, now=now)


Work = Callable[..., None]
"""`(database, *, now)`; it can be pickled."""


@dataclass(frozen=True)
class Now:
    """Work at an instant, as it is handed to another process."""

    work: Work
    now: datetime

    def __call__(self, database: Database) -> None:
        self.work(database, now=self.now)


@dataclass(frozen=True)
class Step:
    """One step of the month.

    Attributes:
        work: what is done, made when its turn has come.
        rated: from here on every event can be followed to its charge.
    """

    name: str
    work: Callable[[World], Work]
    rated: bool = True


def _run_id(world: World) -> str:
    return story.start(world.database, MONTH)


def _ask_for(work: str) -> Callable[[World], Work]:
    def ready(world: World) -> Work:
        run_id = _run_id(world)
        if work == "issue":
            story.approve(world.database, run_id, MONTH)
        with world.database.transaction() as session:
            runs.want(session, run_id=run_id, work=work, principal=story.APPROVER)
        return partial(_job, "work-bill-runs")

    return ready


def _paid_online(world: World) -> Work:
    """Three trusts pay online; Stripe tells of it out of order, and of everything twice."""
    by_number = {one["number"]: one["id"] for one in world.stripe.invoices.values()}
    for number, (code, pence) in sorted(_owed(world.database).items()):
        if code in TRUSTS[:3]:
            world.stripe.pay(by_number[number], pence)
    webhooks = world.stripe.webhooks()
    return partial(_listen, world.stripe.base, [*webhooks[::-1], *webhooks])


def _paid_by_bank(world: World) -> Work:
    """Two trusts pay by bank, one of them half; somebody pays who says nothing useful."""
    owed = sorted((code, number, pence) for number, (code, pence) in _owed(world.database).items())
    whole, half = owed[3], owed[4]
    rows = (
        "Date,Amount,Reference,Name,Account,Id",
        f"20/05/2026,{_pounds(whole[2])},{whole[1]},{whole[0]},203040 11112222,A1",
        f"20/05/2026,{_pounds(half[2] // 2)},{half[1]},{half[0]},203040 11113333,A2",
        "21/05/2026,30.00,hospital,,,A3",
    )
    return partial(_import, "\n".join(rows).encode())


STEPS = (
    Step("roll-up", lambda _: partial(_job, "roll-up"), rated=False),
    Step("rating", lambda _: partial(_job, "rate-month-to-date")),
    Step("drafting", _ask_for("draft")),
    Step("issue", _ask_for("issue")),
    Step("making documents", lambda _: partial(_job, "make-documents")),
    Step("pushing to Stripe", lambda world: partial(_push, world.stripe.base)),
    Step("Stripe's webhooks", _paid_online),
    Step("bank import", _paid_by_bank),
    Step("ledger posting", lambda _: partial(_job, "clear-payments")),
    Step("delivery", lambda _: _deliver),
)


# --- what must hold


@dataclass(frozen=True)
class Outcome:
    """What a month came to.

    Attributes:
        money: pence by what they are: each trust's documents and debt, each ledger account.
        counts: documents, deliveries and payments, by kind.
    """

    money: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)


def outcome(database: Database) -> Outcome:
    """Work out what the month came to, from the database alone."""
    found = Outcome()
    with database.snapshot() as session:
        for row in invoices.invoices(session):
            code = invoices.read(row).buyer.ods_code
            found.money[f"{code} {row.kind} net"] += _pence(row.net)
            found.money[f"{code} {row.kind} total"] += _pence(row.total)
            found.counts[f"{code} {row.kind} {row.status}"] += 1
        day = london_day(NOW + timedelta(days=60))
        for name, amount in ledger.trial_balance(session, on=day).balances.items():
            found.money[f"ledger {name}"] += _pence(amount)
        for kind, number in session.execute(
            select(DocumentRow.name, func.count()).group_by(DocumentRow.name)
        ):
            found.counts[f"documents {kind}"] += number
        for status, number in session.execute(
            select(DeliveryRow.status, func.count()).group_by(DeliveryRow.status)
        ):
            found.counts[f"delivery {status}"] += number
        for row in (PaymentRow, BankLineRow, AllocationRow):
            found.counts[row.__tablename__] = session.scalar(select(func.count(row.id))) or 0
    return found


def pence_between(one: Outcome, other: Outcome) -> int:
    """Return by how many pence two months differ, every sum taken by itself."""
    return sum(
        abs(one.money[name] - other.money[name]) for name in one.money.keys() | other.money.keys()
    )


def wrongs(database: Database, *, now: datetime, rated: bool) -> list[str]:
    """Return whatever does not hold, in words: seals, numbers, sums, books, conservation."""
    with database.snapshot() as session:
        found = [f"{fault.number}: {fault.what}" for fault in verify_invoices(session).faults]
        entries = session.scalars(select(AuditEntryRow).order_by(AuditEntryRow.position))
        broken = audit.verify(entries)
        if broken is not None:
            found.append(f"audit entry {broken.position}: {broken.reason}")
        found += [
            f"{one.what}: ledger {one.ledger}, documents {one.documents}"
            for one in check_books(session, on=london_day(now))
        ]
        if rated:
            found += [
                f"{row.organisation} {row.meter}: {difference}"
                for row in reconcile_month(session, month=MONTH)
                for difference in row.differences
            ]
        parked = session.execute(
            select(BillRunAccountRow.account_id, BillRunAccountRow.reason).where(
                BillRunAccountRow.status.in_(("parked", "held"))
            )
        )
        found += [f"{account_id} is set aside: {reason}" for account_id, reason in parked]
        parts = session.execute(
            select(DocumentRow.invoice_id, func.count()).group_by(DocumentRow.invoice_id)
        )
        found += [f"{one} has {n} documents" for one, n in parts if n != len(DOCUMENTS)]
    return found


def events_lost_and_doubled(database: Database) -> tuple[int, int]:
    """Return how many posted events are gone, and how many are there more than once."""
    with database.snapshot() as session:
        stored, known = session.execute(
            select(func.count(), func.count(usage_events.c.event_key.distinct()))
        ).one()
    return EVENTS - known, stored - known


def numbers_missing_and_doubled(database: Database) -> tuple[int, int]:
    """Return how many numbers of documents were left out, and how many given twice."""
    missing = doubled = 0
    given: dict[tuple[str, int], list[int]] = {}
    with database.snapshot() as session:
        for row in session.scalars(select(IssuedNumberRow)):
            given.setdefault((row.series, row.financial_year), []).append(row.sequence)
    for sequences in given.values():
        missing += len(set(range(1, max(sequences) + 1)) - set(sequences))
        doubled += len(sequences) - len(set(sequences))
    return missing, doubled


def _owed(database: Database) -> dict[str, tuple[str, int]]:
    """Return trust and pence of every invoice, by number."""
    with database.snapshot() as session:
        return {
            row.number or "": (invoices.read(row).buyer.ods_code, _pence(row.total))
            for row in invoices.invoices(session)
        }


def _pence(amount: Decimal) -> int:
    return int(amount * 100)


def _pounds(pence: int) -> str:
    return f"{pence // 100}.{pence % 100:02d}"
