"""Send one webhook: signed, to an address that was checked, within bounds.

The receiver's address is chosen by whoever sets up the endpoint, so the request must not be
able to reach what only we can: the host is resolved once, every address it has must be public,
and the connection goes to one of those very addresses. No redirect is followed, no proxy used,
and the whole exchange has one deadline, which holds against a server that drips as well.
"""

import contextlib
import http.client
import json
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

from standardwebhooks import Webhook

from billing.notifications.model import Result, WebhookUrl, webhook_url, without_controls
from metering.kit.errors import Refusal

Resolve = Callable[[str, int], Sequence[str]]

SECONDS = 15.0
EXCERPT = 500
_LONGEST_ANSWER = 16_384
_MOST_ADDRESSES = 3
# Reachable from inside one cloud only, though the address itself is a public one.
_INTERNAL_ALL_THE_SAME = frozenset({IPv4Address("168.63.129.16")})
_NAT64 = IPv6Network("64:ff9b::/96")


class NotReached(Exception):
    """The request could not be made; the text says why, for people."""


@dataclass(frozen=True)
class Outgoing:
    """A request to send.

    Attributes:
        id: `webhook-id`; the same at every attempt.
        secrets: each signs; the receiver needs to know one of them.
    """

    id: str
    url: str
    body: str
    secrets: tuple[str, ...]


