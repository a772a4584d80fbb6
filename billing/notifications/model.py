"""Kinds of notification, what each may say, and when a failed delivery is tried again.

Facts are declared by kind and field and carry codes, counts, dates and amounts only: there is
no field into which free text, and with it a patient's particulars, could fall.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import urlsplit

from billing.money import PENNY
from metering.kit.errors import Invalid

Channel = Literal["email", "webhook"]
Status = Literal["waiting", "delivered", "dead", "not-configured", "cancelled"]
Outcome = Literal["delivered", "retry", "permanent", "gone"]

STATUSES: tuple[Status, ...] = ("waiting", "delivered", "dead", "not-configured", "cancelled")

BACKOFF = (
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Pauses after the first, second ... failed attempt; after the last comes death (3 days)."""

LAST_ATTEMPT = len(BACKOFF) + 1
LONGEST_RETRY_AFTER = timedelta(hours=24)
RELAY_PAUSE = timedelta(minutes=5)
"""Pause after trouble with our own mail relay, which never uses up a delivery's attempts."""

PAUSE_AFTER = timedelta(hours=48)
PAUSE_FAILURES = 10
"""An endpoint with this many failures in a row, for this long, is paused."""

SECRET_OVERLAP = timedelta(hours=24)
LATE_MAIL = timedelta(days=7)
"""Mail kept while no relay was configured is sent by itself if it is no older than this."""

_LONGEST_URL = 2_000
_LONGEST_ADDRESS = 254
_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]"
)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/#-]{0,99}")
_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


class AddressInvalid(Invalid):
    """An email address cannot be used."""

    code = "email-address-invalid"
    title = "The email address cannot be used"


class WebhookUrlInvalid(Invalid):
    """A webhook's address cannot be used."""

    code = "webhook-url-invalid"
    title = "The webhook address cannot be used"


class KindUnknown(Invalid):
    """There is no such kind of notification, or not for this way of telling."""

    code = "notification-kind-unknown"
    title = "No such kind of notification"


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Whose notifications these are: an account's or a source's, never both.

    Raises:
        ValueError: neither or both are given.
    """

    account_id: str | None = None
    source_id: int | None = None

    def __post_init__(self) -> None:
        if (self.account_id is None) == (self.source_id is None):
            raise ValueError("a notification belongs to one account or to one source")


@dataclass(frozen=True)
class Result:
    """How one attempt went.

    Attributes:
        outcome: `delivered`; `retry` later; `permanent`: this delivery can never succeed;
            `gone`: nothing to this endpoint ever will (HTTP 410).
        milliseconds: how long it took.
        status: HTTP status or SMTP reply code, None when nothing was answered.
        excerpt: the beginning of the answer, or what went wrong, for people.
        retry_after: how long the receiver asked us to wait.
        relay_trouble: our own mail relay is at fault, not the message or its recipient.
    """

    outcome: Outcome
    milliseconds: int
    status: int | None = None
    excerpt: str = ""
    retry_after: timedelta | None = None
    relay_trouble: bool = False


@dataclass(frozen=True)
class Attachment:
    """A file that goes with an email."""

    name: str
    media_type: str
    content: bytes


def _pounds(value: Any) -> str:
    if not isinstance(value, Decimal) or value != value.quantize(PENNY):
        raise ValueError("a Decimal of pounds and whole pennies")
    return f"{value.quantize(PENNY):f}"


def _day(value: Any) -> str:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError("a London date")
    return value.isoformat()


def _instant(value: Any) -> str:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("an aware instant")
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def _month(value: Any) -> str:
    if not (isinstance(value, str) and _MONTH.fullmatch(value)):
        raise ValueError("a month as YYYY-MM")
    return value


def _word(value: Any) -> str:
    if not (isinstance(value, str) and _WORD.fullmatch(value)):
        raise ValueError("an id or a code of at most 100 characters")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a count")
    return value


def _counts(value: Any) -> dict[str, int]:
    if not isinstance(value, Mapping):
        raise ValueError("counts by code")
    return {_word(code): _count(count) for code, count in sorted(value.items())}


_Fact = Callable[[Any], Any]


@dataclass(frozen=True)
class Kind:
    """A kind of notification.

    Attributes:
        title: what people choose it by.
        facts: every field with the check that makes it JSON-ready.
        optional: fields that may be absent or None.
        webhook: whether it is sent to webhooks, besides email.
        always_mailed: also mailed to the owner's own address (the account's, or the source's
            contact), without a subscription.
        attachment: name of the document that its email carries.
        central: told to the central team, at its own address, and to nobody of the account or
            source that it is about.
    """

    title: str
    facts: Mapping[str, _Fact]
    optional: frozenset[str] = frozenset()
    webhook: bool = True
    always_mailed: bool = False
    attachment: str | None = None
    central: bool = False


KINDS: Mapping[str, Kind] = {
    "invoice.issued": Kind(
        "An invoice or credit note is issued",
        {
            "invoice_id": _word,
            "number": _word,
            "document": _word,
            "month": _month,
            "total": _pounds,
            "due_on": _day,
        },
        optional=frozenset({"due_on"}),
        always_mailed=True,
        attachment="pdf",
    ),
    "invoice.paid": Kind(
        "An invoice is paid",
        {"invoice_id": _word, "number": _word, "total": _pounds, "paid_on": _day},
    ),
    "invoice.reminder": Kind(
        "An invoice is due soon or overdue",
        {
            "invoice_id": _word,
            "number": _word,
            "amount": _pounds,
            "disputed": _pounds,
            "due_on": _day,
            "days_overdue": _count,
        },
        always_mailed=True,
    ),
    "budget.breached": Kind(
        "A budget is breached",
        {
            "budget_id": _word,
            "month": _month,
            "basis": _word,
            "threshold_percent": _count,
            "limit": _pounds,
            "amount": _pounds,
        },
    ),
    "usage.rejected": Kind(
        "Usage is rejected",
        {
            "source": _word,
            "rejected": _count,
            "reasons": _counts,
            "received_from": _instant,
            "received_to": _instant,
        },
    ),
    "dispute.answered": Kind(
        "A query about an invoice is answered",
        {"dispute_id": _word, "invoice_id": _word, "number": _word, "outcome": _word},
        webhook=False,
    ),
    "dispute.raised": Kind(
        "A trust queries an invoice, or writes about its query",
        {
            "dispute_id": _word,
            "invoice_id": _word,
            "number": _word,
            "what": _word,
            "reason": _word,
            "amount": _pounds,
            "respond_by": _day,
        },
        optional=frozenset({"respond_by"}),
        webhook=False,
        central=True,
    ),
    "order.low": Kind(
        "A purchase order is running out",
        {"order": _word, "value": _pounds, "used": _pounds, "used_percent": _count},
        always_mailed=True,
    ),
    "webhook.paused": Kind(
        "A webhook is paused because it keeps failing",
        {"endpoint_id": _word, "failures": _count, "last_status": _count},
        optional=frozenset({"last_status"}),
        webhook=False,
        always_mailed=True,
    ),
}

CENTRAL_KINDS = tuple(name for name, kind in KINDS.items() if kind.central)
EMAIL_KINDS = tuple(name for name in KINDS if name not in CENTRAL_KINDS)
WEBHOOK_KINDS = tuple(name for name, kind in KINDS.items() if kind.webhook)


def checked_facts(kind: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a notification, JSON-ready: amounts and dates as text.

    Raises:
        ValueError: an unknown kind, or a field that is unknown, missing or not what the kind
            declares. That is the announcing code's fault, so it is no refusal.
    """
    if kind not in KINDS:
        raise ValueError(f"'{kind}' is not a kind of notification")
    declared = KINDS[kind]
    given = {name: value for name, value in facts.items() if value is not None}
    unknown = given.keys() - declared.facts.keys()
    missing = declared.facts.keys() - given.keys() - declared.optional
    if unknown or missing:
        raise ValueError(f"{kind}: unknown {sorted(unknown)}, missing {sorted(missing)}")
    checked = {}
    for name, value in given.items():
        try:
            checked[name] = declared.facts[name](value)
        except ValueError as error:
            raise ValueError(f"{kind}: {name} is not {error}") from None
    return checked


