"""The form that says which cost centres bear what: shares in rows, dated by months."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from marshmallow import Schema, ValidationError, fields

from billing.accounts.allocation import CostShare
from billing.forms import Form, read_form
from billing.money import plain
from metering.periods import Month

ROWS = 4
MOST_ROWS = 20
_PERCENT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,12})?")


class PercentField(fields.Field[Decimal]):
    """A percentage as people write it: `33.3333`, `70%`."""

    def _deserialize(
        self,
        value: Any,
        attr: str | None,  # noqa: ARG002 - marshmallow's signature
        data: Any,  # noqa: ARG002 - as above
        **kwargs: Any,  # noqa: ARG002 - as above
    ) -> Decimal:
        text = re.sub(r"[%\s]", "", str(value))
        if not _PERCENT.fullmatch(text):
            raise ValidationError("Enter a percentage, for example 33.5.")
        return Decimal(text)


class MonthField(fields.Field[Month]):
    """A month as the list box sends it: `2026-04`."""

    def _deserialize(
        self,
        value: Any,
        attr: str | None,  # noqa: ARG002 - marshmallow's signature
        data: Any,  # noqa: ARG002 - as above
        **kwargs: Any,  # noqa: ARG002 - as above
    ) -> Month:
        try:
            return Month.parse(str(value))
        except ValueError:
            raise ValidationError("Choose a month.") from None


def _schema(rows: int) -> Schema:
    shape: dict[str, fields.Field[Any]] = {
        "what": fields.String(load_default=""),
        "where": fields.String(load_default=""),
        "first": MonthField(required=True, error_messages={"required": "Choose a month."}),
    }
    for number in range(1, rows + 1):
        shape[f"centre-{number}"] = fields.String(load_default="")
        shape[f"code-{number}"] = fields.String(load_default="")
        shape[f"percent-{number}"] = PercentField(load_default=None)
    return Schema.from_dict(shape)()


@dataclass(frozen=True)
class Asked:
    """What was asked for: lines of a service, meter and dimension values, and who bears them."""

    tariff_code: str | None
    meter: str | None
    where: tuple[tuple[str, str], ...]
    first: Month
    shares: tuple[CostShare, ...]


def rows_of(typed: Mapping[str, str]) -> int:
    """Return how many rows of shares a form had; at least the usual."""
    numbers = [
        int(number)
        for name in typed
        if (number := name.partition("percent-")[2]).isascii() and number.isdigit()
    ]
    return min(max([ROWS, *(number for number in numbers if number <= MOST_ROWS)]), MOST_ROWS)


def read_allocation(typed: Mapping[str, str]) -> tuple[Form, Asked | None]:
    """Read the form; without an answer it says what is wrong, with everything as typed."""
    rows = rows_of(typed)
    form, sent = read_form(_schema(rows), typed)
    if sent is None:
        return form, None
    shares = []
    for number in range(1, rows + 1):
        centre, code = sent[f"centre-{number}"].strip(), sent[f"code-{number}"].strip()
        percent = sent[f"percent-{number}"]
        if not centre and not code and percent is None:
            continue
        if not centre:
            form = form.with_error("Enter the cost centre.", name=f"centre-{number}")
        if percent is None:
            form = form.with_error("Enter its share in percent.", name=f"percent-{number}")
        shares.append(
            CostShare(
                cost_centre=centre, subjective_code=code or None, percent=percent or Decimal(0)
            )
        )
    if not shares:
        form = form.with_error("Enter at least one cost centre.", name="centre-1")
    where: list[tuple[str, str]] = []
    for line in sent["where"].splitlines():
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        if not colon or not value.strip() or not name.strip():
            form = form.with_error("Write each as a name, a colon and a value.", name="where")
        where.append((name.strip(), value.strip()))
    if form.errors:
        return form, None
    tariff_code, _, meter = sent["what"].partition(":")
    return form, Asked(
        tariff_code or None, meter or None, tuple(where), sent["first"], tuple(shares)
    )


def form_of(
    *,
    what: str,
    where: Mapping[str, str],
    shares: tuple[CostShare, ...],
    first: Month,
) -> Form:
    """Return the form filled with a rule, to change it from a month on."""
    values = {
        "what": what,
        "where": "\n".join(f"{name}: {value}" for name, value in sorted(where.items())),
        "first": str(first),
    }
    for number, share in enumerate(shares, start=1):
        values[f"centre-{number}"] = share.cost_centre
        values[f"code-{number}"] = share.subjective_code or ""
        values[f"percent-{number}"] = plain(share.percent)
    return Form(values)
