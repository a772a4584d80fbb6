"""Judge events by the catalogue: what is stored of each, or why it is refused. Pure.

The result is laid out in columns, already in PostgreSQL's binary form, since
this runs for every event there is.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC
from hashlib import blake2b

from metering.events.catalogue import Catalogue, EventType
from metering.events.correcting import Corrected, replacement, withdrawal
from metering.events.decoding import Decoded, Envelope, Item, Unreadable
from metering.events.lots import Lot, add_rows, refuse, repeat
from metering.events.model import REJECTED, keys_of
from metering.events.quantities import ONE_PACKED, remembered
from metering.events.rules import (
    PG_EPOCH,
    No,
    Window,
    check_id,
    check_open,
    measure,
    unknown_subject,
    utc,
    wrong_source,
    wrong_time,
)
from metering.events.shapes import DimensionSets, work_out
from metering.events.usual import take_usual
from metering.meters.model import WITHDRAWAL_TYPE
from metering.sources.model import SourcePrincipal

_US = "\x1f"


def judge(
    decoded: Decoded,
    *,
    catalogue: Catalogue,
    principal: SourcePrincipal,
    window: Window,
    dimension_sets: DimensionSets,
) -> Lot:
    """Judge the events of one request.

    Args:
        dimension_sets: gives the number of a dimension set, making it where it is
            new; called once for each combination that this catalogue meets.
    """
    items = decoded.items
    lot = Lot(
        source_id=principal.source_id,
        key_id=principal.key_id,
        version=catalogue.version,
        received=len(items),
        single=decoded.single,
        oldest=window.oldest,
        envelopes=items,
    )
    code, subjects = principal.source_code, catalogue.subjects
    types = lot.types = catalogue.types_by_source.get(principal.source_id, {})
    if not take_usual(items, lot, code=code, subjects=subjects, types=types, window=window):
        _take_all(items, lot, catalogue, code, types, window, dimension_sets)
    lot.judged = (len(lot.fates), len(lot.refused))
    return lot


def _take_all(
    items: Sequence[Item],
    lot: Lot,
    catalogue: Catalogue,
    code: str,
    types: Mapping[str, EventType],
    window: Window,
    dimension_sets: DimensionSets,
) -> None:
    """Judge every event, and add each to the lot or to what is refused.

    One loop with everything in local names, since it runs for every event there is.
    """
    subjects = catalogue.subjects
    rows, keys, prints, instants = lot.rows, lot.keys, lot.fingerprints, lot.occurred
    positions, row_months, row_subjects = rows.position, rows.month, rows.subject
    row_feeds, row_quantities, indexes = rows.feed, rows.quantity, lot.indexes
    starts, oldest, newest = window.starts, window.starts[0], window.newest_microseconds
    identities, texts = keys_of([item.id if type(item) is Envelope else "" for item in items])
    seen: dict[bytes, bytes] = {}
    month, month_start, month_end = b"", 0, 0  # of the month that the event before lay in
    for index, (event, key) in enumerate(zip(items, identities, strict=True)):
        if type(event) is not Envelope:
            assert isinstance(event, Unreadable)
            refuse(lot, index, event.event_id, REJECTED, event.pointer, event.code, event.detail)
            continue
        try:
            if event.specversion != "1.0":
                raise No("/specversion", "specversion-unsupported", "The specversion is 1.0.")
            text = None if texts is None else texts[index]
            if text is not None:
                check_id(text)
            if event.source != code:
                raise wrong_source(event.source, code=code, known=catalogue.source_ids)
            moment = event.time
            if moment.tzinfo is not UTC:
                moment = utc(moment)
            subject = subjects.get(event.subject)
            kind = types.get(event.type)
            since = moment - PG_EPOCH
            microseconds = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
            if kind is None:
                if event.type == WITHDRAWAL_TYPE:
                    if microseconds > newest:
                        raise wrong_time(microseconds, window)
                    sent = Corrected(index, event, key, text, microseconds, subject)
                    withdrawal(lot, seen, sent)
                    continue
                raise No(
                    "/type",
                    "type-unknown",
                    f"No meter of {code} reads events of the type '{event.type[:100]}'.",
                )
            if subject is None:
                raise unknown_subject(event.subject)
            if not oldest <= microseconds <= newest:
                raise wrong_time(microseconds, window)
            if subject.closed_at is not None or subject.opened_at is not None:
                check_open(event.subject, subject, moment)
            members, one = event.data.copy(), kind.only_number
            if one is not None:
                value = members.pop(one, None)
                pair = remembered.get(value) if type(value) is str else None
                if pair is None:
                    pair = measure(value, one, is_number=True)
                figures, packed = pair
                measured: tuple[tuple[str, bytes], ...] = (pair,)
            else:
                measured = tuple(
                    [
                        measure(members.pop(name, None), name, is_number=is_number)
                        for name, is_number in kind.measured_numbers
                    ]
                )
                figures, packed = _US.join([pair[0] for pair in measured]), ONE_PACKED
            try:
                shape = kind.shapes.get(tuple(members.items()))
            except TypeError:  # a value that is no text
                shape = None
            if shape is None:
                shape = work_out(kind, members, dimension_sets)
            replaces = event.replaces
            content = (
                f"{event.type}\x1f{event.subject}\x1f{microseconds}\x1f{figures}"
                f"\x1f{shape.canonical}\x1f{replaces or ''}"
            )
            fingerprint = blake2b(content.encode(), digest_size=16).digest()
            if not month_start <= microseconds < month_end:
                place = bisect_right(starts, microseconds) - 1
                lot.places.add(place)
                month, month_start = window.packed[place], starts[place]
                month_end = starts[place + 1] if place + 1 < len(starts) else month_start
            if replaces is not None or event.withdraws is not None:
                sent = Corrected(index, event, key, text, microseconds, subject)
                replacement(lot, seen, sent, fingerprint, shape, measured, month)
                continue
            known = seen.get(key)
            if known is not None:
                repeat(lot, index, event.id, same=known == fingerprint)
                continue
            seen[key] = fingerprint
            position = len(keys)
            keys.append(key)
            if text is not None:
                lot.texts[position] = text
            prints.append(fingerprint)
            instants.append(microseconds.to_bytes(8, "big", signed=True))
            indexes.append(index)
            added = shape.only
            if added is None:
                add_rows(rows, position, month, subject.packed, shape, measured, event)
                continue
            # What `add_rows` does for one meter that sums or counts.
            positions.append(position)
            row_months.append(month)
            row_subjects.append(subject.packed)
            row_feeds.append(added)
            if one is not None:
                row_quantities.append(ONE_PACKED if added.measured is None else packed)
            else:
                row_quantities.append(
                    ONE_PACKED if added.measured is None else measured[added.measured][1]
                )
        except No as no:
            refuse(lot, index, event.id, REJECTED, no.pointer, no.code, no.detail)
