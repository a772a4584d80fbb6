"""Write `constraints.txt`: the exact versions, installed here, of all that paygo needs.

Run it in the virtual environment in which the whole test suite has just passed.
"""

import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
HEAD = """\
# What was tested together; pyproject.toml says what paygo needs. Written by `make constraints`.
"""


def pinned() -> dict[str, str]:
    """Return the version of each distribution that paygo, its tests and its tools need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting = [
        *project["dependencies"],
        *(one for group in project["optional-dependencies"].values() for one in group),
    ]
    pins: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        extras = frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found = distribution(name)
        except PackageNotFoundError:
            # Needed on another platform or Python only.
            continue
        pins[name] = found.version
        for text in found.requires or ():
            inner = Requirement(text)
            if inner.marker is None or any(
                inner.marker.evaluate({"extra": extra}) for extra in extras | {""}
            ):
                waiting.append(text.partition(";")[0])
    return pins


if __name__ == "__main__":
    lines = [f"{name}=={version}\n" for name, version in sorted(pinned().items())]
    (ROOT / "constraints.txt").write_text(HEAD + "".join(lines), encoding="utf-8")
