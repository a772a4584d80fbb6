"""One HTTP request to the metering API, and what its answer means for a batch.

Only an answer that is recognisably the API's own settles an event: a receipt
that counts as many events as were sent, a 204 that names the preference it
follows, or a problem document. Whatever a
proxy, a sign-in page or a half-configured gateway says is tried again.
"""

import gzip
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from requests.auth import AuthBase

from metering.kit.clock import Clock

EVENTS_PATH = "/api/v1/events"
MANIFESTS_PATH = "/api/v1/manifests"
BATCH_TYPE = "application/cloudevents-batch+json"
PROBLEM_TYPE = "application/problem+json"
GZIP_FROM_BYTES = 1024
CLOCK_TOLERANCE = timedelta(seconds=60)
LONGEST_WAIT_SECONDS = 3600.0
_SECONDS = re.compile(r"\d{1,9}")

Key = str | Callable[[], str]


@dataclass(frozen=True)
class Fate:
    """What became of one event that was not simply accepted.

    Attributes:
        index: its place in the batch, from 0.
        fate: `duplicate`, `conflict` or `rejected`.
        code: stable kebab-case reason.
        pointer: JSON pointer to the fault within the batch.
        detail: one sentence for a person.
    """

    index: int
    fate: str
    code: str = ""
    pointer: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Receipt:
    """The API has kept its answer to every event of the batch."""

    fates: tuple[Fate, ...]


@dataclass(frozen=True)
class Divide:
    """The batch is too large, or one of its events makes it unreadable.

    Attributes:
        too_large: the size is the fault, so later batches should be smaller.
        final: the API itself said so, and would refuse a single event likewise.
    """

    code: str
    detail: str
    too_large: bool
    final: bool


@dataclass(frozen=True)
class Again:
    """Nothing is settled; send the same batch later.

    Attributes:
        after: seconds the API asked us to wait, at least.
        slow: a person has to mend something first, so ask rarely.
    """

    code: str
    detail: str
    after: float | None = None
    slow: bool = False


Outcome = Receipt | Divide | Again


def is_usable(key: str) -> bool:
    """Return whether a key can stand in a header."""
    return re.fullmatch(r"[\x21-\x7e]+", key) is not None


