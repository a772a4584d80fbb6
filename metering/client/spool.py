"""The spool: recorded events on disk until the API's receipt confirms them.

    <spool_dir>/<source>-<digest of URL and source>/<lane>/lock
                                                          000000000001.events
                                                          000000000001.done

Each process writes a *lane* of its own and holds an exclusive `flock` on its
`lock`, which the kernel releases however the process ends. Whoever can take
the lock of another lane *adopts* it: a restarted service, or a sibling worker.

Guarantee: an event whose `append` returned survives `kill -9` of the process
at once, and a power cut from the next `sync` on. POSIX only.
"""

import errno
import hashlib
import os
import re
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from metering.client.lanes import Lane, sync_folders
from metering.client.segments import (
    Chain,
    Entry,
    Segment,
    done_path,
    open_segment,
    write_done,
    write_line,
)

SEGMENT_BYTES = 4 * 1024 * 1024
# A quiet service's only segment is renewed at this size once all of it is settled.
RENEW_BYTES = 64 * 1024
# After a refusal the disk is left in peace for so long, so that a full one does not slow the host.
RETRY_SECONDS = 1.0


def spool_root(directory: Path, *, url: str, source: str) -> Path:
    """Return the folder for one API and source: another's key could not send these events."""
    digest = hashlib.sha256(f"{url}\0{source}".encode()).hexdigest()[:12]
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", source).strip(".-")[:40] or "source"
    return directory / f"{slug}-{digest}"


class SpoolFull(OSError):
    """The spool has reached its bound."""


class SetAside(Exception):
    """A file of the spool cannot be read now; its events stay in it for the next start.

    Args:
        count: events that this process will therefore not send.
    """

    def __init__(self, count: int, detail: str) -> None:
        super().__init__(detail)
        self.count = count


