"""A crawler of our own pages: follows every link that whoever is signed in is shown."""

import html
import re
from collections import Counter, deque
from collections.abc import Iterable
from urllib.parse import parse_qs, urldefrag, urlsplit

from flask.testing import FlaskClient

_HREF = re.compile(r'<a\s[^>]*?href="([^"]+)"')
# A path is tried with so many queries of the same shape; sorting and paging never end.
_ALIKE = 2


def one_of_each(client: FlaskClient, starts: Iterable[str]) -> dict[str, str]:
    """Return an address of every kind of page that can be reached by links, by endpoint.

    The links of each start are followed, also where several are of one kind.
    """
    adapter = client.application.url_map.bind("localhost")
    waiting = deque((start, True) for start in starts)
    found: dict[str, str] = {}
    while waiting:
        address, is_start = waiting.popleft()
        path = urlsplit(address).path
        endpoint, _ = adapter.match(path, method="GET")
        if endpoint in found and not is_start:
            continue
        answer = client.get(address)
        if answer.status_code == 303:
            waiting.append((answer.location, False))
            continue
        assert answer.status_code == 200, f"{address}: {answer.status}"
        found[endpoint] = address if answer.mimetype == "text/html" else ""
        if answer.mimetype == "text/html":
            hrefs = (urldefrag(html.unescape(raw))[0] for raw in _HREF.findall(answer.text))
            waiting += [
                (href, False)
                for href in hrefs
                if href.startswith("/") and not href.startswith("/static/")
            ]
    return {endpoint: address for endpoint, address in found.items() if address}


def _is_order(query: str) -> bool:
    """Say whether an address asks for an order; the orders of several lists would multiply."""
    return any(name.rpartition("-")[2] == "sort" for name in parse_qs(query))


def crawl(
    client: FlaskClient, starts: Iterable[str], *, most: int = 400, depth: int | None = None
) -> dict[str, str]:
    """Return the text of every page that is linked from `starts`, by address.

    Fails on the first link that leads to anything but a page, a file or a redirect.

    Args:
        depth: how many links to follow from a start, None for all; a redirect is no link.
    """
    waiting = deque((start, "the start", 0) for start in starts)
    tried: Counter[str] = Counter()
    found: dict[str, str] = {}
    while waiting:
        address, origin, steps = waiting.popleft()
        parts = urlsplit(address)
        shape = f"{parts.path}?{'&'.join(sorted(parse_qs(parts.query)))}"
        if address in found or tried[shape] >= _ALIKE:
            continue
        tried[shape] += 1
        answer = client.get(address)
        assert answer.status_code in {200, 303}, f"{origin} leads to {address}: {answer.status}"
        if answer.status_code == 303:
            waiting.append((answer.location, address, steps))
            found[address] = ""
            continue
        is_page = answer.mimetype == "text/html"
        readable = is_page or answer.mimetype in {"text/csv", "application/xml"}
        found[address] = answer.text if readable else ""
        assert len(found) <= most, f"more than {most} pages; is a link making new ones for ever?"
        if not is_page or steps == depth:
            continue
        for raw in _HREF.findall(answer.text):
            href, _ = urldefrag(html.unescape(raw))
            if href.startswith("?"):
                href = parts.path + href
            if _is_order(parts.query) and href.partition("?")[0] == parts.path:
                continue
            if href.startswith("/") and not href.startswith("/static/"):
                waiting.append((href, address, steps + 1))
    return found