class _Bearer(AuthBase):
    """Sets our header as an auth object, since requests would prefer a `.netrc` entry."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class Transport:
    """Sends to one API; for one thread.

    Args:
        url: the API's base, for example `https://metering.example.nhs.uk`.
        key: the source's key, or a function that returns the present one.
        timeout: seconds for connecting, and for each wait on the answer.
        clock: the host's clock, compared with the API's.
    """

    def __init__(self, url: str, key: Key, *, timeout: float, clock: Clock) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._timeout = timeout
        self._clock = clock
        self._session = requests.Session()
        self._gzip = True
        self.clock_ahead = timedelta(0)

    def post(self, payloads: Sequence[bytes]) -> Outcome:
        """Send one batch of encoded events and say what its answer means. Never raises for HTTP."""
        body = b"[" + b",".join(payloads) + b"]"
        headers = {"Content-Type": BATCH_TYPE, "Prefer": "return=minimal"}
        if self._gzip and len(body) >= GZIP_FROM_BYTES:
            body = gzip.compress(body, compresslevel=5, mtime=0)
            headers["Content-Encoding"] = "gzip"
        try:
            response = self.request(EVENTS_PATH, body, headers)
        except requests.RequestException as error:
            return Again("unreachable", f"{type(error).__name__}: {error}")
        self._compare_clocks(response)
        if response.status_code == 415 and "Content-Encoding" in headers:
            self._gzip = False
            return Again("gzip-refused", "the API does not read gzip; sending plain", after=0.0)
        return read_answer(response, count=len(payloads), now=self._clock())

    def request(self, path: str, body: bytes, headers: dict[str, str]) -> requests.Response:
        """Post `body` with the key.

        Raises:
            requests.RequestException: there was no whole answer.
        """
        key = self._key if isinstance(self._key, str) else self._key()
        if not is_usable(key):
            # Checked here because the library's own complaint would print the key.
            raise requests.exceptions.InvalidHeader("the key is empty or no plain word")
        return self._session.post(
            self._url + path,
            data=body,
            headers={"Accept": "application/json", "User-Agent": "paygo-client/1", **headers},
            auth=_Bearer(key),
            timeout=self._timeout,
            allow_redirects=False,
        )

    def close(self) -> None:
        """Close idle connections."""
        self._session.close()

    def _compare_clocks(self, response: requests.Response) -> None:
        served = _http_date(response.headers.get("Date"))
        if served is not None:
            self.clock_ahead = self._clock() - served


def read_answer(response: requests.Response, *, count: int, now: datetime) -> Outcome:
    """Return what an answer to a batch of `count` events means."""
    status = response.status_code
    if status == 204 and response.headers.get("Preference-Applied") == "return=minimal":
        return Receipt(())
    if status == 204:
        # Any gateway may say 204. Sent again, events that were taken come back as duplicates.
        return Again("not-a-receipt", "the answer is not paygo's receipt", slow=True)
    if status == 200:
        fates = _fates(_json(response), count)
        if fates is None:
            return Again("not-a-receipt", "the answer is not paygo's receipt", slow=True)
        return Receipt(fates)
    code, detail = _problem(response)
    if status == 413:
        return Divide(code, detail, too_large=True, final=False)
    if status in {400, 422}:
        if _is_problem(response):
            return Divide(code, detail, too_large=False, final=True)
        return Again(code, detail, slow=True)
    after = _retry_after(response.headers.get("Retry-After"), now=now)
    transient = status >= 500 or status in {408, 425, 429}
    return Again(code, detail, after=after, slow=not transient)


def _fates(receipt: Any, count: int) -> tuple[Fate, ...] | None:
    """Read a receipt; None where it is not one for `count` events."""
    if not isinstance(receipt, dict) or receipt.get("received") != count:
        return None
    listed = receipt.get("events", [])
    if not isinstance(listed, list):
        return None
    fates: dict[int, Fate] = {}
    for item in listed:
        if not isinstance(item, dict):
            return None
        index, fate = item.get("index"), item.get("fate")
        if type(index) is not int or not 0 <= index < count or not isinstance(fate, str):
            return None
        if fate != "accepted":
            words = (str(item.get(name) or "") for name in ("code", "pointer", "detail"))
            fates[index] = Fate(index, fate, *words)
    # A receipt that lists fewer fates than it counts would make us forget an event unread.
    if receipt.get("accepted") != count - len(fates):
        return None
    return tuple(fates.values())


def _json(response: requests.Response) -> Any:
    try:
        return json.loads(response.content)
    except ValueError:
        return None


def _is_problem(response: requests.Response) -> bool:
    return response.headers.get("Content-Type", "").split(";")[0].strip().lower() == PROBLEM_TYPE


def _problem(response: requests.Response) -> tuple[str, str]:
    """Return code and detail of a problem document, or the bare status of anything else."""
    document = _json(response) if _is_problem(response) else None
    if isinstance(document, dict):
        code = str(document.get("type") or "").rpartition("/")[2]
        detail = str(document.get("detail") or document.get("title") or "")
        return code or f"http-{response.status_code}", detail
    return f"http-{response.status_code}", f"the API answered {response.status_code}"


def _retry_after(value: str | None, *, now: datetime) -> float | None:
    """Return the wait in seconds that a `Retry-After` asks for (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if _SECONDS.fullmatch(value.strip()):
        seconds = float(value)
    else:
        until = _http_date(value)
        if until is None:
            return None
        seconds = (until - now).total_seconds()
    return min(max(seconds, 0.0), LONGEST_WAIT_SECONDS)


def _http_date(value: str | None) -> datetime | None:
    try:
        instant = parsedate_to_datetime(value or "")
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else None
