"""Charts as whole-number geometry: pure, drawn by the macro `ui.chart` as SVG.

A chart never stands alone: the macro puts the table of its values behind it.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Literal

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 84, 12, 12, 36
_STEPS = (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))
_INNER_WIDTH = WIDTH - LEFT - RIGHT
_INNER_HEIGHT = HEIGHT - TOP - BOTTOM


@dataclass(frozen=True)
class Series:
    """One line, or the bars of one colour.

    Attributes:
        name: as the legend and the table's column say.
        values: one for each label; None where there is none.
        shown: the values as text, `£1,234.50`; as many as `values`.
        expected_from: index from which values are a forecast, drawn hollow.
    """

    name: str
    values: tuple[Decimal | None, ...]
    shown: tuple[str, ...]
    expected_from: int | None = None


@dataclass(frozen=True)
class Bar:
    """A rectangle in the drawing's units."""

    x: int
    y: int
    width: int
    height: int
    series: int
    expected: bool
    label: str


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its place and its text."""

    place: int
    text: str


@dataclass(frozen=True)
class Chart:
    """A chart and its table.

    Attributes:
        title: what it shows, in a sentence-case phrase.
        summary: its message in one sentence; the drawing's text alternative.
        label_name: heading of the labels' column, for example `Month`.
        labels: along the horizontal axis.
        series: one to four.
        kind: `bar` or `line`.
        prefix: before the numbers of the vertical axis, for example `£`.
        unit: after them, for example ` TB`.
        limit: a value to mark across, for example a budget.
        limit_name: what it is.
    """

    title: str
    summary: str
    label_name: str
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    kind: Literal["bar", "line"] = "bar"
    prefix: str = ""
    unit: str = ""
    limit: Decimal | None = None
    limit_name: str = "Limit"

    def __post_init__(self) -> None:
        if not 1 <= len(self.series) <= 4:
            raise ValueError("a chart has one to four series")
        for series in self.series:
            if not len(series.values) == len(series.shown) == len(self.labels):
                raise ValueError(f"'{series.name}' has not one value for each label")
            if any(value is not None and value < 0 for value in series.values):
                raise ValueError("a chart starts at nought; it cannot show a negative value")

    @property
    def is_empty(self) -> bool:
        """Whether there is not one value to draw."""
        return all(value is None for series in self.series for value in series.values)

    @property
    def _step(self) -> Decimal:
        values = [value for series in self.series for value in series.values if value is not None]
        if self.limit is not None:
            values.append(self.limit)
        most = max(values, default=Decimal(0)) or Decimal(1)
        rough = most / 4
        power = Decimal(1).scaleb(rough.adjusted())
        return next(step * power for step in _STEPS if step * power >= rough)

    @property
    def _steps(self) -> int:
        values = [value for series in self.series for value in series.values if value is not None]
        most = max([*values, self.limit or Decimal(0)]) or Decimal(1)
        return int((most / self._step).to_integral_value(ROUND_CEILING))

    def y(self, value: Decimal) -> int:
        """Return the height of a value in the drawing."""
        share = value / (self._step * self._steps)
        return TOP + _INNER_HEIGHT - round(share * _INNER_HEIGHT)

    def _slot(self) -> Decimal:
        return Decimal(_INNER_WIDTH) / max(1, len(self.labels))

    def y_ticks(self) -> tuple[Tick, ...]:
        """Return the marks of the vertical axis, from nought up."""
        ticks = []
        for number in range(self._steps + 1):
            value = self._step * number
            text = f"{value:,f}"
            text = text.rstrip("0").rstrip(".") if "." in text else text
            ticks.append(Tick(self.y(value), f"{self.prefix}{text}{self.unit}"))
        return tuple(ticks)

    def x_ticks(self) -> tuple[Tick, ...]:
        """Return the labels that fit along the horizontal axis."""
        longest = max((len(label) for label in self.labels), default=1)
        room = longest * 8 + 12
        every = max(1, -(-room // max(1, int(self._slot()))))
        return tuple(
            Tick(self._middle(index), label)
            for index, label in enumerate(self.labels)
            if index % every == 0
        )

    def _middle(self, index: int) -> int:
        return LEFT + int(self._slot() * index + self._slot() / 2)

    def bars(self) -> tuple[Bar, ...]:
        """Return the bars of a bar chart."""
        slot = self._slot()
        group = max(2, int(slot * 7 / 10))
        width = max(1, group // len(self.series))
        bars = []
        for number, series in enumerate(self.series):
            for index, value in enumerate(series.values):
                if value is None:
                    continue
                top = self.y(value)
                bars.append(
                    Bar(
                        x=self._middle(index) - group // 2 + number * width,
                        y=top,
                        width=width,
                        height=TOP + _INNER_HEIGHT - top,
                        series=number + 1,
                        expected=series.expected_from is not None and index >= series.expected_from,
                        label=f"{self.labels[index]}, {series.name}: {series.shown[index]}",
                    )
                )
        return tuple(bars)

    def lines(self) -> tuple[tuple[int, str], ...]:
        """Return (series number, SVG path) of a line chart; a missing value breaks the line."""
        paths = []
        for number, series in enumerate(self.series):
            commands, pen = [], "M"
            for index, value in enumerate(series.values):
                if value is None:
                    pen = "M"
                    continue
                commands.append(f"{pen}{self._middle(index)} {self.y(value)}")
                pen = "L"
            paths.append((number + 1, " ".join(commands)))
        return tuple(paths)

    @property
    def frame(self) -> dict[str, int]:
        """Edges of the drawing area, for the macro."""
        return {
            "width": WIDTH,
            "height": HEIGHT,
            "left": LEFT,
            "right": WIDTH - RIGHT,
            "top": TOP,
            "bottom": TOP + _INNER_HEIGHT,
        }