class Spool:
    """One process's part of a spool folder.

    `append`, `sync` and `settle` may be called from any thread; `take` and
    `adopt` from one thread only.

    Args:
        root: the folder of `spool_root`.
        name: a name for this process's lane that no other will ever have.
        max_bytes: bound on the bytes this process keeps.
        sync_each: synchronise to the disk before `append` returns.
    """

    def __init__(self, root: Path, *, name: str, max_bytes: int, sync_each: bool = False) -> None:
        self.lock = threading.Lock()
        self._root = root
        self._name = name
        self._max_bytes = max_bytes
        self._sync_each = sync_each
        self._lane: Lane | None = None
        self._adopted_lanes: dict[Path, Lane] = {}
        self._segments: set[Segment] = set()
        self._bytes = 0
        self._current: Segment | None = None
        self._descriptor = -1
        self._number = 0
        self._unsynced: list[int] = []
        self._dirty = False
        self._new_names = False
        self._own = Chain()
        self._adopted = Chain()
        self._closed = False
        self._damaged: list[Path] = []
        self._refusal: OSError | None = None
        self._retry_at = 0.0

    def append(self, payload: bytes) -> None:
        """Keep one event.

        Raises:
            SpoolFull: the bound is reached.
            OSError: the disk is full or broken; nothing of the event is kept.
        """
        with self.lock:
            if self._closed:
                raise OSError(errno.EBADF, "the spool is closed")
            if self._refusal is not None:
                if time.monotonic() < self._retry_at:
                    raise OSError(self._refusal.errno, self._refusal.strerror)
                self._refusal = None
            try:
                self._append(payload)
            except SpoolFull:
                raise
            except OSError as error:
                self._refusal, self._retry_at = error, time.monotonic() + RETRY_SECONDS
                raise

    def _append(self, payload: bytes) -> None:
        if self._current is not None and self._current.size >= SEGMENT_BYTES:
            self._seal()
        current = self._current or self._begin()
        line = write_line(current.next_ordinal, payload)
        if self._bytes + len(line) > self._max_bytes:
            raise SpoolFull(errno.EDQUOT, f"the spool holds its {self._max_bytes} bytes")
        self._write(current, line)
        current.next_ordinal += 1
        current.size += len(line)
        current.count += 1
        self._bytes += len(line)
        self._dirty = True

    def _write(self, current: Segment, line: bytes) -> None:
        try:
            written = os.write(self._descriptor, line)
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._sync_each:
                os.fsync(self._descriptor)
        except OSError:
            # A torn line may only ever be a file's last: cut it off and write on elsewhere.
            with suppress(OSError):
                os.ftruncate(self._descriptor, current.size)
            self._seal()
            raise

    def _begin(self) -> Segment:
        if self._lane is None:
            self._lane = Lane.create(self._root, self._name)
        self._number += 1
        path = self._lane.path / f"{self._number:012d}.events"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._descriptor = os.open(path, flags, 0o600)
        self._current = Segment(path, own=True)
        self._segments.add(self._current)
        self._own.add(self._current)
        self._new_names = True
        if self._sync_each:
            sync_folders(self._lane.path, self._root)
        return self._current

    def _seal(self) -> None:
        if self._current is None:
            return
        segment, self._current = self._current, None
        segment.sealed = True
        if self._remove_if_exhausted(segment):
            os.close(self._descriptor)
        else:
            self._unsynced.append(self._descriptor)
        self._descriptor = -1

    def sync(self) -> None:
        """Bring to the disk what was appended; record() does not wait for it.

        Raises:
            OSError: the disk refused; a power cut may lose what it had not written.
        """
        with self.lock:
            descriptors, self._unsynced = self._unsynced, []
            if self._dirty and self._descriptor >= 0:
                descriptors.append(os.dup(self._descriptor))
            new_names, self._new_names = self._new_names, False
            self._dirty = False
            lane = self._lane
        try:
            for descriptor in descriptors:
                os.fsync(descriptor)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        if new_names and lane is not None:
            sync_folders(lane.path, self._root)

    def adopt(self) -> int:
        """Take over what ended processes left and return the number of events to send."""
        found = 0
        with suppress(FileNotFoundError):
            for path in sorted(self._root.iterdir()):
                if path.name.startswith(".") or not path.is_dir():
                    continue
                with self.lock:
                    if self._closed or path in self._adopted_lanes:
                        continue
                    lane = None if path.name == self._name else Lane.adopt(path)
                    if lane is None:
                        continue
                    self._adopted_lanes[path] = lane
                found += self._open_all(lane)
        return found

    def _open_all(self, lane: Lane) -> int:
        found = 0
        for path in lane.segment_paths():
            try:
                segment = open_segment(path)
            except OSError:
                continue  # it stays where it is, for the next start
            with self.lock:
                self._segments.add(segment)
                self._bytes += segment.size
                if segment.damaged:
                    self._damaged.append(path)
                if not self._remove_if_exhausted(segment):
                    self._adopted.add(segment)
            found += segment.count
        with self.lock:
            self._tidy_adopted(lane.path)
        return found

    def damage_found(self) -> list[Path]:
        """Return, once, the adopted files that hold lines with a wrong checksum.

        Their good events are sent; then they are kept as `damaged-*` in the source's folder.
        """
        found, self._damaged = self._damaged, []
        return found

    def take(self, *, limit: int, max_bytes: int) -> list[Entry]:
        """Return the next events to send, ended processes' first; at least one if any waits.

        Args:
            limit: most events.
            max_bytes: most bytes of JSON in all, unless one event alone has more.

        Raises:
            SetAside: a file cannot be read; the next call goes on behind it.
        """
        taken: list[Entry] = []
        total = 0
        for chain in (self._adopted, self._own):
            while len(taken) < limit:
                try:
                    entry = chain.next()
                except OSError as error:
                    for again in reversed(taken):
                        (self._own if again.segment.own else self._adopted).put_back(again)
                    raise self._set_aside(chain, error) from error
                if entry is None:
                    break
                total += len(entry.payload)
                if taken and total > max_bytes:
                    chain.put_back(entry)
                    return taken
                taken.append(entry)
        return taken

    def _set_aside(self, chain: Chain, error: OSError) -> "SetAside":
        with self.lock:
            segment = chain.drop()
            if segment is self._current:
                self._seal()
            # Out of the set, so that its file is not removed: the next start tries it again.
            self._segments.discard(segment)
            self._bytes -= segment.size
            unread = segment.count - segment.taken
            segment.finished += unread
        return SetAside(unread, f"{segment.path} cannot be read: {error}")

    def settle(self, entries: Iterable[Entry]) -> None:
        """Forget events that the API has answered for; failing costs a duplicate, no more."""
        ordinals: dict[Segment, list[int]] = {}
        for entry in entries:
            ordinals.setdefault(entry.segment, []).append(entry.ordinal)
        with self.lock:
            if self._closed:
                return
            for segment, numbers in ordinals.items():
                segment.finished += len(numbers)
                if segment is self._current and segment.exhausted and segment.size >= RENEW_BYTES:
                    self._seal()
                elif not self._remove_if_exhausted(segment):
                    assert segment.path is not None
                    with suppress(OSError):
                        write_done(segment.path, numbers)

    def _remove_if_exhausted(self, segment: Segment) -> bool:
        if not (segment.sealed and segment.exhausted) or segment not in self._segments:
            return False
        self._segments.discard(segment)
        self._bytes -= segment.size
        path = segment.path
        assert path is not None
        with suppress(OSError):
            if segment.damaged:
                path.rename(self._root / f"damaged-{path.parent.name}-{path.name}")
            else:
                path.unlink()
            done_path(path).unlink(missing_ok=True)
        self._tidy_adopted(path.parent)
        return True

    def _tidy_adopted(self, path: Path) -> None:
        lane = self._adopted_lanes.get(path)
        if lane is not None and not lane.segment_paths():
            lane.tidy()
            lane.release()
            del self._adopted_lanes[path]

    def marks(self) -> list[tuple[Segment, int]]:
        """Return where each segment ends now; see `Segment.finished`."""
        with self.lock:
            return [(segment, segment.count) for segment in self._segments]

    def close(self) -> None:
        """Synchronise, remove what is settled and let others adopt the rest."""
        with suppress(OSError):
            self.sync()
        with self.lock:
            if self._closed:
                return
            self._seal()
            self._closed = True
            if self._lane is not None:
                self._lane.tidy()
            self._release()

    def abandon(self) -> None:
        """Close what a forked child inherited; the parent goes on using its own."""
        self._closed = True
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._release()

    def _release(self) -> None:
        for descriptor in self._unsynced:
            os.close(descriptor)
        self._unsynced = []
        for lane in (self._lane, *self._adopted_lanes.values()):
            if lane is not None:
                lane.release()
        self._adopted_lanes = {}
