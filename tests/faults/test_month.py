"""A month is billed and paid while its processes and its database are killed again and again."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
import pytest

from metering.kit.db import Database
from metering.kit.migrate import upgrade
from metering.kit.postgres import EmbeddedPostgres
from tests import databases
from tests.billing.notifications.receivers import Hook, web_server
from tests.billing.payments.fake_stripe import fake_stripe
from tests.faults import month
from tests.faults.dying import Ended, Fault, attempt
from tests.faults.month import STEPS, Outcome, Step, World
from tests.faults.tally import Tally
from tests.processes import wait_for

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
