"""What a service key may do."""

from dataclasses import dataclass, field
from datetime import datetime

EVENTS_WRITE = "events:write"
MANIFESTS_WRITE = "manifests:write"
USAGE_READ = "usage:read"
SCOPES = (EVENTS_WRITE, MANIFESTS_WRITE, USAGE_READ)


@dataclass(frozen=True)
class IssuedKey:
    """A key as it is shown, once, to the one who asked for it.

    Attributes:
        id: names the key for revoking, for example `key_01J8…`.
        prefix: the public part, shown in lists.
        text: the whole secret text.
    """

    id: str
    prefix: str
    scopes: tuple[str, ...]
    expires_at: datetime | None
    text: str = field(repr=False)


@dataclass(frozen=True)
class RotatedKey:
    """A key in place of another.

    Attributes:
        issued: the new one.
        replaces: id of the old one.
        ends_at: first instant at which the old one no longer works.
    """

    issued: IssuedKey
    replaces: str
    ends_at: datetime


@dataclass(frozen=True)
class SourcePrincipal:
    """A source that proved itself by a key.

    Attributes:
        source_id: small number of the source.
        source_code: the `source` of its events.
        key_id: the key it used.
        prefix: that key's public part, for the audit trail and limits.
        scopes: what the key may do.
    """

    source_id: int
    source_code: str
    key_id: str
    prefix: str
    scopes: frozenset[str]

    @property
    def name(self) -> str:
        """As the audit trail names it."""
        return f"key:{self.prefix}"
