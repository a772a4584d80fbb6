"""Usage in the portal, from everything of a month down to one event."""

import re

import pytest
from flask.testing import FlaskClient

from tests.trusts import ODS, OTHER_ODS, Shown

USAGE = f"/portal/{ODS}/usage"
STUDIES = f"{USAGE}?meter=studies-archived"


@pytest.fixture
def finance(shown: Shown) -> FlaskClient:
    """A browser of the first trust's finance viewer."""
    return shown.finance()


def test_a_month_shows_every_meter_and_what_it_costs_so_far(finance: FlaskClient) -> None:
    page = finance.get(USAGE).text
    assert "May 2026" in page
    for words in ("Studies archived", "Texts sent", "Imaging archive", "Patient messaging"):
        assert words in page
    rows = finance.get(f"{USAGE}.csv?month=2026-04").text.splitlines()
    assert rows[1:] == [
        "2026-04,Imaging archive,Studies archived,,1025,studies,30",
        "2026-04,Patient messaging,Texts sent,,4145,text messages,10",
    ]


@pytest.mark.parametrize("sort", ["meter", "service", "events", "amount"])
def test_the_month_sorts_by_every_column(finance: FlaskClient, sort: str) -> None:
    page = finance.get(f"{USAGE}?sort={sort}&direction=descending")
    assert 'aria-sort="descending"' in page.text


def test_a_meter_is_split_narrowed_and_added_up(finance: FlaskClient) -> None:
    page = finance.get(f"{STUDIES}&month=2026-04&split=modality&d.site=Royal").text
    assert "Only Site Royal." in page
    assert "<svg" in page
    rows = finance.get(f"{STUDIES}&month=2026-04&split=modality&d.site=Royal.csv")
    assert rows.status_code == 200
    lines = finance.get(f"{USAGE}.csv?meter=studies-archived&month=2026-04&split=modality").text
    assert "2026-04-01,Imaging archive,Studies archived,CT,43,studies,2" in lines
    assert "2026-04-01,Imaging archive,Studies archived,MR,19,studies,1" in lines


def test_a_year_is_shown_by_month(finance: FlaskClient) -> None:
    page = finance.get(f"{STUDIES}&view=month").text
    assert "the 12 months to May 2026" in page
    assert "April 2026</a>" in page


def test_a_day_leads_to_its_hours_and_they_to_single_events(finance: FlaskClient) -> None:
    hours = finance.get(f"{STUDIES}&view=hour&day=2026-04-01").text
    # 8:00 and 13:00 in UTC are 9am and 2pm in British summer.
    assert "9am" in hours
    assert "2pm" in hours
    hour = re.search(r'href="([^"]*usage/events[^"]*)"', hours)
    assert hour is not None
    events = finance.get(hour[1].replace("&amp;", "&")).text
    assert "9:01:00am" in events
    assert "2:01:00pm" not in events
    href = re.search(r'href="([^"]*/usage/events/imaging-archive/[^"]*)"', events)
    assert href is not None
    event = finance.get(href[1]).text
    for words in ("1 April 2026, 9:01:00am", "19 studies", "Counted"):
        assert words in event


def test_events_of_a_day_are_downloaded(finance: FlaskClient) -> None:
    path = f"{USAGE}/events.csv?meter=studies-archived&day=2026-04-01"
    rows = finance.get(path).text.splitlines()
    assert len(rows) == 4
    assert rows[0].endswith("modality,site,Quantity,Unit,State")


def test_another_trust_cannot_see_an_event_by_its_address(shown: Shown) -> None:
    path = f"{USAGE}/events?meter=studies-archived&day=2026-04-01"
    found = re.search(r"/usage/events/imaging-archive/[^\"]*", shown.finance().get(path).text)
    assert found is not None
    assert shown.finance().get(f"/portal/{ODS}{found[0]}").status_code == 200
    assert shown.finance(OTHER_ODS).get(f"/portal/{OTHER_ODS}{found[0]}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        f"{USAGE}?meter=nonsense",
        f"{USAGE}/events",
        f"{USAGE}/events?meter=studies-archived",
        f"{USAGE}/events/imaging-archive/2026-04/00000000-0000-0000-0000-000000000000",
        f"{USAGE}/events/imaging-archive/nonsense/00000000-0000-0000-0000-000000000000",
        f"{USAGE}/events/imaging-archive/2026-04/nonsense",
    ],
)
def test_what_there_is_not_is_not_found(finance: FlaskClient, path: str) -> None:
    assert finance.get(path).status_code == 404


@pytest.mark.parametrize(
    "query",
    ["month=nonsense", "month=2027-01", "day=nonsense&view=hour", "day=0001-01-01&view=hour"],
)
def test_an_address_that_makes_no_sense_still_shows_something(
    finance: FlaskClient, query: str
) -> None:
    assert finance.get(f"{USAGE}?{query}").status_code == 200
    assert finance.get(f"{STUDIES}&{query}&page=9&sort=x&d.nonsense=1&split=x").status_code == 200
