"""What a thing costs: processor time of process trees, and what the machine is."""

import os
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def tree_seconds(root: int) -> float:
    """Return the processor seconds of a process, all its descendants and those it has buried."""
    return sum(_seconds(pid) for pid in [root, *_descendants(root)])


def children_seconds(root: int) -> list[float]:
    """Return the processor seconds of each child of a process, the busiest first."""
    return sorted((_seconds(pid) for pid in _children(root)), reverse=True)


def own_seconds() -> float:
    """Return the processor seconds of this process."""
    return time.process_time()


def memory_bytes(root: int) -> int:
    """Return the resident bytes of a process and its descendants; shared pages count for each."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = 0
    for pid in [root, *_descendants(root)]:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
        except (OSError, IndexError):
            continue
    return total


def description() -> str:
    """Return processors, memory and load as a line."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown processor",
    )
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"{os.cpu_count()} x {model}, {gigabytes:.0f} GB, load {load}"


def _fields(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _seconds(pid: int) -> float:
    # utime, stime, and those of children that were waited for: proc_pid_stat(5).
    return sum(int(field) for field in _fields(pid)[11:15]) / _TICKS


def _parents() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := _fields(int(entry.name))):
            found.setdefault(int(fields[1]), []).append(int(entry.name))
    return found


def _children(root: int) -> list[int]:
    return _parents().get(root, [])


def _descendants(root: int) -> list[int]:
    parents, found = _parents(), [root]
    for pid in found:
        found.extend(parents.get(pid, []))
    return found[1:]
