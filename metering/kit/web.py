"""What every response has: a request id, security headers, a bounded body, one log line."""

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from flask import Flask, Response, current_app, g, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.middleware.proxy_fix import ProxyFix

from metering.kit import traces
from metering.kit.clock import Clock
from metering.kit.db import Database
from metering.kit.errors import Malformed
from metering.kit.json_bodies import read_json
from metering.kit.logs import get_logger

REQUEST_ID_HEADER = "X-Request-Id"
DEFAULT_MAX_BODY = 1024 * 1024

_HEADERS = "paygo_headers"
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
        g.request_id = request_id_from(request.headers.get(REQUEST_ID_HEADER, ""))
    return str(g.request_id)


def request_id_from(offered: str) -> str:
    """Return the id that a caller offers where it is sane, else a new one."""
    # Anything else could break a log line or a header, so it is replaced, not cleaned.
    if offered and _SANE_REQUEST_ID.fullmatch(offered):
        return offered
    return str(UUID(int=secrets.randbits(128), version=4))


def csp_nonce() -> str:
    """Return this response's nonce for the rare script that must be in the page."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(18)
    return str(g.csp_nonce)


def content_security_policy(
    *, form_targets: Sequence[str] = (), script_nonce: str | None = None
) -> str:
    """Return the policy: everything from ourselves, nothing inline, never framed.

    Args:
        script_nonce: lets the scripts that carry it run.
        form_targets: other origins that a form may lead to, for example a
            payment page (browsers apply `form-action` to redirects too).
    """
    nonce = "" if script_nonce is None else f" 'nonce-{script_nonce}'"
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


def security_headers(*, secure: bool, form_targets: Sequence[str] = ()) -> dict[str, str]:
    """Return what every answer says unless the view says otherwise; see `install_web`."""
    headers = {
        "Content-Security-Policy": content_security_policy(form_targets=form_targets),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
        # What a person or a key may see must not stay in a shared cache.
        "Cache-Control": "no-store",
    }
    if secure:
        headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    return headers


def headers_of(app: Flask) -> dict[str, str]:
    """Return the security headers of an application's answers."""
    found = app.extensions[_HEADERS]
    assert isinstance(found, dict)
    return found


class _StrictJson(DefaultJSONProvider):
    """Reads what requests send by `read_json`."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return super().loads(s, **kwargs) if kwargs else read_json(s)


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
    app.json = _StrictJson(app)
    always = app.extensions[_HEADERS] = security_headers(secure=secure, form_targets=form_targets)
    if proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]  # Flask documents this way
            app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies
        )

    def begin() -> None:
        g.started = time.perf_counter()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id(), **traces.log_context())
        traces.name_request(request.url_rule.rule if request.url_rule else None, request.method)

    def check_address() -> None:
        # No text in the database has a null character, so none can be asked for.
        if "\x00" in request.path or b"%00" in request.query_string:
            raise Malformed("The address holds a null character.")

    def finish(response: Response) -> Response:
        response.headers[REQUEST_ID_HEADER] = request_id()
        if "csp_nonce" in g:
            response.headers.setdefault(
                "Content-Security-Policy",
                content_security_policy(form_targets=form_targets, script_nonce=g.csp_nonce),
            )
        for name, value in always.items():
            response.headers.setdefault(name, value)
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
    app.before_request(check_address)
    app.after_request(finish)
