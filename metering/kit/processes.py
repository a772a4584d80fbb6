"""Child processes that never outlive their parent, and never stay half-ended."""

import ctypes
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

_PR_SET_PDEATHSIG = 1
_PATIENCE_SECONDS = 20.0


def die_with_parent(parent: int) -> None:
    """Ask the kernel to end this process (SIGTERM) when its parent ends, however it ends.

    Args:
        parent: process id of the parent as the parent gave it; if that one is gone
            already, this process exits at once.

    Raises:
        OSError: the kernel refused.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
    # The parent may have ended before the request above was made.
    if os.getppid() != parent:
        sys.exit(0)


class Child:
    """One `paygo` command run as a child.

    It has a process group of its own, so Ctrl-C reaches only the parent, which
    then ends its children in order; and it dies with its parent. Start it from
    the main thread: the kernel watches the thread that forks.

    Args:
        arguments: the command line after `paygo`.
        environment: the whole environment of the child.
    """

    def __init__(self, arguments: Sequence[str], *, environment: Mapping[str, str]) -> None:
        self.name = arguments[0]
        self._arguments = [*arguments, "--die-with", str(os.getpid())]
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id, None before it is started."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it; again when it has ended."""
        self._process = subprocess.Popen(  # noqa: S603 - our own program and arguments
            [sys.executable, "-m", "billing.cli", *self._arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def ended(self) -> int | None:
        """Return its exit status, None while it runs."""
        return None if self._process is None else self._process.poll()

    def stop(self) -> None:
        """End it, gently first, and wait until it has ended."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            # Its own children die with it.
            self._process.kill()
            self._process.wait()


def relax_collector() -> None:
    """Let Python's cycle collector leave what is loaded alone, and run seldom.

    A batch of events makes many objects that live as long as the request and hold no
    cycles; looking through them again and again cost ingest a third of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
