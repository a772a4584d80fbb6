"""The tariff file: every fault at once, written back equal, compared in words."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.tariffs.files import dump_document, load_document
from billing.tariffs.model import (
    Band,
    TariffRefused,
    diff_tariffs,
    meter_faults,
    parse_prices,
    parse_tariff,
    slot_of,
    to_document,
)
from metering.meters.model import Meter

ARCHIVE = """
tariff: imaging-archive
version: "2026-04"
effective_from: 2026-04-01
vat: standard
cos_heading: "14"
bands:
  peak: "Mon-Fri 08:00-18:00"
prices:
  - meter: studies-archived
    where: {modality: CT}
    band: peak
    model: graduated
    scope: pool
    tiers:
      - {up_to: "100000", unit_price: "0.50", flat: "0"}
      - {up_to: null, unit_price: "0.35"}
    included: {quantity: "1000", per: month}
    discount_percent: "5"
    maximum: "5000.00"
    resets: month
"""


def document(*prices: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "tariff": "t",
        "version": "1",
        "effective_from": "2026-04-01",
        "vat": "standard",
        "prices": list(prices) or [{"meter": "m", "model": "per-unit", "unit_price": "1"}],
    } | more


def faults(found: object) -> list[tuple[str, str]]:
    with pytest.raises(TariffRefused) as refused:
        parse_tariff(found)
    return [(error.pointer, error.code) for error in refused.value.errors]


def test_the_designs_file_is_read() -> None:
    tariff = parse_tariff(load_document(ARCHIVE))

    (price,) = tariff.prices
    assert (tariff.code, tariff.version, tariff.cos_heading) == ("imaging-archive", "2026-04", "14")
    assert price.key == "studies-archived/modality=CT/peak/graduated"
    assert price.label == "Studies archived, modality CT, peak"
    assert [tier.up_to for tier in price.tiers] == [Decimal(100000), None]
    assert tariff.banded_meters == {"studies-archived"}


def test_a_file_written_back_reads_equal() -> None:
    tariff = parse_tariff(load_document(ARCHIVE))

    assert parse_tariff(load_document(dump_document(to_document(tariff)))) == tariff


def test_every_fault_is_told_at_once_by_its_place() -> None:
    found = document(
        {"meter": "m", "model": "per-unit", "unit_price": Decimal("0.5"), "colour": "red"},
        {"meter": "m", "model": "graduated", "tiers": [{"up_to": None, "unit_price": "1"}] * 2},
        {"model": "package", "meter": "m", "package_size": "0", "tiers": []},
        {"meter": "m", "model": "lease"},
        vat="reduced",
        effective_from="1 April 2026",
        bands={"peak": "Mon-Fri 08:30-18:00"},
    )

    assert sorted(faults(found)) == [
        ("/bands/peak", "bad-band"),
        ("/effective_from", "bad-date"),
        ("/prices/0/colour", "unknown-field"),
        ("/prices/0/unit_price", "unquoted-number"),
        ("/prices/1/tiers/0/up_to", "not-last"),
        ("/prices/2/package_price", "required"),
        ("/prices/2/package_size", "out-of-range"),
        ("/prices/2/tiers", "not-a-list"),
        ("/prices/2/tiers", "not-for-model"),
        ("/prices/3/model", "bad-choice"),
        ("/vat", "bad-choice"),
    ]


@pytest.mark.parametrize("found", [None, [], "tariff", 3])
def test_a_document_is_an_object(found: object) -> None:
    assert faults(found) == [("", "not-an-object")]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0.5, "unquoted-number"),
        (True, "not-a-number"),
        ("-1", "out-of-range"),
        ("NaN", "not-a-number"),
        ("Infinity", "not-a-number"),
        ("1,000", "not-a-number"),
        ("0.0000000000001", "too-many-places"),
        ("1e40", "out-of-range"),
        ("1" * 19, "out-of-range"),
        (["1"], "not-a-number"),
    ],
)
def test_a_unit_price_is_an_exact_number_in_quotes(value: object, code: str) -> None:
    found = document({"meter": "m", "model": "per-unit", "unit_price": value})

    assert faults(found) == [("/prices/0/unit_price", code)]


def test_whole_numbers_need_no_quotes() -> None:
    tariff = parse_tariff(document({"meter": "m", "model": "per-unit", "unit_price": 3}))

    assert tariff.prices[0].unit_price == 3


def test_tiers_rise() -> None:
    steps = [{"up_to": "10", "unit_price": "1"}, {"up_to": "10", "unit_price": "1"}]

    assert faults(document({"meter": "m", "model": "volume", "tiers": steps})) == [
        ("/prices/0/tiers/1/up_to", "not-rising")
    ]


GRADUATED = {"meter": "m", "model": "graduated", "scope": "pool"}


@pytest.mark.parametrize(
    ("price", "fault"),
    [
        (
            GRADUATED
            | {
                "tiers": [
                    {"up_to": "1", "unit_price": "1"},
                    {"up_to": None, "unit_price": "2"},
                ]
            },
            ("/prices/0/tiers/1/unit_price", "pool-rises"),
        ),
        (
            GRADUATED | {"tiers": [{"up_to": None, "unit_price": "1", "flat": "5"}]},
            ("/prices/0/tiers/0/flat", "pool-flat"),
        ),
        (
            GRADUATED
            | {
                "tiers": [
                    {"up_to": "9", "unit_price": "1"},
                    {"up_to": None, "unit_price": "0"},
                ]
            },
            ("/prices/0/tiers/1/unit_price", "pool-free"),
        ),
        (
            GRADUATED | {"tiers": [{"up_to": None, "unit_price": "1"}], "minimum": "5"},
            ("/prices/0/minimum", "own-only"),
        ),
        (
            {
                "meter": "m",
                "model": "package",
                "package_size": "1",
                "package_price": "1",
                "scope": "pool",
            },
            ("/prices/0/model", "pool-model"),
        ),
        (
            {"meter": "m", "model": "flat", "amount": "1", "scope": "group"},
            ("/prices/0/scope", "own-only"),
        ),
    ],
)
def test_the_pool_takes_only_prices_that_keep_its_promises(
    price: dict[str, Any], fault: tuple[str, str]
) -> None:
    assert faults(document(price)) == [fault]


def test_prices_that_are_equal_along_the_tiers_may_be_pooled() -> None:
    steps = [{"up_to": "1", "unit_price": "1"}, {"up_to": None, "unit_price": "1"}]

    assert parse_tariff(document(GRADUATED | {"tiers": steps})).prices[0].shared


def per_unit(**more: Any) -> dict[str, Any]:
    return {"meter": "m", "model": "per-unit", "unit_price": "1"} | more


def test_a_tie_is_refused() -> None:
    crossing = document(per_unit(where={"a": "1"}), per_unit(where={"b": "2"}))

    assert faults(crossing) == [("/prices/1", "tie")]


def test_prices_that_never_meet_are_no_tie() -> None:
    bands = {"peak": "Mon-Fri 08:00-18:00", "night": "22:00-06:00"}
    found = document(
        per_unit(where={"a": "1"}),
        per_unit(where={"a": "2"}),
        per_unit(where={"a": "1", "b": "1"}),
        per_unit(meter="n", band="peak"),
        per_unit(meter="n", band="night"),
        bands=bands,
    )

    assert len(parse_tariff(found).prices) == 5


def test_bands_that_overlap_tie() -> None:
    bands = {"day": "08:00-18:00", "late": "17:00-20:00"}

    assert faults(document(per_unit(band="day"), per_unit(band="late"), bands=bands)) == [
        ("/prices/1", "tie")
    ]


def test_the_same_key_twice_is_refused() -> None:
    assert ("/prices/1/key", "duplicate-key") in faults(document(per_unit(), per_unit()))


def test_a_price_in_a_band_that_is_not_there_is_refused() -> None:
    assert faults(document(per_unit(band="peak"))) == [("/prices/0/band", "unknown-band")]


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("Mon-Fri 08:00-18:00", {day * 24 + hour for day in range(5) for hour in range(8, 18)}),
        ("Sun 22:00-02:00", {166, 167, 0, 1}),
        ("Sat/Sun 00:00-24:00", set(range(120, 168))),
        ("Mon 00:00-01:00, Tue 23:00-24:00", {0, 47}),
        ("Sat-Mon 05:00-06:00", {5, 125, 149}),
    ],
)
def test_a_band_is_hours_of_the_week(text: str, slots: set[int]) -> None:
    assert Band.parse("b", text).slots == slots


@pytest.mark.parametrize("text", ["", "always", "Mon 08:00", "Mon 8:00-9:00", "Foo 08:00-09:00"])
def test_a_band_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"band|day"):
        Band.parse("b", text)


def test_slots_count_from_monday() -> None:
    tariff = parse_tariff(load_document(ARCHIVE))

    assert slot_of(tariff.effective_from, 10) == 2 * 24 + 10


def test_what_changed_is_said_in_words() -> None:
    old = parse_tariff(load_document(ARCHIVE))
    new = parse_tariff(
        load_document(
            ARCHIVE.replace('"0.35"', '"0.30"')
            .replace('"2026-04"', '"2026-07"')
            .replace("2026-04-01", "2026-07-01")
            .replace('"1000"', '"2000"')
            .replace("maximum: ", "# maximum: ")
        )
    )

    assert diff_tariffs(old, old) == ()
    assert diff_tariffs(old, new) == (
        "In force from 1 July 2026 (was 1 April 2026).",
        "Studies archived, modality CT, peak: monthly maximum £5000 becomes none.",
        "Studies archived, modality CT, peak: tiers up to 100000 £0.5; with no end £0.35 become "
        "up to 100000 £0.5; with no end £0.3.",
        "Studies archived, modality CT, peak: included quantity 1000 a month becomes 2000 a month.",
    )


def test_new_and_withdrawn_prices_are_said() -> None:
    old = parse_tariff(document(per_unit()))
    new = parse_tariff(
        document({"meter": "n", "model": "package", "package_size": "10", "package_price": "3"})
    )

    assert diff_tariffs(old, new) == (
        "N: a new price, £3 for each started 10.",
        "M: withdrawn (was £1 a unit).",
    )


def test_a_bare_list_of_prices_is_read_for_a_local_agreement() -> None:
    assert parse_prices([per_unit()])[0].key == "m/per-unit"
    with pytest.raises(TariffRefused):
        parse_prices([])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "prices",
                        "tariff",
                        "tiers",
                        "model",
                        "meter",
                        "where",
                        "bands",
                        "included",
                        "convert",
                        "up_to",
                        "key",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=20,
    )
)
def test_no_document_breaks_the_reader(found: object) -> None:
    with pytest.raises(TariffRefused):
        parse_tariff(found)


def test_a_tariff_names_only_registered_meters_dimensions_and_values() -> None:
    meter = Meter(
        code="studies",
        name="Studies",
        event_type="uk.study",
        aggregation="sum",
        quantity_field="studies",
        unit="study",
        dimensions={"modality": {"label": "Modality", "values": ["CT", "MR"]}},
    )
    tariff = parse_tariff(
        document(
            per_unit(meter="studies", where={"modality": "CT"}),
            per_unit(meter="studies", where={"modality": "XX"}),
            per_unit(meter="studies", where={"modality": "MR", "site": "A"}, band="peak"),
            per_unit(meter="others"),
            {"model": "flat", "amount": "1"},
            bands={"peak": "08:00-18:00"},
        )
    )

    assert [(error.pointer, error.code) for error in meter_faults(tariff, {"studies": meter})] == [
        ("/prices/1/where/modality", "unknown-value"),
        ("/prices/2/where/site", "unknown-dimension"),
        ("/prices/2/band", "needs-hours"),
        ("/prices/3/meter", "unknown-meter"),
    ]
