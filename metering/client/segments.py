"""The files of the spool: how a line is written, checked and read back.

A segment `000000000001.events` is append-only, a line an event:

    <crc32 of the rest, 8 hex digits> <ordinal> <event as compact JSON>

Beside it `000000000001.done` names, by ordinal, what needs no sending any
more, a line a receipt. Losing a `.done` line costs a duplicate, which the API
recognises for ever; so only `.events` is ever synchronised to the disk.
"""

import json
import os
import re
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

_LINE = re.compile(rb"([0-9a-f]{8}) ((\d{1,12}) (.+))", re.DOTALL)
_CHUNK = 256 * 1024


def write_line(ordinal: int, payload: bytes) -> bytes:
    """Return the checksummed line that stands for one event or one receipt."""
    rest = b"%d %s" % (ordinal, payload)
    return b"%08x %s\n" % (zlib.crc32(rest), rest)


def read_line(line: bytes) -> tuple[int, bytes] | None:
    """Return the ordinal and payload of a line (without its end), None where it is damaged."""
    match = _LINE.fullmatch(line)
    if match is None or int(match[1], 16) != zlib.crc32(match[2]):
        return None
    return int(match[3]), match[4]


@dataclass(eq=False)
class Segment:
    """What is known of one file of events, or of the events kept in memory.

    Attributes:
        path: the file; None for memory.
        own: this process writes it, or wrote it.
        size: bytes of whole lines in it.
        count: events in it that had to be sent when it was opened or since.
        taken: how many of those the sender has read.
        finished: how many of those are settled.
        sealed: nothing will be appended any more.
        damaged: it holds lines whose checksum is wrong; kept aside for a person.
        skip: ordinals that an earlier process settled.
    """

    path: Path | None
    own: bool = False
    size: int = 0
    count: int = 0
    taken: int = 0
    finished: int = 0
    next_ordinal: int = 0
    sealed: bool = False
    damaged: bool = False
    skip: frozenset[int] = field(default_factory=frozenset)

    @property
    def exhausted(self) -> bool:
        """Every event in it is settled."""
        return self.finished >= self.count


class Entry(NamedTuple):
    """An event that waits: where it is kept, and its JSON."""

    segment: Segment
    ordinal: int
    payload: bytes


def done_path(events: Path) -> Path:
    """Return the file that names the settled events of a segment."""
    return events.with_suffix(".done")


def write_done(events: Path, ordinals: Sequence[int]) -> None:
    """Note that the events with these ordinals need no sending any more.

    Raises:
        OSError: the note could not be written; the events may be sent once more.
    """
    line = write_line(len(ordinals), json.dumps(ordinals, separators=(",", ":")).encode())
    descriptor = os.open(done_path(events), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        # The leading line end fences off a line that a crash or a full disk left torn.
        os.write(descriptor, b"\n" + line)
    finally:
        os.close(descriptor)


def read_done(events: Path) -> frozenset[int]:
    """Return the ordinals noted as settled; torn or damaged notes are passed over.

    Raises:
        OSError: the file is there and cannot be read.
    """
    try:
        content = done_path(events).read_bytes()
    except FileNotFoundError:
        return frozenset()
    done: set[int] = set()
    for line in content.split(b"\n"):
        note = read_line(line)
        if note is not None:
            done.update(json.loads(note[1]))
    return frozenset(done)


def open_segment(path: Path) -> Segment:
    """Return the segment that another process left, with what still has to be sent counted.

    A last line without its end was never acknowledged to anyone and is ignored.

    Raises:
        OSError: it cannot be read.
    """
    segment = Segment(path, size=path.stat().st_size, skip=read_done(path))
    chain = Chain()
    chain.add(segment)
    count = 0
    while chain.next() is not None:
        count += 1
    segment.count, segment.taken, segment.sealed = count, 0, True
    return segment


class Chain:
    """Segments read one after another, each from its start; for one thread only."""

    def __init__(self) -> None:
        self._segments: deque[Segment] = deque()
        self._offset = 0
        self._read: deque[Entry] = deque()

    def add(self, segment: Segment) -> None:
        """Read `segment` after those that are here."""
        self._segments.append(segment)

    def next(self) -> Entry | None:
        """Return the next event to send, None where there is none yet.

        Raises:
            OSError: the segment at the front cannot be read; `drop` it to go on.
        """
        while not self._read:
            if not self._segments:
                return None
            segment = self._segments[0]
            # `sealed` first: a segment seen sealed has its last size.
            sealed, size = segment.sealed, segment.size
            if sealed and (segment.exhausted or self._offset >= size):
                self.drop()
            elif self._offset < size:
                self._fill(segment, size)
            else:
                return None
        entry = self._read.popleft()
        entry.segment.taken += 1
        return entry

    def put_back(self, entry: Entry) -> None:
        """Return the event that `next` gave, so that it is the next again."""
        entry.segment.taken -= 1
        self._read.appendleft(entry)

    def drop(self) -> Segment:
        """Leave the segment at the front and return it."""
        self._offset = 0
        return self._segments.popleft()

    def _fill(self, segment: Segment, size: int) -> None:
        assert segment.path is not None
        with segment.path.open("rb") as file:
            file.seek(self._offset)
            chunk = file.read(min(_CHUNK, size - self._offset))
            if b"\n" not in chunk:
                # Longer than any event: damage, or a torn last line. Take it whole.
                chunk += file.read(size - self._offset - len(chunk))
        end = chunk.rfind(b"\n") + 1
        if not end:
            # Only a torn line is left; or the file is shorter than it was.
            self._offset = size
            return
        self._offset += end
        for line in chunk[: end - 1].split(b"\n"):
            read = read_line(line)
            if read is None:
                segment.damaged = True
            elif read[0] not in segment.skip:
                self._read.append(Entry(segment, *read))
