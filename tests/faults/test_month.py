"""A month is billed and paid while its processes and its database are killed again and again."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import psycopg
import pytest
import requests
from sqlalchemy import func, select

from billing.payments.tables import WebhookEventRow
from metering.kit.db import Database
from metering.kit.migrate import upgrade
from metering.kit.postgres import EmbeddedPostgres
from metering.kit.tables import AuditEntryRow
from tests import databases
from tests.billing.notifications.receivers import Hook, web_server
from tests.billing.payments.fake_stripe import SECRET_KEY, WEBHOOK_SECRET, fake_stripe
from tests.faults import month
from tests.faults.dying import Ended, Fault, attempt
from tests.faults.month import STEPS, Outcome, Step, World
from tests.faults.system import Paygo, serving
from tests.faults.tally import Tally
from tests.processes import wait_for
from tests.scenarios import story

pytestmark = pytest.mark.faults

_TRIES = {Fault.PROCESS: 6, Fault.CONNECTION: 6, Fault.BACKEND: 2, Fault.POSTMASTER: 1}
_ATTEMPTS_MAX = 40
_clones = count(1)


@dataclass
class Ground:
    """A database server of its own, with the month's beginning to make copies of.

    Attributes:
        passed: points that each step passes where nothing disturbs it, by its name.
        expected: what the month then comes to after each step.
    """

    folder: Path
    url: str
    hook: Hook
    passed: dict[str, int] = field(default_factory=dict)
    expected: dict[str, Outcome] = field(default_factory=dict)

    @contextmanager
    def world(self) -> Iterator[World]:
        """Yield the beginning of the month, with a Stripe of its own."""
        name = f"april_{next(_clones)}"
        databases.create(self.url, name, template="paygo")
        database = Database(databases.url_of(self.url, name))
        with fake_stripe() as stripe:
            try:
                yield World(database, stripe, self.hook.url)
            finally:
                database.dispose()


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("month") / "data"
    # Killing takes nothing from the kernel's cache, so nothing need be forced to the disk.
    with web_server() as hook, EmbeddedPostgres(folder, settings=("fsync=off",)) as url:
        upgrade(url)
        database = Database(url)
        month.begin(database, hook=hook.url)
        database.dispose()
        found = Ground(folder, url, hook)
        with found.world() as world:
            for step in STEPS:
                found.passed[step.name] = _undisturbed(world, step)
                found.expected[step.name] = month.outcome(world.database)
        yield found


def _undisturbed(world: World, step: Step) -> int:
    work = step.work(world)
    world.attempts += 1
    ended, passed = attempt(month.Now(work, world.now), world.database.url)
    assert ended is Ended.WHOLE, step.name
    assert month.wrongs(world.database, now=world.now, rated=step.rated) == []
    return passed


def test_an_undisturbed_month_is_worth_disturbing(ground: Ground) -> None:
    end = ground.expected[STEPS[-1].name]
    assert end.counts["documents pdf"] == len(month.TRUSTS)
    assert end.counts["payments"] == 4
    assert end.counts["delivery delivered"] == len(month.TRUSTS)
    assert end.money["ledger receivable"] > 0
    assert min(ground.passed.values()) > 5


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
def test_a_month_comes_to_the_same_pennies_whatever_is_killed(
    ground: Ground, tally: Tally, fault: Fault
) -> None:
    rng = random.Random(f"{tally.seed} {fault.name}")
    with ground.world() as world:
        # Its supervisor waits ever longer before it starts a server that keeps dying.
        struck = rng.sample(STEPS, k=4) if fault is Fault.POSTMASTER else STEPS
        for step in STEPS:
            tries = _TRIES[fault] if step in struck else 0
            tried, wrong = _survive(ground, world, step, fault, rng, tries=tries)
            if step not in struck:
                continue
            found, expected = month.outcome(world.database), ground.expected[step.name]
            lost, doubled = month.events_lost_and_doubled(world.database)
            missing, repeated = month.numbers_missing_and_doubled(world.database)
            row = tally.add(
                f"{fault} in {step.name}",
                tried,
                lost=lost,
                doubled=doubled,
                missing=missing,
                repeated=repeated,
                pence=month.pence_between(found, expected),
            )
            assert wrong == []
            assert found == expected
            assert row.harmless
            assert tried, "the fault never struck"


def _undisturbed_until(world: World, step: str) -> None:
    for one in STEPS:
        if one.name == step:
            return
        _undisturbed(world, one)


def test_two_do_a_bill_run_at_once_and_one_of_them_is_killed(ground: Ground, tally: Tally) -> None:
    rng = random.Random(f"{tally.seed} two")
    killed = 0
    with ground.world() as world, ThreadPoolExecutor(2) as threads:
        _undisturbed_until(world, "drafting")
        run_id = story.start(world.database, month.MONTH)

        def at_once(points: int, *works: month.Work) -> list[Ended]:
            nonlocal killed
            url = world.database.url
            world.attempts += 1
            one, other = (month.Now(work, world.now) for work in works)
            begun = [
                threads.submit(attempt, one, url, fault=Fault.PROCESS, at=rng.randint(1, points)),
                threads.submit(attempt, other, url),
            ]
            ended = [future.result()[0] for future in begun]
            killed += ended.count(Ended.KILLED)
            assert month.wrongs(world.database, now=world.now, rated=False) == []
            return ended

        drafting, issuing = ground.passed["drafting"], ground.passed["issue"]
        draft, issue = partial(month.draft, run_id), partial(month.issue, run_id)
        for _ in range(3):
            at_once(drafting, draft, draft)
        # Two people approve at the same moment, and one of their requests dies.
        approvals = [partial(month.approve, run_id, name) for name in ("usr_one", "usr_two")]
        for _ in range(3):
            at_once(12, *approvals)
        for _ in range(3):
            at_once(issuing, issue, issue)
        found = month.outcome(world.database)
        missing, repeated = month.numbers_missing_and_doubled(world.database)
        with world.database.snapshot() as session:
            approved = session.scalar(
                select(func.count()).where(AuditEntryRow.action == "approve bill run")
            )
    row = tally.add(
        "two do a bill run at once, one is killed",
        killed,
        missing=missing,
        repeated=repeated,
        pence=month.pence_between(found, ground.expected["issue"]),
    )
    assert row.harmless
    assert killed
    assert approved == 1
    assert found == ground.expected["issue"]


def test_webhooks_come_twice_in_any_order_while_workers_are_killed(
    ground: Ground, tally: Tally, tmp_path: Path
) -> None:
    rng = random.Random(f"{tally.seed} webhooks")
    with ground.world() as world:
        _undisturbed_until(world, "Stripe's webhooks")
        (step,) = (step for step in STEPS if step.name == "Stripe's webhooks")
        apply = step.work(world)
        webhooks = world.stripe.webhooks() * 3
        rng.shuffle(webhooks)
        keys = {
            "PAYGO_STRIPE_SECRET_KEY": SECRET_KEY,
            "PAYGO_STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "PAYGO_STRIPE_API_BASE": world.stripe.base,
        }
        with (
            serving(tmp_path, world.database.url, environment=keys) as (process, address),
            ThreadPoolExecutor(6) as threads,
        ):
            paygo = Paygo(address, "", world.database, ground.folder, tmp_path, process)
            wait_for(paygo.answers, seconds=120)
            told = [threads.submit(_tell, address, *webhook) for webhook in webhooks]
            for _ in range(3):
                paygo.kill_worker(rng)
            assert all(future.result() for future in told)
        with world.database.snapshot() as session:
            kept = session.scalar(select(func.count(WebhookEventRow.id))) or 0
        events = len(world.stripe.events)
        ended, _ = attempt(month.Now(apply, world.now), world.database.url)
        found, expected = month.outcome(world.database), ground.expected[step.name]
        wrong = month.wrongs(world.database, now=world.now, rated=True)
    row = tally.add(
        "webhooks thrice, shuffled, workers killed",
        3,
        lost=max(0, events - kept),
        doubled=max(0, kept - events),
        pence=month.pence_between(found, expected),
        note=f"{len(webhooks)} webhooks of {events} events",
    )
    assert row.harmless
    assert ended is Ended.WHOLE
    assert wrong == []
    assert found == expected


def _tell(address: str, content: bytes, signature: str) -> bool:
    """Tell of an event as Stripe does: again until it is answered."""
    for _ in range(200):
        try:
            answer = requests.post(
                f"{address}/webhooks/stripe",
                data=content,
                headers={"Stripe-Signature": signature, "Content-Type": "application/json"},
                timeout=10,
            )
        except requests.RequestException:
            time.sleep(0.1)
            continue
        if answer.status_code == 200:
            return True
        time.sleep(0.1)
    return False


def _survive(
    ground: Ground, world: World, step: Step, fault: Fault, rng: random.Random, *, tries: int
) -> tuple[int, list[str]]:
    """Do a step, with the fault at drawn points; return how often it struck and what is wrong."""
    work = step.work(world)
    tried, wrong = 0, []
    for number in range(_ATTEMPTS_MAX):
        world.attempts += 1
        at = _point(rng, ground.passed[step.name]) if tried < tries else 0
        ended, passed = attempt(
            month.Now(work, world.now),
            world.database.url,
            fault=fault if at else None,
            at=at,
            cluster=ground.folder,
        )
        struck = bool(at) and (ended is Ended.KILLED or passed >= at)
        tried += struck
        if fault in (Fault.BACKEND, Fault.POSTMASTER) and struck:
            wait_for(lambda: _answers(world.database.url))
        wrong += [
            f"after {number + 1} attempts: {one}"
            for one in month.wrongs(world.database, now=world.now, rated=False)
        ]
        if ended is Ended.WHOLE:
            break
    else:
        raise AssertionError(f"{step.name} never came to its end")
    return tried, wrong + month.wrongs(world.database, now=world.now, rated=step.rated)


def _point(rng: random.Random, points: int) -> int:
    """Draw a point; early ones more often, since what is done already is not done again."""
    return round(points ** rng.random())


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url.replace("+psycopg", ""), connect_timeout=2):
            return True
    except psycopg.Error:
        return False
