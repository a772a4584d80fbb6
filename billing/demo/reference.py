"""The packaged reference data: trusts, integrated care boards and how large a trust is.

`reference/README.md` says where each figure comes from.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

_FOLDER = files("billing.demo") / "reference"

# Parts of an average acute trust's size, for kinds of trust without imaging figures.
_SIZE_OF_KIND = {
    "acute": Decimal(40),
    "specialist": Decimal(35),
    "mental_health": Decimal(30),
    "community": Decimal(25),
    "ambulance": Decimal(20),
    "digital": Decimal(5),
    "temporary": Decimal(5),
}


@dataclass(frozen=True)
class Body:
    """An NHS body.

    Attributes:
        ods_code: its code in the Organisation Data Service.
        kind: acute, specialist, mental_health, community, ambulance, digital or icb.
        opened_on: first London date; None where the file gives none.
        closed_from: first London date on which it is gone; None while it is open.
        successors: ODS codes of those who took over on `closed_from`.
    """

    ods_code: str
    name: str
    kind: str
    opened_on: date | None
    closed_from: date | None
    successors: tuple[str, ...]
    postcode: str | None

    def open_throughout(self, first: date, end: date) -> bool:
        """Say whether it exists on every London date of [first, end)."""
        return (self.opened_on is None or self.opened_on <= first) and (
            self.closed_from is None or self.closed_from >= end
        )


@cache
def trusts() -> tuple[Body, ...]:
    """Return the English NHS trusts, open and closed, by ODS code."""
    return tuple(sorted(_bodies("trusts.csv"), key=lambda body: body.ods_code))


@cache
def integrated_care_boards() -> tuple[Body, ...]:
    """Return the integrated care boards, open and closed, by ODS code."""
    return tuple(sorted(_bodies("icbs.csv"), key=lambda body: body.ods_code))


def _bodies(file: str) -> Iterator[Body]:
    with (_FOLDER / file).open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            yield Body(
                ods_code=row["ods_code"],
                name=row["name"],
                kind=row.get("kind") or "icb",
                opened_on=_date(row["open_date"]),
                # The files give the last day of existence.
                closed_from=_day_after(_date(row["close_date"])),
                successors=tuple(code for code in row["successor"].split(";") if code),
                postcode=row.get("postcode") or None,
            )


def _date(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def _day_after(day: date | None) -> date | None:
    return None if day is None else day + timedelta(days=1)


@cache
def _volumes() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(
        (_FOLDER / "volumes.json").read_text(encoding="utf-8"), parse_float=Decimal
    )
    return loaded


def size(body: Body) -> Decimal:
    """Return how large a trust is, where an average acute trust is 100."""
    known = _volumes()["trusts"]
    figures = known.get(body.ods_code)
    if figures is None:
        return _SIZE_OF_KIND[body.kind]
    # The weights are parts of the national total, so they add up to one.
    return Decimal(figures["weight"]) * len(known) * 100


def monthly_volume(body: Body, kind: str) -> int:
    """Return a trust's monthly number of studies of one kind, for example `CT`.

    A trust without figures of its own has the median's, cut to its size.
    """
    figures = _volumes()["trusts"].get(body.ods_code)
    if figures is not None:
        return int(figures["monthly"][kind])
    return int(_volumes()["median_trust_monthly"][kind] * size(body) / 100)


def messaging_tariff() -> dict[str, Any]:
    """Return GOV.UK Notify's published prices and allowances by financial year."""
    loaded: dict[str, Any] = json.loads(
        (_FOLDER / "notify_tariff.json").read_text(encoding="utf-8"), parse_float=Decimal
    )
    return loaded
