"""Deliver what was announced, after it was committed: what the scheduler asks."""

import random
import ssl
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from billing.notifications import dispatch, messages, smtp, webhooks
from billing.notifications.dispatch import FindDocument, Parcel
from billing.notifications.model import AddressInvalid, Result
from billing.notifications.queries import unaddressed
from billing.notifications.sealing import Vault
from metering.kit.config import Settings, signing_key
from metering.kit.db import Database, is_transient
from metering.kit.errors import Refusal
from metering.kit.logs import get_logger

_log = get_logger(__name__)

_AT_ONCE = 8
_ADDRESSED_IN_ONE_RUN = 5_000
_SECONDS = 45.0


@dataclass(frozen=True)
class Outlets:
    """The ways out of paygo, and what is sent through them.

    Attributes:
        relay: the mail relay; None keeps email as "not configured".
        vault: gives what opens the endpoints' secrets; asked when a webhook is due.
        find_document: where the PDF of an issued invoice is kept.
        allow_private: webhooks may use http and private addresses.
        public_url: where people sign in.
        central: the central team's address.
        resolve: looks a host's addresses up.
        tls: trust other than the system's, for both ways.
        webhook_seconds: for the whole of one webhook.
    """

    relay: smtp.Relay | None
    vault: Callable[[], Vault]
    find_document: FindDocument
    allow_private: bool = False
    public_url: str | None = None
    central: str | None = None
    resolve: webhooks.Resolve = field(default=webhooks.resolve)
    tls: ssl.SSLContext | None = None
    webhook_seconds: float = webhooks.SECONDS


def outlets_from(settings: Settings, *, find_document: FindDocument) -> Outlets:
    """Return the ways out that the settings name.

    Raises:
        BadSetting: of the two settings for email one is missing or cannot be used.
    """
    return Outlets(
        relay=smtp.relay_from(settings.smtp_url, settings.mail_from),
        vault=lambda: Vault(signing_key(settings)),
        find_document=find_document,
        allow_private=settings.webhook_allow_private,
        public_url=settings.public_url,
        central=settings.central_email or settings.supplier_email,
    )


def deliver(
    database: Database, *, now: datetime, outlets: Outlets, seconds: float = _SECONDS
) -> dict[str, int]:
    """Address what was announced and send what is due; safe to repeat and to kill.

    At least once: a process that dies between sending and recording sends again, under the
    same id. Each step is one short transaction; the network is used between them.

    Args:
        seconds: takes up no further deliveries after this; the next run goes on.

    Returns:
        Counts: `addressed` announcements, and deliveries `delivered`, `retried`, `dead`,
        `kept` (not configured), and `faults`, which are logged.
    """
    begun = time.monotonic()
    counts: Counter[str] = Counter(addressed=0, delivered=0, retried=0, dead=0, kept=0, faults=0)

    def moment() -> datetime:
        return now + timedelta(seconds=time.monotonic() - begun)

    _address_all(database, counts, central=outlets.central, now=now)
    channels = {"webhook"}
    if outlets.relay is None:
        counts["kept"] = database.retrying(dispatch.keep_unsendable_mail)
    else:
        channels.add("email")
        database.retrying(partial(dispatch.release_kept_mail, now=now))
    database.retrying(partial(dispatch.forget_rotated_secrets, now=now))

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as threads:
        while channels and time.monotonic() - begun < seconds:
            claimed_at = moment()
            parcels = database.retrying(
                partial(
                    dispatch.claim,
                    now=claimed_at,
                    channels=frozenset(channels),
                    limit=_AT_ONCE,
                    find_document=outlets.find_document,
                )
            )
            if parcels is None:
                break
            sending = {
                threads.submit(_send, parcel, outlets, now=claimed_at): parcel for parcel in parcels
            }
            for sent in as_completed(sending):
                result = sent.result()
                _record(database, counts, sending[sent], result, now=moment())
                if result.relay_trouble:
                    # The rest of the mail would fare the same; webhooks need not wait for it.
                    channels.discard("email")
    return dict(counts)


def _address_all(
    database: Database, counts: Counter[str], *, central: str | None, now: datetime
) -> None:
    with database.snapshot() as session:
        waiting = unaddressed(session, limit=_ADDRESSED_IN_ONE_RUN)
    for announcement_id in waiting:
        try:
            made = database.retrying(
                partial(dispatch.address, announcement_id=announcement_id, now=now, central=central)
            )
        except Exception as fault:
            if is_transient(fault):
                raise  # the database's trouble, not the announcement's: the next run goes on
            # A work item's edge: one announcement that cannot be addressed holds up no other.
            counts["faults"] += 1
            _log.exception("announcement could not be addressed", announcement=announcement_id)
        else:
            counts["addressed"] += made is not None


def _record(
    database: Database, counts: Counter[str], parcel: Parcel, result: Result, *, now: datetime
) -> None:
    jitter = random.random()  # noqa: S311 - spreads retries; not a secret
    status = database.retrying(
        partial(dispatch.record, parcel=parcel, result=result, jitter=jitter, now=now)
    )
    counts[status if status in ("delivered", "dead") else "retried"] += 1
    if result.outcome != "delivered":
        _log.info(
            "notification not delivered",
            delivery=parcel.delivery_id,
            attempt=parcel.number,
            status=result.status,
            reason=result.excerpt,
        )


def _send(parcel: Parcel, outlets: Outlets, *, now: datetime) -> Result:
    try:
        if parcel.url is None:
            return _send_email(parcel, outlets, now=now)
        return _send_webhook(parcel, parcel.url, outlets, now=now)
    except AddressInvalid as refusal:
        return Result("permanent", 0, excerpt=refusal.detail)
    except Refusal as refusal:  # no key, or another one than the secrets were sealed under
        return Result("retry", 0, excerpt=refusal.detail)
    except Exception as fault:
        # A work item's edge: our own fault with one delivery must not hold up the others.
        _log.exception("delivery failed by a fault", delivery=parcel.delivery_id)
        return Result("retry", 0, excerpt=f"A fault in paygo: {type(fault).__name__}.")


def _send_email(parcel: Parcel, outlets: Outlets, *, now: datetime) -> Result:
    assert outlets.relay is not None
    assert parcel.address is not None
    letter = messages.write(
        parcel.kind, parcel.facts, owner_name=parcel.owner_name, public_url=outlets.public_url
    )
    message = smtp.compose(
        letter,
        relay=outlets.relay,
        recipient=parcel.address,
        delivery_id=parcel.delivery_id,
        attachment=parcel.attachment,
        now=now,
    )
    return smtp.send(message, relay=outlets.relay, recipient=parcel.address, tls=outlets.tls)


def _send_webhook(parcel: Parcel, url: str, outlets: Outlets, *, now: datetime) -> Result:
    outgoing = webhooks.Outgoing(
        id=parcel.delivery_id,
        url=url,
        body=webhooks.body_of(
            kind=parcel.kind, announced_at=parcel.announced_at, facts=parcel.facts
        ),
        secrets=tuple(map(outlets.vault().open, parcel.secrets)),
    )
    return webhooks.send(
        outgoing,
        now=now,
        allow_private=outlets.allow_private,
        resolve=outlets.resolve,
        tls=outlets.tls,
        seconds=outlets.webhook_seconds,
    )
