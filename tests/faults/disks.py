"""Small disks that tests may fill, or make read-only, without harm to anything else."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Disk:
    """A file system in memory of a few megabytes, mounted at `path`."""

    path: Path

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self, *, leave: int = 0) -> None:
        """Use up all of its room but `leave` bytes."""
        free = os.statvfs(self.path).f_bavail * os.statvfs(self.path).f_frsize
        with self._ballast.open("ab") as file, suppress(OSError):
            left = free - leave
            while left > 0:
                left -= file.write(b"\0" * min(left, 1_000_000))
                file.flush()

    def make_room(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def refuse_writes(self) -> None:
        """Make it read-only, as the kernel does with a disk that fails."""
        _mount("-o", "remount,ro", str(self.path))

    def allow_writes(self) -> None:
        """Make it writable again."""
        _mount("-o", "remount,rw", str(self.path))


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[Disk]:
    """Yield a disk of its own; the test is skipped where this process may not mount one."""
    path = folder / "disk"
    path.mkdir()
    try:
        _mount("-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "paygo-test", str(path))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk to fill needs the right to mount one: run as root")
    try:
        yield Disk(path)
    finally:
        # Lazily: whoever still has a file open there keeps it until it ends.
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)
