"""The only place where paygo reads the wall clock.

Edges (views, jobs, commands) call `now()` and hand the instant inwards as a
keyword argument; domain code never reads the clock itself. A test of the
syntax tree holds this rule.
"""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def now() -> datetime:
    """Return the present instant as an aware UTC datetime."""
    return datetime.now(UTC)
