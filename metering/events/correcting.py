"""Judge withdrawals, and usage events that replace another. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from metering.events.catalogue import Shape, Subject
from metering.events.decoding import Envelope, step
from metering.events.lots import Lot, Rows, Special, add_rows, repeat
from metering.events.model import key_of
from metering.events.rules import No, unknown_subject
from metering.kit.nhs_number import holds_nhs_number
from metering.meters.model import WITHDRAWAL_TYPE

_REASON_LENGTH_MAX = 1000
_US = "\x1f"


@dataclass(frozen=True, slots=True)
class Corrected:
    """An event that corrects another, as far as it was judged.

    Attributes:
        text: the id, where the key does not tell it.
        microseconds: its instant since PostgreSQL's epoch.
    """

    index: int
    event: Envelope
    key: bytes
    text: str | None
    microseconds: int
    subject: Subject | None


def withdrawal(lot: Lot, seen: dict[bytes, bytes], sent: Corrected) -> None:
    """Add a withdrawal to the lot.

    Args:
        seen: keys and fingerprints that the request had before.

    Raises:
        No: it cannot be read as one.
    """
    event = sent.event
    if sent.subject is None:
        raise unknown_subject(event.subject)
    target_id, reason = event.data.get("event"), event.data.get("reason")
    unknown = sorted(set(event.data) - {"event", "reason"})
    if unknown:
        raise No(
            f"/data/{step(unknown[0])}",
            "member-unknown",
            "The data of a withdrawal has 'event' and 'reason'.",
        )
    if not isinstance(target_id, str) or not target_id:
        raise No("/data/event", "withdrawal-unreadable", "Name the event that is withdrawn.")
    if event.withdraws is not None and event.withdraws != target_id:
        raise No("/withdraws", "withdrawal-unreadable", "It names two different events.")
    if event.replaces is not None:
        raise No("/replaces", "withdrawal-unreadable", "A withdrawal replaces nothing.")
    if not isinstance(reason, str) or not reason.strip():
        raise No("/data/reason", "withdrawal-unreadable", "Say why it is withdrawn.")
    if len(reason) > _REASON_LENGTH_MAX or "\x00" in reason:
        raise No(
            "/data/reason",
            "withdrawal-unreadable",
            f"A reason has at most {_REASON_LENGTH_MAX} characters.",
        )
    if holds_nhs_number(reason):
        raise No("/data/reason", "nhs-number", "The reason holds an NHS number.")
    content = _US.join((event.type, event.subject, target_id, reason))
    fingerprint = blake2b(content.encode(), digest_size=16).digest()
    _special(lot, seen, sent, sent.subject, fingerprint, target_id, reason, "/data/event", Rows())


def replacement(
    lot: Lot,
    seen: dict[bytes, bytes],
    sent: Corrected,
    fingerprint: bytes,
    shape: Shape,
    measured: Sequence[tuple[str, bytes]],
    month: bytes,
) -> None:
    """Add a usage event that replaces another to the lot.

    Raises:
        No: it names what it replaces in the wrong way.
    """
    event = sent.event
    if event.withdraws is not None or not event.replaces:
        raise No(
            "/withdraws" if event.withdraws is not None else "/replaces",
            "withdrawal-unreadable",
            f"To withdraw an event, send one of the type {WITHDRAWAL_TYPE};"
            " to replace one, name it in 'replaces'.",
        )
    assert sent.subject is not None
    rows = Rows()
    add_rows(rows, 0, month, sent.subject.packed, shape, measured, event)
    reason = "replaced by a later event"
    _special(lot, seen, sent, sent.subject, fingerprint, event.replaces, reason, "/replaces", rows)


def _special(
    lot: Lot,
    seen: dict[bytes, bytes],
    sent: Corrected,
    subject: Subject,
    fingerprint: bytes,
    target_id: str,
    reason: str,
    pointer: str,
    rows: Rows,
) -> None:
    known = seen.setdefault(sent.key, fingerprint)
    if known is not fingerprint:
        repeat(lot, sent.index, sent.event.id, same=known == fingerprint)
        return
    target, _ = key_of(target_id)
    lot.specials.append(
        Special(
            sent.index,
            sent.event.id,
            sent.key,
            sent.text,
            fingerprint,
            sent.microseconds.to_bytes(8, "big", signed=True),
            subject.packed,
            sent.event.subject,
            target,
            target_id,
            reason,
            pointer,
            rows,
        )
    )
