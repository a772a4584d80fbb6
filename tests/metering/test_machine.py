"""Whatever is posted, in whatever order, the readings add up to what a plain model says."""

import dataclasses
import random
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from metering import jobs
from metering.events.tables import usage_events
from metering.kit import db
from metering.kit.db import Database, Direct
from metering.periods import Month, london_day
from metering.readings.operations import rebuild
from metering.readings.queries import unbalanced, usage_by_day
from tests.emptying import Lender
from tests.metering import make
from tests.metering.make import NOW, event, withdrawal

TIMES = (
    "2026-06-30T22:59:59Z",
    "2026-06-30T23:00:00Z",
    "2026-03-29T00:59:59Z",
    "2026-03-29T01:00:00Z",
    "2025-10-26T00:30:00Z",
    "2025-10-26T01:30:00Z",
    "2026-07-15T08:59:00+00:00",
)
MONTHS = [Month(2025, 10), Month(2026, 3), Month(2026, 6), Month(2026, 7)]


class Meter(RuleBasedStateMachine):
    """Accept, repeat, conflict, withdraw, replace, send late, crash, roll up, rebuild."""

    lender: Lender

    def __init__(self) -> None:
        super().__init__()
        # Events are append-only, so every example has a database of its own.
        self.stack = ExitStack()
        url = self.stack.enter_context(self.lender.lend())
        self.database = Database(url)
        self.stack.callback(self.database.dispose)
        make.catalogue(self.database)
        self.service = make.service(self.database)
        self.accepted: dict[str, dict[str, Any]] = {}
        self.withdrawn: set[str] = set()
        self.number = 0

    def _new(self, **changed: Any) -> dict[str, Any]:
        self.number += 1
        return event(self.number, **changed)

    @rule(
        times=st.lists(st.sampled_from(TIMES), min_size=1, max_size=4),
        subject=st.sampled_from(["RRK", "RA7"]),
        quantity=st.decimals(0, 10**9, places=9),
        modality=st.sampled_from(["CT", "MR"]),
    )
    def accept(self, times: list[str], subject: str, quantity: Decimal, modality: str) -> None:
        made = [
            self._new(
                time=time, subject=subject, data={"studies": f"{quantity:f}", "modality": modality}
            )
            for time in times
        ]
        assert self.service.post(*made).accepted == len(made)
        self.accepted |= {one["id"]: one for one in made}

    @rule(seed=st.integers(0, 10**6))
    def repeat(self, seed: int) -> None:
        if self.accepted:
            sent = [self.accepted[key] for key in self._some(seed, 3)]
            assert self.service.post(*sent, sent[0]).count("duplicate") == len(sent) + 1

    @rule(seed=st.integers(0, 10**6), time=st.sampled_from(TIMES))
    def conflict(self, seed: int, time: str) -> None:
        if self.accepted:
            (key,) = self._some(seed, 1)
            if "replaces" in self.accepted[key]:
                return
            other = self.accepted[key] | {"time": time, "subject": "RRK"}
            other = other | {"data": {"studies": "0.000000007", "modality": "US"}}
            assert self.service.post(other, self._refused()).count("conflict") == 1

    @rule(seed=st.integers(0, 10**6))
    def withdraw(self, seed: int) -> None:
        if self.accepted:
            (key,) = self._some(seed, 1)
            self.number += 1
            sent = withdrawal(
                self.number, self.accepted[key], subject=self.accepted[key]["subject"]
            )
            assert self.service.post(sent).accepted == (key not in self.withdrawn)
            self.withdrawn.add(key)

    @rule(seed=st.integers(0, 10**6), time=st.sampled_from(TIMES))
    def replace(self, seed: int, time: str) -> None:
        if self.accepted:
            (key,) = self._some(seed, 1)
            old = self.accepted[key]
            made = self._new(time=time, subject=old["subject"], replaces=key)
            if self.service.post(made).accepted:
                assert key not in self.withdrawn
                self.accepted[made["id"]] = made
            self.withdrawn.add(key)

    @rule(times=st.lists(st.sampled_from(TIMES), min_size=1, max_size=3), stored=st.booleans())
    def crash(self, times: list[str], stored: bool) -> None:
        """The process dies before or after the commit, and the source sends all again."""
        made = [self._new(time=time) for time in times]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Direct, "_once", self._dying(stored=stored))
            patch.setattr(db.time, "sleep", lambda _seconds: None)
            with pytest.raises(OperationalError):
                self.service.post(*made)
        self.service = dataclasses.replace(self.service, ingest=make.service(self.database).ingest)
        receipt = self.service.post(*made)
        assert receipt.accepted == (0 if stored else len(made))
        assert receipt.accepted + receipt.count("duplicate") == len(made)
        self.accepted |= {one["id"]: one for one in made}

    @staticmethod
    def _dying(*, stored: bool) -> Callable[..., Any]:
        once = Direct._once

        def die(connection: psycopg.Connection[Any]) -> None:
            connection.close()
            raise psycopg.OperationalError("cut")

        def dying(
            direct: Direct, work: Callable[[psycopg.Connection[Any]], Any], *, pipelined: bool
        ) -> Any:
            if stored:
                once(direct, work, pipelined=pipelined)
                return once(direct, die, pipelined=False)
            return once(
                direct,
                lambda connection: (work(connection), die(connection)),
                pipelined=pipelined,
            )

        return dying

    @rule()
    def roll_up(self) -> None:
        jobs.roll_up(self.database, now=NOW)

    def _refused(self) -> dict[str, Any]:
        return self._new(subject="ZZZ")

    def _some(self, seed: int, most: int) -> list[str]:
        keys = sorted(self.accepted)
        return random.Random(seed).sample(keys, min(most, len(keys)))

    @invariant()
    def events_are_what_the_model_says(self) -> None:
        with self.database.snapshot() as session:
            found = session.scalar(
                select(func.sum(usage_events.c.quantity)).where(usage_events.c.meter_id == 1)
            )
        assert (found or Decimal(0)) == sum(self._expected().values())

    def _expected(self) -> dict[tuple[Any, str, str], Decimal]:
        total: dict[tuple[Any, str, str], Decimal] = defaultdict(Decimal)
        for key, one in self.accepted.items():
            if key not in self.withdrawn:
                day = london_day(make.datetime.fromisoformat(one["time"]))
                data = one["data"]
                total[day, one["subject"], data["modality"]] += Decimal(data["studies"])
        return total

    def teardown(self) -> None:
        with self.stack:
            self._check_readings()

    def _check_readings(self) -> None:
        jobs.roll_up(self.database, now=NOW)
        expected = self._expected()
        with self.database.snapshot() as session:
            rows = list(
                usage_by_day(
                    session,
                    first_on=MONTHS[0].first_day,
                    end_on=MONTHS[-1].end_day,
                    meter_ids=[1],
                )
            )
            assert all(unbalanced(session, month=month) == [] for month in MONTHS)
        assert sum(row.quantity for row in rows) == sum(expected.values())
        by_day: dict[Any, Decimal] = defaultdict(Decimal)
        for row in rows:
            by_day[row.used_on] += row.quantity
        for day in by_day:
            assert by_day[day] == sum(
                quantity for key, quantity in expected.items() if key[0] == day
            )
        with self.database.transaction() as session:
            assert [rebuild(session, month=month, now=NOW) for month in MONTHS] == [0] * 4


def test_readings_equal_the_model_whatever_happens(lender: Lender) -> None:
    Meter.lender = lender
    run_state_machine_as_test(
        Meter,
        settings=settings(
            max_examples=12,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
