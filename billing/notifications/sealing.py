"""Secrets of webhook endpoints, unreadable in the database without paygo's own key.

A signing secret must be read again at each delivery, so it cannot be hashed; it is encrypted
under a key derived from `PAYGO_SECRET_KEY`.
"""

import base64
import hashlib
import hmac
import secrets

from cryptography.fernet import Fernet, InvalidToken

from metering.kit.errors import Unavailable

_BYTES = 32


class SecretUnreadable(Unavailable):
    """A webhook's secret was sealed under another `PAYGO_SECRET_KEY`; rotate the secret."""

    code = "webhook-secret-unreadable"
    title = "The webhook's secret cannot be read"


def new_secret() -> str:
    """Return a new Standard Webhooks secret, `whsec_` and 32 random bytes in base64."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(_BYTES)).decode('ascii')}"


class Vault:
    """Seals and opens secrets.

    Args:
        signing_key: `metering.kit.config.signing_key(settings)`.
    """

    def __init__(self, signing_key: str) -> None:
        derived = hmac.new(signing_key.encode(), b"paygo webhook secrets", hashlib.sha256)
        self._fernet = Fernet(base64.urlsafe_b64encode(derived.digest()))

    def seal(self, secret: str) -> str:
        """Return the text to store."""
        return self._fernet.encrypt(secret.encode()).decode("ascii")

    def open(self, sealed: str) -> str:
        """Return the secret.

        Raises:
            SecretUnreadable: it was sealed under another key, or changed.
        """
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise SecretUnreadable(
                "The secret was sealed under another PAYGO_SECRET_KEY; rotate the secret."
            ) from None
