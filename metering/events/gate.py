"""POST /api/v1/events before Flask: the one route that is asked thousands of times a second.

A request's context, session, signals and log chain cost several times what storing an
event does. The gate does what `kit.web`, `kit.guards` and `kit.problems` do for every
other route, by the same functions, and nothing else.
"""

import hashlib
import io
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from structlog.contextvars import bind_contextvars, clear_contextvars

from metering.events.decoding import (
    BODY_BYTES_MAX,
    NDJSON_TYPE,
    BodyTooLarge,
    BodyUnreadable,
    Decoded,
    decode,
)
from metering.events.ingest import Ingest
from metering.events.streaming import decode_lines, decompress
from metering.kit import problems
from metering.kit.auth import read_bearer
from metering.kit.bodies import content_length
from metering.kit.clock import Clock
from metering.kit.db import Database
from metering.kit.idempotency import Answer, once
from metering.kit.limits import Limiter
from metering.kit.logs import get_logger, log_answered
from metering.kit.web import REQUEST_ID_HEADER, request_id_from

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PATH = "/api/v1/events"
_STATUS_LINES = {int(status): f"{status.value} {status.phrase}" for status in HTTPStatus}
_log = get_logger(__name__)

Headers = list[tuple[str, str]]


class Gate:
    """Answers POST of `PATH` and hands everything else on.

    Args:
        inner: the application behind.
        ingest: takes the events.
        limiter: how often each key may ask.
        headers: the security headers of every answer.
        raising: says whether to let faults of ours through, as tests want them.
    """

    def __init__(
        self,
        inner: "WSGIApplication",
        *,
        ingest: Ingest,
        database: Database,
        clock: Clock,
        limiter: Limiter,
        headers: dict[str, str],
        raising: Callable[[], bool],
    ) -> None:
        self._inner = inner
        self._ingest = ingest
        self._database = database
        self._clock = clock
        self._limiter = limiter
        self._headers = tuple(headers.items())
        self._raising = raising

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer as WSGI wants it."""
        if environ.get("PATH_INFO") == PATH and environ["REQUEST_METHOD"] == "POST":
            return self.answer(environ, start_response)
        return self._inner(environ, start_response)

    def answer(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Take the events of a request: key, limit, body, receipt or problem."""
        started = time.perf_counter()
        request_id = request_id_from(environ.get("HTTP_X_REQUEST_ID", ""))
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        headers: Headers = [*self._headers, (REQUEST_ID_HEADER, request_id)]
        try:
            status, body = self._take(environ, headers)
        except Exception as error:  # the web edge: whatever happens is answered
            status, body = self._problem(error, request_id, headers)
        if status != HTTPStatus.NO_CONTENT:
            headers.append(("Content-Length", str(len(body))))
        start_response(_STATUS_LINES[status], headers)
        log_answered(
            __name__,
            method="POST",
            path=PATH,
            status=status,
            milliseconds=round((time.perf_counter() - started) * 1000),
            request_id=request_id,
        )
        return [body]

    def _take(self, environ: "WSGIEnvironment", headers: Headers) -> tuple[int, bytes]:
        now = self._clock()
        key = read_bearer(environ.get("HTTP_AUTHORIZATION"))
        # By the remembered catalogue; storing the events checks it again.
        principal = self._ingest.catalogue.authenticate(key, now=now)
        allowance = self._limiter.take(principal.prefix)
        if allowance is not None:
            headers.extend(allowance.headers().items())
        content_type = environ.get("CONTENT_TYPE", "")
        once_key = environ.get("HTTP_IDEMPOTENCY_KEY")
        told = None if once_key is None else hashlib.sha256(content_type.encode() + b"\n")
        sent = _Sent(environ, None if told is None else told.update)
        # Lines are decoded while they come.
        lines = _media_type(content_type) == NDJSON_TYPE
        read = b"" if lines else sent.read()
        ahead: list[Decoded] = []

        def digest() -> str:
            assert told is not None
            if lines:
                # The request is known with its last line; what was decoded till then is kept.
                ahead.append(decode_lines(sent, environ.get("HTTP_CONTENT_ENCODING")))
            return told.hexdigest()

        def accept() -> Answer:
            if ahead:
                decoded = ahead.pop()
            elif lines:
                decoded = decode_lines(sent, environ.get("HTTP_CONTENT_ENCODING"))
            else:
                decoded = _decoded(read, environ)
            receipt = self._ingest.accept(decoded, key=key, now=now)
            self._ingest.note_use(principal.key_id, now=now)
            if not receipt.fates and _asks_for_little(environ.get("HTTP_PREFER")):
                return Answer(HTTPStatus.NO_CONTENT, None)
            return Answer(HTTPStatus.OK, receipt.to_json())

        answer = once(
            self._database,
            scope=f"events:{principal.prefix}",
            key=once_key,
            request=digest,
            now=now,
            work=accept,
        )
        if answer.body is None:
            headers.append(("Preference-Applied", "return=minimal"))
            return answer.status, b""
        headers.append(("Content-Type", "application/json"))
        return answer.status, msgspec.json.encode(answer.body)

    def _problem(self, error: Exception, request_id: str, headers: Headers) -> tuple[int, bytes]:
        problem = problems.problem_of_error(error)
        if problem is None:
            if self._raising():
                raise error
            _log.error("fault", exc_info=error)
            problem = problems.problem_of_fault(request_id)
        headers.append(("Content-Type", problems.MEDIA_TYPE))
        headers.extend(problem.headers.items())
        return problem.status, problem.document(path=PATH, request_id=request_id)


