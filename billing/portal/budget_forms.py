"""Shapes of the forms about budgets."""

import re
from decimal import Decimal
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from billing.budgets.model import PERS

_POUNDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,2})?")


class PoundsField(fields.Field[Decimal]):
    """An amount as people write it: `£1,234.50`."""

    def _deserialize(
        self,
        value: Any,
        attr: str | None,  # noqa: ARG002 - marshmallow's signature
        data: Any,  # noqa: ARG002 - as above
        **kwargs: Any,  # noqa: ARG002 - as above
    ) -> Decimal:
        text = re.sub(r"[£,\s]", "", str(value))
        if not _POUNDS.fullmatch(text):
            raise ValidationError("Enter an amount in pounds and pence, for example 1,234.50.")
        return Decimal(text)


class SharesField(fields.Field[list[int]]):
    """Percentages as people write them: `50, 80, 100`."""

    def _deserialize(
        self,
        value: Any,
        attr: str | None,  # noqa: ARG002 - marshmallow's signature
        data: Any,  # noqa: ARG002 - as above
        **kwargs: Any,  # noqa: ARG002 - as above
    ) -> list[int]:
        parts = [part for part in re.split(r"[\s,%]+", str(value)) if part]
        if not parts or not all(part.isascii() and part.isdigit() for part in parts):
            raise ValidationError("Enter percentages, for example 50, 80, 100.")
        return [int(part[:6]) for part in parts]


class BudgetForm(Schema):
    """How much, and when to warn."""

    amount = PoundsField(
        required=True, error_messages={"required": "Enter the amount of the budget."}
    )
    shares = SharesField(
        required=True,
        error_messages={"required": "Enter the percentages at which you want to be warned."},
    )


class NewBudgetForm(BudgetForm):
    """A budget's span and scope besides; `scope` is `service:CODE` or `centre:NAME`."""

    per = fields.String(
        required=True,
        validate=validate.OneOf(PERS, error="Choose a month or a financial year."),
        error_messages={"required": "Choose a month or a financial year."},
    )
    scope = fields.String(load_default="")
