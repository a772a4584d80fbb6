"""A batch that is judged a column at a time is judged as one event after the other is."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.events import usual
from metering.events.catalogue import Catalogue, Subject, event_type, packed_int4
from metering.events.decoding import BATCH_TYPE, decode
from metering.events.judging import judge
from metering.events.lots import Lot
from metering.events.rules import Window
from metering.meters.model import Meter
from metering.sources.model import EVENTS_WRITE, SourcePrincipal

NOW = datetime(2026, 7, 15, 9, tzinfo=UTC)
ARCHIVED = Meter(
    code="studies",
    name="Studies",
    event_type="study.archived",
    aggregation="sum",
    quantity_field="studies",
    unit="study",
    dimensions={"modality": {"label": "Modality", "values": ["CT", "MR"]}, "site": {}},
    filter={"modality": ["CT"]},
)
COUNTED = replace(
    ARCHIVED, code="requests", event_type="study.asked", aggregation="count", quantity_field=None
)
PRINCIPAL = SourcePrincipal(1, "archive", "k", "p", frozenset({EVENTS_WRITE}))


def catalogue() -> Catalogue:
    """Return a catalogue that remembers no shape yet."""
    return Catalogue(
        version=1,
        keys={},
        source_ids={"archive": 1},
        subjects={
            "RRK": Subject(1, packed_int4(1), None, None, ()),
            "RA7": Subject(2, packed_int4(2), None, NOW, ("RRK",)),
        },
        types={
            (1, "study.archived"): event_type(((1, ARCHIVED),)),
            (1, "study.asked"): event_type(((2, COUNTED),)),
        },
    )


def one(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"018f5a2e-6b7c-7def-a123-{number:012x}",
        "source": "archive",
        "type": "study.archived",
        "subject": "RRK",
        "time": "2026-07-03T10:00:00.25Z",
        "data": {"studies": f"{number}.50", "modality": "CT"},
    } | changed


FIRST = {"time": "2026-06-30T23:00:00Z"}
"""July's first instant in London."""

UNUSUAL: list[dict[str, Any]] = [
    {"specversion": "0.3"},
    {"id": "order 66"},
    {"id": "018f5a2e-6b7c-7def-a123-000000000001"},
    {"source": "elsewhere"},
    {"type": "study.asked", "data": {"modality": "CT"}},
    {"type": "study.lost"},
    {"subject": "ZZZ"},
    {"subject": "RA7"},
    {"time": "2026-07-03T11:00:00.25+01:00"},
    {"time": "2026-07-03T10:00:00"},
    {"time": "2026-06-30T22:59:59.999999Z"},
    {"time": "2026-07-15T09:05:00.000001Z"},
    {"time": "2020-01-01T00:00:00Z"},
    {"data": {"modality": "CT", "studies": "2"}},
    {"data": {"studies": "2"}},
    {"data": {"studies": "2", "modality": "MR"}},
    {"data": {"studies": "2", "modality": "XR"}},
    {"data": {"studies": "2", "modality": "CT", "site": "north"}},
    {"data": {"studies": "2", "modality": ["CT"]}},
    {"data": {"studies": 2, "modality": "CT"}},
    {"data": {"studies": "-2", "modality": "CT"}},
    {"data": {"modality": "CT"}},
    {"data": {}},
    {"replaces": "order 65"},
    {"withdraws": "order 65"},
    {"colour": "red"},
]


def judged(events: list[dict[str, Any]], known: Catalogue) -> Lot:
    decoded = decode(msgspec.json.encode(events), media_type=BATCH_TYPE, headers={})
    return judge(
        decoded,
        catalogue=known,
        principal=PRINCIPAL,
        window=Window.at(NOW, correction_months=13),
        dimension_sets=lambda dimensions: packed_int4(10 + len(dimensions)),
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from([{}] * 9 + [FIRST, *UNUSUAL])), max_size=3
    )
)
def test_whatever_is_in_a_batch_both_ways_say_the_same(
    put: list[tuple[int, dict[str, Any]]],
) -> None:
    events = [one(number) for number in range(40)]
    for place, changed in put:
        events[place : place + 1] = [one(100 + place, **changed)]
    known, fresh = catalogue(), catalogue()
    judged(events, known)  # now its shapes are remembered
    by_columns = judged(events, known)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usual, "USUAL_MIN", 1_000)
        one_by_one = judged(events, fresh)
    plain = {"envelopes": (), "types": {}}
    assert replace(by_columns, **plain) == replace(one_by_one, **plain)


def test_a_usual_batch_is_judged_by_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    known = catalogue()
    events = [one(number) for number in range(40)]
    loops: list[int] = []
    monkeypatch.setattr(
        "metering.events.judging._take_all", lambda items, *_: loops.append(len(items))
    )
    judged(events, known)
    kind = known.types[1, "study.archived"]
    assert (loops, kind.shapes) == ([40], {}), "dimensions never met are the loop's to work out"
    monkeypatch.undo()
    judged(events[:1], known)
    monkeypatch.setattr("metering.events.judging._take_all", lambda *_: pytest.fail("the loop"))
    assert len(judged(events, known).keys) == 40


@pytest.mark.parametrize("unusual", UNUSUAL, ids=str)
def test_anything_unusual_is_left_to_the_loop(
    unusual: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = catalogue()
    judged([one(0)], known)
    loops: list[int] = []
    monkeypatch.setattr(
        "metering.events.judging._take_all", lambda items, *_: loops.append(len(items))
    )
    lot = judged([*(one(number) for number in range(40)), one(99, **unusual)], known)
    # The same members in another order, or a time with an offset, are no fault of an event.
    assert loops == [41]
    assert (lot.keys, lot.rows.position, lot.places, lot.fates) == ([], [], set(), [])