def checked_kinds(kinds: object, *, channel: Channel) -> list[str]:
    """Return chosen kinds, sorted and each once.

    Raises:
        KindUnknown: none, or one that this channel does not carry.
    """
    possible = EMAIL_KINDS if channel == "email" else WEBHOOK_KINDS
    chosen = list(kinds) if isinstance(kinds, list | tuple | set | frozenset) else []
    if not chosen or not all(kind in possible for kind in chosen):
        raise KindUnknown(f"Choose one or more of {', '.join(possible)}.")
    return sorted(set(chosen))


def checked_address(address: str) -> str:
    """Return an email address that can stand in a header and an SMTP command as it is.

    Raises:
        AddressInvalid: it is not one plain ASCII address.
    """
    trimmed = address.strip(" ")
    local = trimmed.partition("@")[0]
    if len(trimmed) > _LONGEST_ADDRESS or len(local) > 64 or not _ADDRESS.fullmatch(trimmed):
        raise AddressInvalid("Enter an email address like name@example.nhs.uk.")
    return trimmed


@dataclass(frozen=True)
class WebhookUrl:
    """A checked webhook address, taken apart.

    Attributes:
        target: path and query as the request line carries them.
    """

    scheme: str
    host: str
    port: int
    target: str


def webhook_url(url: str, *, allow_insecure: bool) -> WebhookUrl:
    """Take a webhook's address apart.

    Args:
        allow_insecure: whether `http` will do.

    Raises:
        WebhookUrlInvalid: another scheme, no host, a user name, a fragment, or characters
            that an address cannot have as they are.
    """
    if len(url) > _LONGEST_URL or not re.fullmatch(r"[!-~]+", url):
        raise WebhookUrlInvalid(
            f"A webhook address has at most {_LONGEST_URL} characters, without spaces or accents."
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise WebhookUrlInvalid("That is not an address.") from None
    schemes = {"https": 443, "http": 80} if allow_insecure else {"https": 443}
    if parts.scheme not in schemes:
        raise WebhookUrlInvalid("A webhook address begins with https://.")
    if "@" in parts.netloc:
        raise WebhookUrlInvalid("A webhook address carries no user name or password.")
    if "#" in url or "\\" in url or not host or port == 0:
        raise WebhookUrlInvalid("A webhook address has a host and no fragment.")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebhookUrl(parts.scheme, host, port or schemes[parts.scheme], target)


def pause_before(tries: int, *, retry_after: timedelta | None = None) -> timedelta | None:
    """Return how long to wait after the attempt numbered `tries`; None when it was the last.

    >>> pause_before(1), pause_before(11) is None
    (datetime.timedelta(seconds=30), True)
    """
    if tries >= LAST_ATTEMPT:
        return None
    asked = min(retry_after or timedelta(0), LONGEST_RETRY_AFTER)
    return max(BACKOFF[tries - 1], asked)


def should_pause(*, failures: int, failing_since: datetime, now: datetime) -> bool:
    """Return whether an endpoint has failed so often and so long that it is paused."""
    return failures >= PAUSE_FAILURES and now - failing_since >= PAUSE_AFTER


def without_controls(text: str, *, longest: int) -> str:
    """Return the beginning of text from outside, each control character a space."""
    return "".join(c if c.isprintable() else " " for c in text[:longest]).strip()
