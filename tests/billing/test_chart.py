"""Charts: the geometry, in whole numbers."""

from decimal import Decimal
from itertools import pairwise

import pytest

from billing.chart import HEIGHT, WIDTH, Chart, Series

D = Decimal


def chart(*values: Decimal | None, **changes: object) -> Chart:
    given: dict[str, object] = {
        "title": "Spend",
        "summary": "Spend rose.",
        "label_name": "Month",
        "labels": tuple(f"M{number}" for number in range(1, len(values) + 1)),
        "series": (Series("Spend", values, tuple(str(value) for value in values)),),
        "prefix": "£",
        **changes,
    }
    return Chart(**given)  # type: ignore[arg-type]  # the test gives what the field wants


@pytest.mark.parametrize(
    ("most", "texts"),
    [
        (D("90"), ["£0", "£25", "£50", "£75", "£100"]),
        (D("1234.56"), ["£0", "£500", "£1,000", "£1,500"]),
        (D("0.04"), ["£0", "£0.01", "£0.02", "£0.03", "£0.04"]),
        (D("0"), ["£0", "£0.25", "£0.5", "£0.75", "£1"]),
    ],
)
def test_the_axis_has_round_numbers_from_nought(most: Decimal, texts: list[str]) -> None:
    assert [tick.text for tick in chart(most).y_ticks()] == texts


def test_bars_stand_on_the_axis_and_inside_the_frame() -> None:
    drawn = chart(D(10), None, D(40), D(0))
    bars = drawn.bars()
    assert [bar.label for bar in bars] == ["M1, Spend: 10", "M3, Spend: 40", "M4, Spend: 0"]
    assert {bar.y + bar.height for bar in bars} == {drawn.frame["bottom"]}
    assert all(drawn.frame["left"] <= bar.x and bar.x + bar.width <= WIDTH for bar in bars)
    # Rounded to a pixel, four times the value is four times the height.
    assert abs(bars[1].height - 4 * bars[0].height) <= 4
    assert bars[2].height == 0


def test_the_bars_of_two_series_stand_side_by_side() -> None:
    two = tuple(Series(name, (D(1), D(2)), ("1", "2")) for name in ("A", "B"))
    first, _, second, _ = chart(D(1), D(2), series=two).bars()
    assert first.x + first.width == second.x


def test_what_is_expected_is_drawn_otherwise() -> None:
    spend = Series("Spend", (D(1), D(2)), ("1", "2"), expected_from=1)
    assert [bar.expected for bar in chart(D(1), D(2), series=(spend,)).bars()] == [False, True]


def test_a_missing_value_breaks_the_line() -> None:
    ((number, path),) = chart(D(1), D(2), None, D(3), kind="line").lines()
    assert number == 1
    assert [part for part in path if part.isalpha()] == ["M", "L", "M"]


def test_a_limit_above_every_value_is_still_on_the_drawing() -> None:
    drawn = chart(D(10), limit=D(100))
    assert 0 <= drawn.y(D(100)) <= HEIGHT


def test_labels_that_would_touch_are_thinned_out() -> None:
    many = chart(*[D(1)] * 31)
    places = [tick.place for tick in many.x_ticks()]
    assert len(places) < 31
    assert min(b - a for a, b in pairwise(places)) >= 3 * 8


def test_a_chart_refuses_what_it_cannot_show() -> None:
    with pytest.raises(ValueError, match="negative"):
        chart(D(-1))
    with pytest.raises(ValueError, match="one value for each label"):
        chart(D(1), labels=("A", "B"))
    assert chart(None).is_empty
