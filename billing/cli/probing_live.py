"""Does the web server that people and services reach answer as it should? Nothing is counted."""

from collections.abc import Iterator
from typing import Any

import requests

from metering.kit.problems import MEDIA_TYPE

_TIMEOUT_SECONDS = 10
_EVENTS = "/api/v1/events"


def faults(url: str, *, key: str | None) -> Iterator[str]:
    """Ask a running paygo; yield in words what is not as it should be.

    It is to be ready, to refuse usage that comes without a key, and with one to take an empty
    list of events the whole way: key, database, receipt.

    Args:
        url: where it is reached, through whatever is in front of it.
        key: of any service; without one the last is left out.
    """
    url = url.rstrip("/")
    with requests.Session() as session:
        try:
            ready = session.get(f"{url}/readyz", timeout=_TIMEOUT_SECONDS)
            if ready.status_code != 200:
                yield f"{url} is not ready: it answers {_said(ready)}"
            stranger = _post(session, url, {})
            if stranger.status_code != 401 or not _is_problem(stranger):
                yield f"{url} answers usage without a key with {_said(stranger)}, not with 401"
            if key is None:
                return
            taken = _post(session, url, {"Authorization": f"Bearer {key}"})
            if taken.status_code != 200 or _json(taken).get("received") != 0:
                yield f"{url} answers an empty list of events with {_said(taken)}"
        except requests.RequestException as error:
            yield f"{url} does not answer: {type(error).__name__}"


def _post(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    return session.post(
        f"{url}{_EVENTS}",
        data=b"[]",
        headers={"Content-Type": "application/cloudevents-batch+json", **headers},
        timeout=_TIMEOUT_SECONDS,
        # Whoever is sent elsewhere has not reached it.
        allow_redirects=False,
    )


def _is_problem(answer: requests.Response) -> bool:
    return answer.headers.get("Content-Type", "").startswith(MEDIA_TYPE)


def _json(answer: requests.Response) -> dict[str, Any]:
    try:
        read = answer.json()
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def _said(answer: requests.Response) -> str:
    read = _json(answer)
    why = (
        str(read.get("type", "")).rpartition("/")[2] if _is_problem(answer) else read.get("status")
    )
    return f"{answer.status_code} {why or ''}".strip()
