"""Files into a zip as a stream of bytes: the same files give the same bytes. Pure."""

import zipfile
from collections.abc import Iterable, Iterator
from io import RawIOBase
from typing import Any

# Zip keeps no time zone, so a fixed time: when a bundle is made must not change its bytes.
_STAMP = (1980, 1, 1, 0, 0, 0)


class _Sink(RawIOBase):
    """Takes what the zip writes and gives it out again."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.waiting += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self.waiting)
        self.waiting.clear()
        return taken


def pack(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Yield a zip of (name, content) in the order given, one piece for each file and the end.

    No more than one file is held in memory.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content in files:
            about = zipfile.ZipInfo(name, date_time=_STAMP)
            about.compress_type = zipfile.ZIP_DEFLATED
            about.external_attr = 0o644 << 16
            # The system that wrote it is part of the bytes; 3 is Unix.
            about.create_system = 3
            archive.writestr(about, content)
            yield sink.take()
    yield sink.take()
