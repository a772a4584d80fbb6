"""What the public pages show."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ProblemPage:
    """One kind of problem, as its documentation says it."""

    code: str
    title: str
    status: int
    meaning: str
