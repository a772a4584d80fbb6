"""The demonstration's usage: believable, exact and the same every time. No database."""

from collections import Counter
from datetime import date
from decimal import Decimal

import pytest

from billing.demo import catalogue, reference, usage
from billing.demo.usage import Plan
from billing.tariffs.parsing import parse_tariff
from metering.periods import Month, london

SERVICES = catalogue.services()
PLAN = Plan(Month(2026, 10), trust_count=40, event_count=6_000)


def events(plan: Plan = PLAN) -> list[usage.UsageEvent]:
    return [
        event for service in SERVICES for event in usage.events_of(plan, service, services=SERVICES)
    ]


def test_the_same_plan_gives_the_same_events() -> None:
    assert events() == events()


def test_another_seed_gives_other_ids_and_the_same_volume() -> None:
    other = Plan(PLAN.month, PLAN.trust_count, PLAN.event_count, seed=7)
    assert not {event.event_id for event in events()} & {event.event_id for event in events(other)}
    assert _sums(events()) == _sums(events(other))


def test_more_events_are_finer_slices_of_the_same_volume() -> None:
    finer = Plan(PLAN.month, PLAN.trust_count, 20_000)
    assert len(events(finer)) > len(events())
    assert _sums(events(finer)) == _sums(events())


def _sums(made: list[usage.UsageEvent]) -> Counter[tuple[str, str]]:
    sums: Counter[tuple[str, str]] = Counter()
    for event in made:
        for name, quantity in event.quantities.items():
            if name != "gigabytes":  # sizes vary by study
                sums[event.organisation, name] += int(quantity)
    return sums


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.code)
def test_events_come_in_order_of_time_inside_the_london_month(service: catalogue.Service) -> None:
    made = list(usage.events_of(PLAN, service, services=SERVICES))
    assert made == sorted(made, key=lambda event: (event.at, event.event_id))
    assert all(event.at in PLAN.month.period for event in made)
    assert len(made) == usage.count_of(PLAN, service, services=SERVICES)


def test_ids_are_unique() -> None:
    made = events()
    assert len({event.event_id for event in made}) == len(made)


def test_the_national_volume_is_shared_out_whole() -> None:
    sent = sum(
        event.quantities["parts"] for event in events() if event.dimensions.get("channel") == "sms"
    )
    assert sent == 9_000_000


def test_few_events_report_the_whole_volume_too() -> None:
    few = Plan(PLAN.month, trust_count=200, event_count=1_000)
    assert _sums(events(few)) == _sums(events(Plan(PLAN.month, 200, 30_000)))


def test_hospital_use_is_a_working_day_affair() -> None:
    archived = [event for event in events() if event.event_type == "study.archived"]
    by_day = Counter(london(event.at).weekday() for event in archived)
    assert by_day[1] > 2 * by_day[6]
    night = sum(1 for event in archived if london(event.at).hour in range(6))
    assert night < len(archived) / 10


def test_trusts_are_those_open_through_the_whole_month() -> None:
    chosen = usage.chosen_trusts(Plan(Month(2026, 6), trust_count=999))
    codes = {body.ods_code for body in chosen}
    assert "RVJ" in codes  # merged into RA7 on 1 July 2026
    assert "RVJ" not in {body.ods_code for body in usage.chosen_trusts(Plan(Month(2026, 7), 999))}
    assert "RY2" not in codes  # closed on 31 March 2026


def test_the_reference_data_is_whole() -> None:
    trusts = reference.trusts()
    assert len(trusts) == 245
    assert sum(1 for body in trusts if body.closed_from is None) == 202
    split = next(body for body in trusts if body.ods_code == "RW6")
    assert set(split.successors) == {"RM3", "R0A"}
    assert len(reference.integrated_care_boards()) == 48
    closed = [body for body in reference.integrated_care_boards() if body.closed_from]
    assert {body.closed_from for body in closed} == {date(2026, 4, 1)}


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.code)
def test_every_tariff_of_the_catalogue_is_one_that_paygo_takes(
    service: catalogue.Service,
) -> None:
    tariff = parse_tariff(service.tariff)
    meters = {meter.code: meter for meter in service.meters}
    assert tariff.meters <= set(meters)
    assert all(meters[code].resolution == "hour" for code in tariff.banded_meters)


def test_meters_and_streams_of_each_service_fit_together() -> None:
    for service in SERVICES:
        assert service.tariff["tariff"] == service.code
        types = {stream.event_type for stream in service.streams}
        assert {meter.event_type for meter in service.meters} == types
        for stream in service.streams:
            for meter in service.meters:
                for name, value in stream.dimensions.items():
                    assert value in meter.dimensions[name]["values"]


def test_a_file_of_the_catalogue_that_lacks_something_is_refused_in_words() -> None:
    with pytest.raises(catalogue.CatalogueUnreadable, match=r"wrong\.yaml lacks 'code'"):
        catalogue.parse_service("source: {name: Nothing}", name="wrong.yaml")


def test_sizes_average_to_a_hundred() -> None:
    known = [
        body
        for body in reference.trusts()
        if body.closed_from is None and body.kind in {"acute", "specialist"}
    ]
    average = sum(map(reference.size, known), Decimal()) / len(known)
    assert 90 < average < 110