def body_of(*, kind: str, announced_at: datetime, facts: dict[str, Any]) -> str:
    """Return the body as Standard Webhooks has it; the same text at every attempt."""
    content = {"type": kind, "timestamp": announced_at.isoformat(), "data": facts}
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def signed_headers(outgoing: Outgoing, *, now: datetime) -> dict[str, str]:
    """Return the three headers by which a receiver knows the request is ours and fresh."""
    signatures = (
        Webhook(secret).sign(msg_id=outgoing.id, timestamp=now, data=outgoing.body)
        for secret in outgoing.secrets
    )
    return {
        "webhook-id": outgoing.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def is_public(address: str) -> bool:
    """Return whether an IP address is one that anybody on the internet could reach.

    >>> is_public("8.8.8.8"), is_public("169.254.169.254"), is_public("::ffff:10.0.0.1")
    (True, False, False)
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        if ip in _NAT64:  # the way to an IPv4 address from a network that has IPv6 alone
            return is_public(str(IPv4Address(int(ip) & 0xFFFFFFFF)))
        inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if not all(is_public(str(one)) for one in inner if one is not None):
            return False
    return (
        ip.is_global
        and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)
        and ip not in _INTERNAL_ALL_THE_SAME
    )


def resolve(host: str, port: int) -> list[str]:
    """Return every address of a host.

    Raises:
        OSError: it has none, or the name service does not answer.
    """
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def checked_addresses(
    host: str, port: int, *, allow_private: bool, resolve: Resolve, seconds: float
) -> list[str]:
    """Resolve a host once, within `seconds`, and return its addresses if all are public.

    Raises:
        NotReached: no answer, no address, or one that is not public.
    """
    answer: queue.SimpleQueue[Sequence[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(resolve(host, port))
        except (OSError, UnicodeError) as error:
            answer.put(error)

    # The resolver cannot be interrupted, so a slow one is left behind.
    threading.Thread(target=ask, daemon=True).start()
    try:
        found = answer.get(timeout=seconds)
    except queue.Empty:
        raise NotReached("The host's name could not be looked up in time.") from None
    if isinstance(found, Exception) or not found:
        raise NotReached("The host's name could not be looked up.")
    if not allow_private and not all(is_public(one) for one in found):
        raise NotReached("The host has an address that is not public; paygo does not go there.")
    return list(found)[:_MOST_ADDRESSES]


def send(
    outgoing: Outgoing,
    *,
    now: datetime,
    allow_private: bool,
    resolve: Resolve = resolve,
    tls: ssl.SSLContext | None = None,
    seconds: float = SECONDS,
) -> Result:
    """Send one webhook and return how it went; expected trouble is a result, not an exception.

    Args:
        now: what the signature says; receivers refuse one that is minutes off.
        allow_private: also http, and hosts on private addresses.
        tls: trust other than the system's.
        seconds: the whole exchange ends within this.
    """
    begun = time.monotonic()
    answer: http.client.HTTPResponse | None = None
    excerpt, content = "", b""
    try:
        url = webhook_url(outgoing.url, allow_insecure=allow_private)
        connection = _connected(
            url, deadline=begun + seconds, allow_private=allow_private, resolve=resolve, tls=tls
        )
        with connection:
            answer = connection.ask(
                url.target, body=outgoing.body.encode(), headers=signed_headers(outgoing, now=now)
            )
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                # The status decides; an answer cut off after it is only shown.
                content = answer.read(_LONGEST_ANSWER)
            answer.close()
    except (NotReached, Refusal) as error:
        excerpt = str(error)
    except ssl.SSLCertVerificationError as error:
        excerpt = f"The certificate cannot be trusted: {error.verify_message}."
    except (OSError, http.client.HTTPException, ValueError) as error:
        late = time.monotonic() - begun >= seconds
        excerpt = (
            f"There was no answer within {seconds:g} seconds."
            if late
            else f"The connection failed: {type(error).__name__}."
        )
    milliseconds = int((time.monotonic() - begun) * 1000)
    if answer is None:
        return Result("retry", milliseconds, excerpt=without_controls(excerpt, longest=EXCERPT))
    status = answer.status
    return Result(
        "delivered" if 200 <= status < 300 else "gone" if status == 410 else "retry",
        milliseconds,
        status=status,
        excerpt=without_controls(content.decode("utf-8", "replace"), longest=EXCERPT),
        retry_after=_retry_after(answer, now) if status in (429, 503) else None,
    )


def _retry_after(answer: http.client.HTTPResponse, now: datetime) -> timedelta | None:
    said = (answer.headers.get("Retry-After") or "").strip()
    if said.isascii() and said.isdigit():
        return timedelta(seconds=min(int(said[:9]), 10**8))
    try:
        until = parsedate_to_datetime(said)
    except ValueError:
        return None
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return max(until - now, timedelta(0))


class _Connection(http.client.HTTPConnection):
    """A connection over a socket that is open already, cut at its deadline."""

    def __init__(self, url: WebhookUrl, sock: socket.socket, guard: "_Guard") -> None:
        default = {"https": 443, "http": 80}[url.scheme]
        host = f"[{url.host}]" if ":" in url.host else url.host
        super().__init__(url.host, url.port)
        self.sock = sock
        self._guard = guard
        self._host_header = host if url.port == default else f"{host}:{url.port}"

    def connect(self) -> None:
        """Refuse: a second connection would not be to the checked address."""
        raise NotReached("The connection was closed early.")

    def ask(self, target: str, *, body: bytes, headers: dict[str, str]) -> http.client.HTTPResponse:
        self.putrequest("POST", target, skip_host=True, skip_accept_encoding=True)
        for name, value in {
            "Host": self._host_header,
            "User-Agent": "paygo-webhooks/1",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **headers,
        }.items():
            self.putheader(name, value)
        self.endheaders(body)
        answer = self.getresponse()
        if self._guard.has_cut:  # headers that end in mid-air look complete
            raise TimeoutError
        return answer

    def __enter__(self) -> "_Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._guard.release()
        self.close()


class _Guard:
    """Shuts a connection at a deadline, whatever it is in the middle of.

    A time limit on a socket starts again at each byte; this does not. It acts on a duplicate
    of the descriptor, so that it never touches the TLS object another thread is reading.
    """

    def __init__(self, sock: socket.socket, *, deadline: float) -> None:
        self.has_cut = False
        self._twin = sock.dup()
        self._timer = threading.Timer(max(0.0, deadline - time.monotonic()), self._cut)
        self._timer.daemon = True
        self._timer.start()

    def _cut(self) -> None:
        self.has_cut = True
        with contextlib.suppress(OSError):
            self._twin.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        self._timer.cancel()
        self._timer.join()
        self._twin.close()


def _connected(
    url: WebhookUrl,
    *,
    deadline: float,
    allow_private: bool,
    resolve: Resolve,
    tls: ssl.SSLContext | None,
) -> _Connection:
    addresses = checked_addresses(
        url.host,
        url.port,
        allow_private=allow_private,
        resolve=resolve,
        seconds=max(0.1, deadline - time.monotonic()),
    )
    sock = _first_that_answers(addresses, url.port, deadline=deadline)
    guard = _Guard(sock, deadline=deadline)
    try:
        if url.scheme == "https":
            context = tls or ssl.create_default_context()
            sock = context.wrap_socket(sock, server_hostname=url.host)
        return _Connection(url, sock, guard)
    except BaseException:
        guard.release()
        sock.close()
        raise


def _first_that_answers(addresses: Sequence[str], port: int, *, deadline: float) -> socket.socket:
    trouble: OSError | None = None
    for position, address in enumerate(addresses):
        # What is left is shared, so that a silent first address leaves time for the next.
        left = (deadline - time.monotonic()) / (len(addresses) - position)
        if left <= 0:
            break
        try:
            sock = socket.create_connection((address, port), timeout=left)
        except OSError as error:
            trouble = error
            continue
        sock.settimeout(max(0.1, deadline - time.monotonic()))
        return sock
    raise trouble or TimeoutError