class _Sent:
    """The body of a request, bounded by what may be and by what its length says.

    Args:
        told: called with every piece that is read.

    Raises:
        BodyTooLarge: it has more bytes than may be.
        BodyUnreadable: its length is no number; on reading, also that it ended early.
    """

    def __init__(self, environ: "WSGIEnvironment", told: Callable[[bytes], object] | None) -> None:
        length: str | None = environ.get("CONTENT_LENGTH") or None
        self._stream = environ["wsgi.input"]
        self._told = told
        self._exact = length is not None
        self._left = BODY_BYTES_MAX + 1 if environ.get("wsgi.input_terminated") else 0
        if length is not None:
            left = content_length(length)
            if left is None:
                raise BodyUnreadable("The Content-Length is not a number of bytes.")
            self._left = left
            if self._left > BODY_BYTES_MAX:
                raise BodyTooLarge(f"A body has at most {BODY_BYTES_MAX} bytes.")

    def read(self, size: int = -1, /) -> bytes:
        """Return at most so many bytes, and all that are left for -1; nothing at the end."""
        wanted = self._left if size < 0 else min(size, self._left)
        if not wanted:
            return b""
        try:
            piece: bytes = self._stream.read(wanted)
        except (OSError, ValueError):
            raise BodyUnreadable("The connection ended within the body.") from None
        self._left -= len(piece)
        if self._exact and len(piece) < wanted:
            raise BodyUnreadable("The body is shorter than its Content-Length.")
        if not self._exact and not self._left:
            raise BodyTooLarge(f"A body has at most {BODY_BYTES_MAX} bytes.")
        if self._told is not None:
            self._told(piece)
        return piece


def _decoded(body: bytes, environ: "WSGIEnvironment") -> Decoded:
    """Return the events of a body that has come whole, and is no NDJSON."""
    encoding = environ.get("HTTP_CONTENT_ENCODING")
    media_type = _media_type(environ.get("CONTENT_TYPE", ""))
    plain = body if encoding is None else decompress(io.BytesIO(body), encoding)
    return decode(plain, media_type=media_type, headers=_cloudevents(environ))


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _cloudevents(environ: "WSGIEnvironment") -> dict[str, Any]:
    """Return the attributes that stand in headers, in binary mode."""
    if "HTTP_CE_SPECVERSION" not in environ and "HTTP_CE_ID" not in environ:
        return {}
    return {
        name[5:].lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("HTTP_CE_")
    }


def _asks_for_little(prefer: str | None) -> bool:
    return prefer is not None and "return=minimal" in prefer.replace(" ", "").lower()
