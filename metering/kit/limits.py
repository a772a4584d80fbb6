"""How often one caller may ask: a token bucket for each, kept in this process.

A counter in the database would cost more than what it protects. Each of the
`workers` processes allows its share of the whole, so a caller whose requests
happen to reach one process only may be told to wait somewhat early, and never
gets more than the whole.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from metering.kit.errors import TooMany

_CALLERS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left to a caller in this process.

    Attributes:
        limit: requests a minute.
        remaining: requests that may be sent at once.
        reset: seconds until all of them may.
    """

    limit: int
    remaining: int
    reset: int

    def headers(self) -> dict[str, str]:
        """Return the answer's headers that say it."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }


class RateLimited(TooMany):
    """More requests a minute than this key may send. Wait, and send more events at once."""

    code = "rate-limited"
    title = "Too many requests"

    def __init__(self, detail: str, *, allowance: Allowance, retry_after: int) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.headers = allowance.headers()


class Limiter:
    """Allows `per_minute` requests a minute to each caller, over all processes.

    Args:
        per_minute: 0 for no limit.
        workers: processes that share the work.
        monotonic: seconds that only go forwards.
    """

    def __init__(
        self, *, per_minute: int, workers: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._whole = per_minute
        self._share = max(1, per_minute // workers) if per_minute else 0
        self._rate = self._share / 60
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, caller: str) -> Allowance | None:
        """Count one request of a caller; return what is left, None where nothing is limited.

        Raises:
            RateLimited: none is left.
        """
        if not self._share:
            return None
        now = self._monotonic()
        with self._lock:
            tokens, since = self._buckets.get(caller, (float(self._share), now))
            tokens = min(float(self._share), tokens + (now - since) * self._rate)
            if tokens < 1:
                self._buckets[caller] = (tokens, now)
                wait = math.ceil((1 - tokens) / self._rate)
                raise RateLimited(
                    f"This key may send {self._whole} requests a minute.",
                    allowance=Allowance(self._whole, 0, self._reset(tokens)),
                    retry_after=wait,
                )
            tokens -= 1
            if len(self._buckets) >= _CALLERS_MAX:
                self._buckets.clear()
            self._buckets[caller] = (tokens, now)
        return Allowance(self._whole, int(tokens), self._reset(tokens))

    def _reset(self, tokens: float) -> int:
        """Return after how many seconds the bucket is full."""
        return math.ceil((self._share - tokens) / self._rate)
