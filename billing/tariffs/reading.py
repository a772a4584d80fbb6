"""Reading single fields of a tariff document, and remembering what is wrong with them."""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from billing.money import plain
from metering.kit.errors import FieldError
from metering.kit.nhs_number import holds_nhs_number

Choice = TypeVar("Choice", bound=str)

NUMBER = re.compile(r"-?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,2})?", re.ASCII)
CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
WHOLE_DIGITS = 18


class Fields:
    """Collects faults while it reads; a faulty value reads as None."""

    def __init__(self) -> None:
        self.faults: list[FieldError] = []

    def fault(self, pointer: str, code: str, detail: str) -> None:
        """Remember a fault at a JSON pointer."""
        self.faults.append(FieldError(pointer, code, detail))

    def mapping(
        self, found: object, pointer: str, known: frozenset[str]
    ) -> Mapping[str, object] | None:
        """Return an object with named fields; a field not in `known` is a fault."""
        if not isinstance(found, Mapping):
            self.fault(pointer, "not-an-object", "Here belongs an object with named fields.")
            return None
        for name in found:
            if name not in known:
                self.fault(
                    f"{pointer}/{escape(str(name))}",
                    "unknown-field",
                    f"There is no field '{name}' here; known are {', '.join(sorted(known))}.",
                )
        return found

    def text(
        self,
        fields: Mapping[str, object],
        name: str,
        at: str,
        *,
        required: bool = True,
        pattern: re.Pattern[str] | None = None,
    ) -> str | None:
        """Return a text of 1 to 200 characters; whole numbers count as text."""
        value = fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if value is None:
            if required:
                self.fault(f"{at}/{name}", "required", f"'{name}' is missing.")
            return None
        if not isinstance(value, str) or not value.strip() or len(value) > 200:
            self.fault(f"{at}/{name}", "not-text", f"'{name}' is text of 1 to 200 characters.")
            return None
        if holds_nhs_number(value):
            self.fault(f"{at}/{name}", "nhs-number", f"'{name}' holds an NHS number. Take it out.")
            return None
        if pattern is not None and not pattern.fullmatch(value):
            self.fault(
                f"{at}/{name}", "bad-name", f"'{value}' has characters that '{name}' may not have."
            )
            return None
        return value

    def choice(
        self,
        fields: Mapping[str, object],
        name: str,
        at: str,
        choices: tuple[Choice, ...],
        *,
        default: Choice | None = None,
    ) -> Choice | None:
        """Return one of the choices; the default where the field is missing."""
        value = fields.get(name, default)
        for choice in choices:
            if value == choice:
                return choice
        code = "required" if value is None else "bad-choice"
        self.fault(f"{at}/{name}", code, f"'{name}' is one of {', '.join(choices)}.")
        return None

    def day(self, fields: Mapping[str, object], name: str) -> date | None:
        """Return a required London date."""
        value = fields.get(name)
        try:
            if isinstance(value, str):
                return date.fromisoformat(value)
        except ValueError:
            pass
        code = "required" if value is None else "bad-date"
        self.fault(f"/{name}", code, f"'{name}' is a London date written YYYY-MM-DD.")
        return None

    def number(
        self,
        fields: Mapping[str, object],
        name: str,
        at: str,
        places: int,
        *,
        above: bool = False,
        at_most: Decimal | None = None,
    ) -> Decimal | None:
        """Return an exact number, nought or more (or above nought), or None when missing."""
        value = fields.get(name)
        pointer = f"{at}/{name}"
        if value is None:
            return None
        if isinstance(value, Decimal | float):
            self.fault(
                pointer,
                "unquoted-number",
                f'Write the number in quotes, as "{value}", so that no digit of it is lost.',
            )
            return None
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        number: Decimal | None = None
        if isinstance(value, str) and NUMBER.fullmatch(value) and len(value) <= 40:
            try:
                number = Decimal(value)
            except InvalidOperation:
                number = None
        if number is None:
            self.fault(pointer, "not-a-number", f"'{name}' is a plain number, such as \"0.25\".")
        elif number < 0 or (above and number == 0):
            floor = "above nought" if above else "nought or more"
            self.fault(pointer, "out-of-range", f"'{name}' is {floor}.")
        elif at_most is not None and number > at_most:
            self.fault(pointer, "out-of-range", f"'{name}' is at most {at_most}.")
        elif places_of(number) > places:
            self.fault(pointer, "too-many-places", f"'{name}' has at most {places} places.")
        elif number >= Decimal(10) ** WHOLE_DIGITS:
            self.fault(pointer, "out-of-range", f"'{name}' has at most {WHOLE_DIGITS} digits.")
        else:
            return number
        return None


def places_of(number: Decimal) -> int:
    """Return the decimal places that a number needs."""
    _, dot, places = plain(number).partition(".")
    return len(places) if dot else 0


def escape(name: str) -> str:
    """Return a name as a JSON pointer holds it (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
