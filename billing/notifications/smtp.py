"""Send one email by SMTP, and tell what is wrong with it from what is wrong with the relay."""

import contextlib
import smtplib
import ssl
import time
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Literal
from urllib.parse import unquote, urlsplit

from billing.notifications.messages import Letter
from billing.notifications.model import (
    AddressInvalid,
    Attachment,
    Result,
    checked_address,
    without_controls,
)
from metering.kit.config import BadSetting

Security = Literal["none", "starttls", "tls"]

SECONDS = 20.0
EXCERPT = 500
_SCHEMES: dict[str, tuple[Security, int]] = {
    "smtp": ("starttls", 587),
    "smtps": ("tls", 465),
    "smtp+plain": ("none", 25),
}


@dataclass(frozen=True)
class Relay:
    """The mail server that takes our email, and whom it is from.

    Attributes:
        security: `starttls` and `tls` refuse to go on without; `none` is for a relay on the
            same host or a network of one's own.
        seconds: for each step of the conversation.
    """

    host: str
    port: int
    security: Security
    sender: str
    sender_name: str = "paygo"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    seconds: float = SECONDS


def relay_from(url: str | None, mail_from: str | None) -> Relay | None:
    """Return the relay that PAYGO_SMTP_URL and PAYGO_MAIL_FROM name; None where both are unset.

    The URL is `smtp://` (STARTTLS), `smtps://` (TLS from the start) or `smtp+plain://` (neither),
    then `USER:PASSWORD@HOST:PORT`, of which user, password and port may be left out.

    Raises:
        BadSetting: only one is set, or one cannot be used.
    """
    if url is None and mail_from is None:
        return None
    if url is None or mail_from is None:
        missing = "PAYGO_SMTP_URL" if url is None else "PAYGO_MAIL_FROM"
        raise BadSetting(f"{missing} must be set too; email needs both.", setting=missing)
    name, address = parseaddr(mail_from)
    try:
        sender = checked_address(address)
    except AddressInvalid:
        raise BadSetting(
            "PAYGO_MAIL_FROM must be an address like Paygo <paygo@example.nhs.uk>.",
            setting="PAYGO_MAIL_FROM",
        ) from None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.path.strip("/") or parts.query:
        raise BadSetting(
            "PAYGO_SMTP_URL must be like smtp://user:password@host:587.", setting="PAYGO_SMTP_URL"
        )
    security, default = _SCHEMES[parts.scheme]
    if parts.username and security == "none":
        raise BadSetting(
            "PAYGO_SMTP_URL must not send a password unencrypted; use smtp:// or smtps://.",
            setting="PAYGO_SMTP_URL",
        )
    return Relay(
        host=parts.hostname,
        port=port or default,
        security=security,
        sender=sender,
        sender_name=without_controls(name, longest=100) or "paygo",
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


def compose(
    letter: Letter,
    *,
    relay: Relay,
    recipient: str,
    delivery_id: str,
    attachment: Attachment | None,
    now: datetime,
) -> EmailMessage:
    """Return the email: plain text, HTML beside it, and the attachment.

    The Message-ID is made of the delivery's id, so that a repeat can be known.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(relay.sender_name, addr_spec=relay.sender)
    message["To"] = Address(addr_spec=checked_address(recipient))
    message["Subject"] = without_controls(letter.subject, longest=200)
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{delivery_id}@{relay.sender.partition('@')[2]}>"
    # RFC 3834: keeps out-of-office replies from answering.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text, cte="quoted-printable")
    message.add_alternative(letter.html, subtype="html", cte="quoted-printable")
    if attachment is not None:
        maintype, _, subtype = attachment.media_type.partition("/")
        message.add_attachment(
            attachment.content, maintype=maintype, subtype=subtype, filename=attachment.name
        )
    return message


def send(
    message: EmailMessage, *, relay: Relay, recipient: str, tls: ssl.SSLContext | None = None
) -> Result:
    """Send one email to one recipient; expected trouble is a result, not an exception.

    A 5xx reply to the recipient or to the content is permanent, a 4xx is not. Whatever the
    relay says before that (no connection, TLS, sign-in, sender refused) is trouble with the
    relay: every email would meet it, so none is given up for it.

    Args:
        tls: trust other than the system's.
    """
    begun = time.monotonic()

    def result(code: int | None, said: str | bytes, *, stage: str) -> Result:
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        relay_trouble = stage == "relay" or code == 421
        permanent = code is not None and 500 <= code < 600 and not relay_trouble
        return Result(
            "permanent" if permanent else "retry",
            int((time.monotonic() - begun) * 1000),
            status=code,
            excerpt=without_controls(words, longest=EXCERPT),
            relay_trouble=relay_trouble,
        )

    stage = "relay"
    try:
        with contextlib.closing(_connect(relay, tls=tls)) as client:
            content = message.as_bytes()
            size = [f"SIZE={len(content)}"] if client.has_extn("size") else []
            code, said = client.mail(relay.sender, size)
            if code != 250:
                # 552: too large. The message's fault, the only one seen at this step.
                return result(code, said, stage="content" if code == 552 else "relay")
            stage = "content"
            code, said = client.rcpt(recipient)
            if code not in (250, 251, 252):
                return result(code, said, stage=stage)
            code, said = client.data(content)
            if code != 250:
                return result(code, said, stage=stage)
            taken = Result(
                "delivered",
                int((time.monotonic() - begun) * 1000),
                status=code,
                excerpt=without_controls(said.decode("utf-8", "replace"), longest=EXCERPT),
            )
            with contextlib.suppress(OSError, smtplib.SMTPException):
                client.quit()  # the email is taken, whatever the farewell
            return taken
    except smtplib.SMTPResponseException as error:
        return result(error.smtp_code, error.smtp_error, stage=stage)
    except (OSError, smtplib.SMTPException) as error:
        if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
            return result(None, f"The relay did not answer in {relay.seconds:g} s.", stage=stage)
        return result(None, f"{type(error).__name__}: {error}", stage=stage)


def _connect(relay: Relay, *, tls: ssl.SSLContext | None) -> smtplib.SMTP:
    context = tls or ssl.create_default_context()
    domain = relay.sender.partition("@")[2]
    client: smtplib.SMTP
    if relay.security == "tls":
        client = smtplib.SMTP_SSL(
            relay.host, relay.port, local_hostname=domain, timeout=relay.seconds, context=context
        )
    else:
        client = smtplib.SMTP(relay.host, relay.port, local_hostname=domain, timeout=relay.seconds)
    try:
        client.ehlo_or_helo_if_needed()
        if relay.security == "starttls":
            client.starttls(context=context)
            client.ehlo_or_helo_if_needed()
        if relay.user is not None:
            client.login(relay.user, relay.password or "")
    except BaseException:
        client.close()
        raise
    return client
