"""Lanes: each process's own folder in the spool, locked for as long as it lives."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path


class Lane:
    """One process's folder of segments, locked for as long as it is held.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def create(cls, root: Path, name: str) -> "Lane":
        """Make a lane; it takes its visible name only once it is locked."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        hidden = root / f".{name}"
        hidden.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(hidden / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(root / name)
        except OSError:
            os.close(lock)
            raise
        return cls(root / name, lock)

    @classmethod
    def adopt(cls, path: Path) -> "Lane | None":
        """Take the lane of a process that is gone, None where it lives or has been tidied."""
        try:
            lock = os.open(path / "lock", os.O_RDWR)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        return cls(path, lock)

    def segment_paths(self) -> list[Path]:
        """Return the files of events, oldest first."""
        return sorted(self.path.glob("*.events"))

    def tidy(self) -> None:
        """Remove the folder if no event is left in it."""
        if self.segment_paths():
            return
        with suppress(OSError):
            for left in self.path.glob("*.done"):
                left.unlink()
            (self.path / "lock").unlink(missing_ok=True)
            self.path.rmdir()

    def release(self) -> None:
        """Let others adopt the lane."""
        os.close(self._lock)


def sync_folders(*folders: Path) -> None:
    """Bring the names in these folders to the disk.

    Raises:
        OSError: the disk refused.
    """
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
