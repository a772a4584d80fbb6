"""What a piece of work took: seconds, processor time here and in PostgreSQL, peak memory. Linux.

On a machine that does other work, seconds say little; processor time still does. PostgreSQL's
is that of the processes that this one started (an embedded server), live and ended.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
_TICKS = os.sysconf("SC_CLK_TCK")


class Took(NamedTuple):
    """Seconds by the clock; processor seconds of Python and PostgreSQL; Python's peak in MB."""

    seconds: float
    python: float
    postgres: float
    peak_mb: int

    @property
    def processor(self) -> float:
        """Processor seconds of both."""
        return self.python + self.postgres

    def shown(self) -> dict[str, Any]:
        """Return it as a benchmark prints it."""
        return {
            "seconds": round(self.seconds, 2),
            "python_processor_s": round(self.python, 2),
            "postgres_processor_s": round(self.postgres, 2),
            "python_peak_mb": self.peak_mb,
        }


def measured(work: Callable[[], T]) -> tuple[T, Took]:
    """Do the work; return what it returned and what it took."""
    _forget_peak()
    postgres, python, start = children_processor(), time.process_time(), time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    return result, Took(
        seconds,
        time.process_time() - python,
        children_processor() - postgres,
        _peak_mb(),
    )


def children_processor() -> float:
    """Return processor seconds of all processes below this one, ended ones included."""
    parents: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        # After the name: state, parent, …; own and waited-for children's time, in ticks.
        parents.setdefault(int(fields[1]), []).append(int(entry.name))
        ticks[int(entry.name)] = sum(int(field) for field in fields[11:15])
    found, waiting = 0, list(parents.get(os.getpid(), ()))
    while waiting:
        pid = waiting.pop()
        found += ticks.get(pid, 0)
        waiting += parents.get(pid, ())
    return found / _TICKS


def _forget_peak() -> None:
    # 5 sets the high-water mark of resident memory to what is resident now.
    Path("/proc/self/clear_refs").write_text("5")


def _peak_mb() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise LookupError("the kernel tells no peak of resident memory")
