"""How far off forecasts are on the demonstration's usage: three months of some trusts."""

from collections import defaultdict
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session

from billing.accounts import operations as accounts
from billing.demo.catalogue import services
from billing.demo.usage import Plan, chosen_trusts, events_of, is_used_by
from billing.forecasts.pricing import backtest
from metering.meters import operations as meters
from metering.meters.queries import by_code
from metering.organisations.queries import by_ods_code
from metering.periods import Month, london
from metering.readings.tables import WHOLE_DAY, ReadingRow
from metering.sources import operations as sources
from tests import make

TRUSTS, EVENTS = 12, 8_000
SEPTEMBER = Month(2026, 9)
MONTHS = [SEPTEMBER.shift(-2), SEPTEMBER.previous, SEPTEMBER]


def load(session: Session) -> None:
    """The demonstration's services, trusts, agreements and readings, without its events."""
    plans = [Plan(month, trust_count=TRUSTS, event_count=EVENTS) for month in MONTHS]
    catalogue = services()
    trusts = chosen_trusts(plans[0])
    ids = {}
    for trust in trusts:
        made = make.account(session, code=trust.ods_code, name=trust.name)
        ids[trust.ods_code] = made.id
    for service in catalogue:
        sources.register(session, code=service.code, name=service.name, now=make.NOW)
        for meter in service.meters:
            meters.register(
                session,
                source_code=service.code,
                code=meter.code,
                name=meter.name,
                event_type=meter.event_type,
                aggregation=meter.aggregation,
                quantity_field=meter.quantity_field,
                unit=meter.unit,
                dimensions=meter.dimensions,
                resolution=meter.resolution,
                now=make.NOW,
            )
        make.tariff(
            session,
            *service.tariff["prices"],
            code=service.code,
            **{
                name: value
                for name, value in service.tariff.items()
                if name in ("vat", "bands", "cos_heading")
            },
        )
        for trust in trusts:
            if is_used_by(service, trust):
                accounts.make_agreement(
                    session,
                    account_id=ids[trust.ods_code],
                    tariff_code=service.code,
                    starts_on=date(2026, 4, 1),
                    principal=make.ANALYST,
                    now=make.NOW,
                )
    sums: dict[tuple[int, int, date, int, int], Decimal] = defaultdict(Decimal)
    counts: dict[tuple[int, int, date, int, int], int] = defaultdict(int)
    subject_ids = {code: by_ods_code(session, ods_code=code).id for code in ids}
    sets: dict[tuple[tuple[str, str], ...], int] = {}
    for service in catalogue:
        counted = [(meter, by_code(session, code=meter.code).id) for meter in service.meters]
        for plan in plans:
            for event in events_of(plan, service, services=catalogue):
                at = london(event.at)
                for meter, meter_id in counted:
                    if meter.event_type != event.event_type:
                        continue
                    labels = tuple(
                        sorted((n, v) for n, v in event.dimensions.items() if n in meter.dimensions)
                    )
                    if labels not in sets:
                        sets[labels] = meters.dimension_set_id(session, dimensions=dict(labels))
                    key = (
                        subject_ids[event.organisation],
                        meter_id,
                        at.date(),
                        sets[labels],
                        at.hour if meter.resolution == "hour" else WHOLE_DAY,
                    )
                    sums[key] += (
                        event.quantities.get(meter.quantity_field, Decimal(0))
                        if meter.quantity_field
                        else 1
                    )
                    counts[key] += 1
    session.execute(
        insert(ReadingRow),
        [
            {
                "subject_id": subject,
                "meter_id": meter_id,
                "used_on": day,
                "dimension_set_id": dimension_set,
                "hour": hour,
                "quantity": quantity,
                "event_count": counts[subject, meter_id, day, dimension_set, hour],
                "updated_at": make.NOW,
            }
            for (subject, meter_id, day, dimension_set, hour), quantity in sums.items()
        ],
    )


@pytest.mark.slow
def test_the_nation_is_foretold_within_five_percent(session: Session) -> None:
    load(session)
    found = backtest(session, month=SEPTEMBER, days=[8, 15, 22])
    assert all(abs(item.error_percent) < 5 for item in found)
    assert all(item.spread_percent < 10 for item in found)
    assert all(item.low <= item.actual <= item.high for item in found)
