"""JSON of the payments API: what is sent; amounts are strings, never binary fractions."""

from decimal import Decimal, InvalidOperation
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from billing.payments.bank.matching import Share
from metering.kit.privacy import no_nhs_number
from metering.periods import Month


class Amount(fields.Field[Decimal]):
    """Pounds and pence as a string, `120.00`; a JSON number is refused."""

    def _deserialize(
        self,
        value: Any,
        attr: str | None,  # noqa: ARG002 - marshmallow's signature
        data: Any,  # noqa: ARG002 - marshmallow's signature
        **kwargs: Any,  # noqa: ARG002 - marshmallow's signature
    ) -> Decimal:
        if not isinstance(value, str):
            raise ValidationError("Write an amount as a string, for example '120.00'.")
        try:
            amount = Decimal(value)
        except InvalidOperation:
            raise ValidationError("Not an amount.") from None
        if not amount.is_finite():
            raise ValidationError("Not an amount.")
        return amount


class MonthField(fields.Field[Month]):
    """A London month, `YYYY-MM`."""

    def _deserialize(
        self,
        value: Any,
        attr: str | None,  # noqa: ARG002 - marshmallow's signature
        data: Any,  # noqa: ARG002 - marshmallow's signature
        **kwargs: Any,  # noqa: ARG002 - marshmallow's signature
    ) -> Month:
        try:
            return Month.parse(str(value))
        except ValueError as error:
            raise ValidationError(str(error)) from None


class ShareIn(Schema):
    """A part of a bank line; without an invoice it stays on the account."""

    account_id = fields.String(required=True)
    invoice_id = fields.String(load_default=None, allow_none=True)
    amount = Amount(required=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> Share:
        """Return the model."""
        return Share(**said)


class ConfirmIn(Schema):
    """What a bank line is."""

    shares = fields.List(
        fields.Nested(ShareIn), required=True, validate=validate.Length(min=1, max=500)
    )
    reason = fields.String(load_default="", validate=no_nhs_number)


class ReasonIn(Schema):
    """Why."""

    reason = fields.String(required=True, validate=no_nhs_number)


class WriteOffIn(ReasonIn):
    """How much of a debt is given up, and why."""

    amount = Amount(required=True)


class StatementIn(Schema):
    """A bank statement; `columns` map a CSV file, see the settings of `CsvMapping`."""

    format = fields.String(required=True, validate=validate.OneOf(["csv", "camt.053"]))
    file_name = fields.String(load_default="statement")
    bank_account = fields.String(load_default="")
    columns = fields.Dict(keys=fields.String(), values=fields.String(), load_default=dict)
    content = fields.String(required=True)


class DayQuery(Schema):
    """The end of a London date, today when not given."""

    on = fields.Date(load_default=None)


class MonthQuery(Schema):
    """A London month."""

    month = MonthField(required=True)


class StatementQuery(Schema):
    """An organisation's ODS code and a span of London months, the last included."""

    organisation = fields.String(required=True)
    first = MonthField(required=True)
    last = MonthField(load_default=None)


class RefundIn(ReasonIn):
    """Money to be given back: of a payment or of a credit note, exactly one of them."""

    amount = Amount(required=True)
    payment_id = fields.String(load_default=None, allow_none=True)
    credit_note_id = fields.String(load_default=None, allow_none=True)

    @validates_schema
    def one_origin(self, said: dict[str, Any], **_: Any) -> None:
        """Refuse both and neither."""
        if (said.get("payment_id") is None) == (said.get("credit_note_id") is None):
            raise ValidationError("Name either payment_id or credit_note_id.", "payment_id")


class OutgoingIn(Schema):
    """What a bank line is: a refund of ours, one that came back, or a payment taken back."""

    kind = fields.String(
        required=True, validate=validate.OneOf(["refund", "refund-returned", "return", "payout"])
    )
    account_id = fields.String(load_default="")
    subject_id = fields.String(load_default="")
    reason = fields.String(load_default="", validate=no_nhs_number)


class ScheduleIn(Schema):
    """Days after the due date on which an account is reminded; negative is before it."""

    days = fields.List(fields.Integer(strict=True), required=True)
