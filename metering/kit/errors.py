"""Expected refusals, by kind.

    Refusal
    ├── Malformed        the request cannot be read                    400
    ├── Unauthenticated  nobody proved who they are                    401
    ├── Forbidden        known, but not allowed                        403
    ├── NotFound         no such thing, or not yours to see            404
    ├── Conflict         contradicts what is already there             409
    ├── TooLarge         beyond a stated bound                         413
    ├── Unsupported      a media type or encoding we do not read       415
    ├── Invalid          well formed, but breaks a rule                422
    ├── TooMany          slow down                                     429
    └── Unavailable      try again later                               503

A kind knows no status; `kit.problems` holds the one table. Concrete refusals
live beside the function that raises them and set `code`, a stable kebab-case
word that appears in the problem's `type`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar


@dataclass(frozen=True)
class FieldError:
    """One fault in an input.

    Attributes:
        pointer: JSON pointer (RFC 6901) to the faulty value, `""` for the whole.
        code: stable kebab-case word for the reason.
        detail: one plain sentence for a person.
    """

    pointer: str
    code: str
    detail: str

    def to_json(self) -> dict[str, str]:
        """Return the member of a problem's `errors` list."""
        return {"pointer": self.pointer, "code": self.code, "detail": self.detail}


class Refusal(Exception):
    """Something was asked that paygo expectedly refuses.

    Args:
        detail: one plain sentence that says what is wrong and what would be right.
        errors: every fault found, where there can be several.
        facts: further JSON-ready members of the problem document.

    Attributes:
        headers: sent with the answer.
    """

    headers: Mapping[str, str] = MappingProxyType({})
    code: ClassVar[str] = "refused"
    title: ClassVar[str] = "Refused"

    def __init__(self, detail: str, *, errors: tuple[FieldError, ...] = (), **facts: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.facts = facts


class Malformed(Refusal):
    """The request cannot be read."""

    code = "malformed"
    title = "The request could not be read"


class Unauthenticated(Refusal):
    """Nobody proved who they are."""

    code = "unauthenticated"
    title = "Sign in or send a valid key"


class Forbidden(Refusal):
    """Known, but not allowed."""

    code = "forbidden"
    title = "Not allowed"


class NotFound(Refusal):
    """No such thing, or not yours to see."""

    code = "not-found"
    title = "Not found"


class Conflict(Refusal):
    """Contradicts what is already there."""

    code = "conflict"
    title = "Conflict with what is already there"


class TooLarge(Refusal):
    """Beyond a stated bound."""

    code = "too-large"
    title = "Too large"


class Unsupported(Refusal):
    """A media type or encoding that paygo does not read."""

    code = "unsupported-media-type"
    title = "Unsupported media type"


class Invalid(Refusal):
    """Well formed, but breaks a rule."""

    code = "invalid"
    title = "The input breaks a rule"


class TooMany(Refusal):
    """Slow down."""

    code = "too-many-requests"
    title = "Too many requests"


class Unavailable(Refusal):
    """Try again later."""

    code = "unavailable"
    title = "Temporarily unavailable"
