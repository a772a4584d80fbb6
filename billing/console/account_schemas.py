"""Shapes of the forms about accounts."""

from marshmallow import Schema, fields, validate

from billing.accounts.model import TREATMENTS
from billing.console.forms import day, optional_text, pounds, text

_TICKED = {"truthy": {"yes"}, "falsy": {"no", ""}}


def _ticked() -> fields.Boolean:
    return fields.Boolean(load_default=False, truthy=_TICKED["truthy"], falsy=_TICKED["falsy"])


class AccountDetailsForm(Schema):
    """How an account is addressed and when it pays."""

    name = text("Enter the name on invoices")
    address = text("Enter the address, without the postcode", longest=1000)
    postcode = text("Enter the postcode", longest=10)
    email = text("Enter an email address for invoices")
    vat_number = optional_text(longest=20)
    payment_terms_days = fields.Integer(
        required=True,
        error_messages={
            "required": "Enter the days from issue to payment",
            "invalid": "Enter a whole number of days, for example 30",
        },
        validate=validate.Range(0, 365, error="Enter a number of days from 0 to 365"),
    )
    in_nhs_vat_division = _ticked()


class NewAccountForm(AccountDetailsForm):
    """A new account."""

    organisation = text("Choose an organisation", longest=10)


class AgreementForm(Schema):
    """A new agreement."""

    tariff = text("Choose a service")
    starts_on = day("Enter the first day")
    ends_on = day("", required=False)
    pooled = _ticked()
    group_code = optional_text(longest=20)
    reason = optional_text(longest=500)


class EndAgreementForm(Schema):
    """The end of an agreement."""

    ends_on = day("Enter the first day that the agreement no longer covers")
    reason = optional_text(longest=500)


class OrderForm(Schema):
    """A purchase order."""

    number = text("Enter the purchase order's number", longest=50, reference=True)
    tariff = optional_text()
    starts_on = day("Enter the first day")
    ends_on = day("", required=False)
    value = pounds("Enter pounds and pence, for example 12000.00")
    hold_when_spent = _ticked()


class TreatmentForm(Schema):
    """How supplies to an account are taxed."""

    treatment = fields.String(
        required=True,
        validate=validate.OneOf(TREATMENTS, error="Choose a treatment"),
        error_messages={"required": "Choose a treatment"},
    )
    tariff = optional_text()
    reason = optional_text(longest=200)
    starts_on = day("Enter the first day")


class MergeForm(Schema):
    """One account takes over from another."""

    successor = text("Choose the account that takes over")
    effective_on = day("Enter the day on which it takes over")
    reason = optional_text(longest=500)
