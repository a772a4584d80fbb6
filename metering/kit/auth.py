"""Keys by which a program proves itself: `pgk_<prefix>_<secret>`.

The prefix is public and finds the key; the secret has 256 random bits, so
that one round of SHA-256 is enough to keep it by. Whoever holds the text
holds the key: it is shown once and never stored.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_FORM = re.compile(r"pgk_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")
_BEARER = re.compile(r"[Bb]earer +([A-Za-z0-9._~+/-]+=*)")


@dataclass(frozen=True)
class Key:
    """A key as its holder has it.

    Attributes:
        prefix: 8 characters, public.
        secret: 43 characters of URL-safe base 64; never log or store it.
    """

    prefix: str
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        """The whole key, as it is sent after `Bearer `."""
        return f"pgk_{self.prefix}_{self.secret}"

    @property
    def sha256(self) -> str:
        """What is stored of the secret, in hexadecimal."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def matches(self, sha256: str) -> bool:
        """Return whether the stored digest is of this secret, in constant time."""
        return hmac.compare_digest(self.sha256, sha256)


def make_key() -> Key:
    """Return a new random key."""
    prefix = "".join(secrets.choice(_ALPHABET) for _ in range(8))
    return Key(prefix, secrets.token_urlsafe(32))


def read_key(text: str) -> Key | None:
    """Return the key that `text` spells, None where it has another form."""
    match = _FORM.fullmatch(text)
    return None if match is None else Key(match[1], match[2])


def read_bearer(header: str | None) -> Key | None:
    """Return the key in an `Authorization` header (RFC 6750), None where there is none."""
    match = _BEARER.fullmatch((header or "").strip())
    return None if match is None else read_key(match[1])
