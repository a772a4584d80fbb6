"""What every response has: a request id, security headers, a bounded body, one log line."""

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from flask import Flask, Response, current_app, g, request
from werkzeug.middleware.proxy_fix import ProxyFix

from metering.kit.clock import Clock
from metering.kit.db import Database
from metering.kit.logs import get_logger

REQUEST_ID_HEADER = "X-Request-Id"
DEFAULT_MAX_BODY = 1024 * 1024

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{7,127}")
_log = get_logger(__name__)


@dataclass(frozen=True)
class Edge:
    """What a view needs from outside: where rows are, and what time it is."""

    database: Database
    clock: Clock


def install_edge(app: Flask, *, database: Database, clock: Clock) -> None:
    """Give the views of `app` their database and clock."""
    app.extensions["paygo_edge"] = Edge(database, clock)


def edge() -> Edge:
    """Return the database and the clock of the application in hand."""
    found = current_app.extensions["paygo_edge"]
    assert isinstance(found, Edge)
    return found


def request_id() -> str:
    """Return the id of the request in hand, made or taken over from the caller."""
    if "request_id" not in g:
        offered = request.headers.get(REQUEST_ID_HEADER, "")
        # Anything else could break a log line or a header, so it is replaced, not cleaned.
        g.request_id = (
            offered
            if _SANE_REQUEST_ID.fullmatch(offered)
            else str(UUID(int=secrets.randbits(128), version=4))
        )
    return str(g.request_id)


def csp_nonce() -> str:
    """Return this response's nonce for the rare script that must be in the page."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(18)
    return str(g.csp_nonce)


def content_security_policy(*, form_targets: Sequence[str] = ()) -> str:
    """Return the policy: everything from ourselves, nothing inline, never framed.

    Args:
        form_targets: other origins that a form may lead to, for example a
            payment page (browsers apply `form-action` to redirects too).
    """
    nonce = f" 'nonce-{g.csp_nonce}'" if "csp_nonce" in g else ""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self'{nonce}",
            "style-src 'self'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "manifest-src 'self'",
            " ".join(("form-action", "'self'", *form_targets)),
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )


def install_web(
    app: Flask,
    *,
    secure: bool,
    max_body: int = DEFAULT_MAX_BODY,
    proxies: int = 0,
    form_targets: Sequence[str] = (),
) -> None:
    """Give `app` request ids, security headers, a body bound and a line in the log a request.

    Args:
        app: the application.
        secure: paygo is reached by https; sends HSTS.
        max_body: bytes; a route that needs more sets `request.max_content_length`.
        proxies: how many trusted proxies stand in front and set `X-Forwarded-*`.
        form_targets: see `content_security_policy`.
    """
    app.config["MAX_CONTENT_LENGTH"] = max_body
    if proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]  # Flask documents this way
            app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies
        )

    def begin() -> None:
        g.started = time.perf_counter()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id())

    def finish(response: Response) -> Response:
        response.headers[REQUEST_ID_HEADER] = request_id()
        headers = response.headers
        if "Content-Security-Policy" not in headers:
            headers["Content-Security-Policy"] = content_security_policy(form_targets=form_targets)
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("X-Frame-Options", "DENY")
        headers.setdefault("Referrer-Policy", "same-origin")
        headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        headers.setdefault(
            "Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()"
        )
        if "Cache-Control" not in headers:
            # What a person or a key may see must not stay in a shared cache.
            headers["Cache-Control"] = "no-store"
        if secure:
            headers.setdefault("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
        started = g.get("started")
        _log.info(
            "request",
            method=request.method,
            path=request.path,
            status=response.status_code,
            milliseconds=None if started is None else round((time.perf_counter() - started) * 1e3),
        )
        return response

    # First in, so that even a refused request has its id.
    app.before_request_funcs.setdefault(None, []).insert(0, begin)
    app.after_request(finish)
