"""Refusals and faults as answers: RFC 9457 for programs, pages for people.

`KIND_STATUS` is the only place where a kind of refusal meets an HTTP status.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import marshmallow
from flask import Flask, Response, json, request
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, InternalServerError

from metering.kit import errors
from metering.kit.db import is_transient
from metering.kit.errors import FieldError, Refusal
from metering.kit.logs import get_logger
from metering.kit.web import request_id

MEDIA_TYPE = "application/problem+json"
API_PREFIXES = ("/v1/", "/api/", "/webhooks/")

KIND_STATUS: Mapping[type[Refusal], HTTPStatus] = {
    errors.Malformed: HTTPStatus.BAD_REQUEST,
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.Unsupported: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

_KIND_OF_STATUS = {int(status): kind for kind, status in KIND_STATUS.items()}
_log = get_logger(__name__)


@dataclass(frozen=True)
class Problem:
    """An answer that is not a success.

    Attributes:
        status: HTTP status.
        code: stable kebab-case word; the problem's type is `/problems/<code>`.
        title: what kind of problem, the same each time.
        detail: one plain sentence about this occurrence.
        errors: every fault found in the input.
        facts: further members of the document.
        headers: sent with the answer, for example `Allow`.
    """

    status: int
    code: str
    title: str
    detail: str
    errors: tuple[FieldError, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self, *, path: str, request_id: str) -> bytes:
        """Return the RFC 9457 document about one request, as it is sent."""
        document: dict[str, Any] = {
            **self.facts,
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": path,
            "request_id": request_id,
        }
        if self.errors:
            document["errors"] = [error.to_json() for error in self.errors]
        return (json.dumps(document, sort_keys=False) + "\n").encode()


def status_of(refusal: Refusal | type[Refusal]) -> HTTPStatus:
    """Return the status of a refusal, by the nearest kind among its ancestors.

    Raises:
        LookupError: it belongs to no kind.
    """
    kind = refusal if isinstance(refusal, type) else type(refusal)
    for ancestor in kind.__mro__:
        if ancestor in KIND_STATUS:
            return KIND_STATUS[ancestor]
    raise LookupError(f"{kind.__name__} derives from no kind of refusal")


def every_refusal() -> dict[str, type[Refusal]]:
    """Return every refusal class that is loaded, by its code, in the order of codes.

    A class that only inherits its code is not listed beside the one that set it.
    """

    def below(kind: type[Refusal]) -> Iterator[type[Refusal]]:
        for child in kind.__subclasses__():
            yield child
            yield from below(child)

    found = {kind.code: kind for kind in below(Refusal) if "code" in vars(kind)}
    return dict(sorted(found.items()))


def problem_of_refusal(refusal: Refusal) -> Problem:
    """Return a refusal as an answer."""
    status = status_of(refusal)
    headers = dict(refusal.headers)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="paygo"'
    retry_after = refusal.facts.get("retry_after")
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return Problem(
        status=int(status),
        code=refusal.code,
        title=refusal.title,
        detail=refusal.detail,
        errors=refusal.errors,
        facts=refusal.facts,
        headers=headers,
    )


def field_errors(messages: Any, *, pointer: str = "") -> tuple[FieldError, ...]:
    """Flatten marshmallow's nested messages into faults with JSON pointers.

    >>> field_errors({"lines": {0: {"net": ["Missing data for required field."]}}})[0].pointer
    '/lines/0/net'
    """
    if isinstance(messages, Mapping):
        found: list[FieldError] = []
        for name, inner in messages.items():
            step = str(name).replace("~", "~0").replace("/", "~1")
            here = pointer if name == "_schema" else f"{pointer}/{step}"
            found.extend(field_errors(inner, pointer=here))
        return tuple(found)
    if isinstance(messages, list | tuple):
        return tuple(error for inner in messages for error in field_errors(inner, pointer=pointer))
    return (FieldError(pointer, "invalid", str(messages)),)


def problem_of_faults(faults: tuple[FieldError, ...], *, status: int = 422) -> Problem:
    """Return faults found in an input as an answer."""
    kind = _KIND_OF_STATUS.get(status, errors.Invalid)
    # A person reads the first few; a program reads them all in `errors`.
    detail = "; ".join(f"{fault.pointer or 'body'}: {fault.detail}" for fault in faults[:3])
    return Problem(status, kind.code, kind.title, detail or kind.title, errors=faults)


def problem_of_http(error: HTTPException) -> Problem:
    """Return an error of the web framework as an answer."""
    status = error.code or 500
    # webargs (under flask-smorest) hangs the validation messages on its exception; their
    # first level says where the input was (json, query, …), and a pointer starts inside.
    data = getattr(error, "data", None)
    if isinstance(data, dict) and data.get("messages"):
        places = data["messages"]
        inner = list(places.values()) if isinstance(places, dict) else [places]
        return problem_of_faults(
            tuple(fault for messages in inner for fault in field_errors(messages)), status=status
        )
    kind = _KIND_OF_STATUS.get(status)
    name = error.name
    kept = {"Allow", "Retry-After", "Content-Range", "WWW-Authenticate"}
    headers = {header: value for header, value in error.get_headers() if header in kept}
    return Problem(
        status=status,
        code=kind.code if kind else name.lower().replace(" ", "-").replace("'", ""),
        title=kind.title if kind else name,
        detail=error.description or name,
        headers=headers,
    )


def problem_of_database(error: DBAPIError | PoolTimeout) -> Problem | None:
    """Return as an answer that the database is not there; None where it is, and we are at fault."""
    # A server that cannot be reached gives no SQLSTATE.
    unreached = isinstance(error, OperationalError) and not getattr(error.orig, "sqlstate", None)
    if isinstance(error, DBAPIError) and not unreached and not is_transient(error):
        return None
    _log.error("database unavailable", exc_info=error)
    return problem_of_refusal(
        errors.Unavailable(
            "The database did not answer. Try again in a few seconds.", retry_after=5
        )
    )


def problem_of_error(error: Exception) -> Problem | None:
    """Return what was raised as an answer, and log it; None where it is a fault of ours."""
    if isinstance(error, Refusal):
        problem = problem_of_refusal(error)
        _log.info("refused", code=problem.code, status=problem.status, detail=problem.detail)
        return problem
    if isinstance(error, DBAPIError | PoolTimeout):
        return problem_of_database(error)
    return None


def problem_of_fault(reference: str) -> Problem:
    """Return an unforeseen fault as an answer that gives nothing away but a reference."""
    return Problem(
        status=500,
        code="fault",
        title="Something went wrong",
        detail="Something went wrong here, not with your request. Give the reference to support.",
        facts={"reference": reference},
    )


def is_api_request() -> bool:
    """Return whether the caller is a program: by path, or by asking for JSON and not for HTML."""
    if request.path.startswith(API_PREFIXES):
        return True
    best = request.accept_mimetypes.best_match(["text/html", MEDIA_TYPE, "application/json"])
    return best in {MEDIA_TYPE, "application/json"}


def as_json(problem: Problem) -> Response:
    """Return a problem as `application/problem+json`."""
    response = Response(
        problem.document(path=request.path, request_id=request_id()),
        status=problem.status,
        content_type=MEDIA_TYPE,
    )
    response.headers.extend(dict(problem.headers))
    return response


def register_problems(app: Flask, *, page: Callable[[Problem], Response] | None = None) -> None:
    """Answer every refusal, HTTP error and fault of `app` with a problem.

    Call it after everything that registers error handlers of its own
    (flask-smorest's `Api` does): the last one wins.

    Args:
        app: the application.
        page: renders a problem for a person; None for an API alone.
    """

    def answer(problem: Problem) -> Response:
        if page is None or is_api_request():
            return as_json(problem)
        return page(problem)

    def expected(error: Refusal | DBAPIError | PoolTimeout) -> Response:
        problem = problem_of_error(error)
        if problem is None:
            raise error
        return answer(problem)

    def misread(error: marshmallow.ValidationError) -> Response:
        return answer(problem_of_faults(field_errors(error.messages)))

    def http_error(error: HTTPException) -> Any:
        if error.code is None or error.code < 400:
            return error
        if isinstance(error, InternalServerError):
            # Flask has logged the traceback; the line carries the same request id.
            return answer(problem_of_fault(request_id()))
        return answer(problem_of_http(error))

    app.register_error_handler(Refusal, expected)
    app.register_error_handler(marshmallow.ValidationError, misread)
    app.register_error_handler(DBAPIError, expected)
    app.register_error_handler(PoolTimeout, expected)
    app.register_error_handler(HTTPException, http_error)
