"""Shapes of the forms of access. `metadata.secret` keeps a field off the page."""

from marshmallow import Schema, fields, validate

from billing.access.model import Role


def _required(message: str, **options: object) -> fields.String:
    return fields.String(
        required=True,
        error_messages={"required": message},
        validate=validate.Length(max=254, error="That is too long. Use at most {max} characters."),
        metadata=options,
    )


class SignInForm(Schema):
    """Email address and password."""

    email = _required("Enter your email address")
    # No bound of its own: a password that is too long is simply wrong.
    password = fields.String(
        required=True,
        error_messages={"required": "Enter your password"},
        metadata={"secret": True},
    )


class PasswordForm(Schema):
    """Current and new password."""

    current_password = fields.String(
        required=True,
        error_messages={"required": "Enter your current password"},
        metadata={"secret": True},
    )
    new_password = fields.String(
        required=True,
        error_messages={"required": "Enter a new password"},
        metadata={"secret": True},
    )


def _role() -> fields.Enum[Role]:
    return fields.Enum(
        Role,
        by_value=True,
        required=True,
        error_messages={"required": "Choose a role", "unknown": "Choose a role"},
    )


def _source() -> fields.Integer:
    return fields.Integer(error_messages={"invalid": "Choose a service"})


class GrantForm(Schema):
    """A role, and for which account or source."""

    role = _role()
    account = fields.String()
    source = _source()


class NewUserForm(Schema):
    """Name, email address and the first role, in the order of the page."""

    name = _required("Enter the person's name")
    email = _required("Enter the person's email address")
    role = _role()
    account = fields.String()
    source = _source()
