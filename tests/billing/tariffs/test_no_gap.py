"""Whatever is approved and withdrawn, in whatever order: one version on any day."""

import random
from datetime import date, timedelta

import pytest
from sqlalchemy.orm import Session

from billing.tariffs import operations, queries
from tests import make

FIRST = date(2026, 4, 1)


@pytest.mark.parametrize("seed", range(4))
def test_exactly_one_version_holds_on_every_day_from_the_first(session: Session, seed: int) -> None:
    draw = random.Random(seed)
    make.source(session)
    make.meter(session)
    make.tariff(session, effective_from=FIRST)
    for number in range(12):
        day = FIRST + timedelta(days=draw.randrange(60))
        row = make.tariff(session, version=f"n{number}", effective_from=day)
        if draw.random() < 0.4 and day > FIRST:
            operations.withdraw_version(
                session,
                version_id=row.id,
                principal=make.ANALYST,
                now=make.NOW,
                today=FIRST,
                reason="tried",
            )
        held = queries.in_force(session, from_day=FIRST, to_day=date(2027, 4, 1))
        starts = [item.tariff.effective_from for item in held]
        assert starts[0] == FIRST
        assert [item.effective_to for item in held] == [*starts[1:], None]
