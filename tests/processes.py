"""What tests of whole programs need to know about processes."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from werkzeug.serving import make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def _stat(pid: str | int) -> list[str]:
    """Return state and parent id first; empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def descendants(parent: int) -> set[int]:
    """Return the ids of all processes below `parent`."""
    parents = {
        int(folder.name): int(fields[1])
        for folder in Path("/proc").glob("[0-9]*")
        if (fields := _stat(folder.name))
    }
    found = {parent}
    while more := {pid for pid, above in parents.items() if above in found} - found:
        found |= more
    return found - {parent}


def alive(pid: int) -> bool:
    """Say whether a process runs; one that ended and was not yet reaped does not."""
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


def command_of(pid: int) -> str:
    """Return a process's command line, empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


@contextmanager
def listening(app: "WSGIApplication") -> Iterator[str]:
    """Serve an application on a real port of this machine; yield its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(timeout=10)
        server.server_close()


def wait_for(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    """Wait until `condition` holds; fail the test when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
