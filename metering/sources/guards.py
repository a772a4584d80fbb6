"""The guard of routes that a service key opens."""

from flask import Flask, Response, current_app, g, request

from metering.kit.auth import read_bearer
from metering.kit.guards import Guard
from metering.kit.limits import Allowance, Limiter
from metering.kit.web import edge
from metering.sources.model import SourcePrincipal
from metering.sources.operations import LAST_USED_GRAIN, ScopeMissing, authenticate, note_use
from metering.sources.queries import key_by_id

_LIMITER = "paygo_limiter"


def key_guard(scope: str) -> Guard:
    """Return the guard that lets whoever has a valid key with `scope` pass.

    The key is looked up in the database each time, so a revoked one stops at once.
    """

    def check() -> None:
        now = edge().clock()
        with edge().database.snapshot() as session:
            principal = authenticate(
                session, key=read_bearer(request.headers.get("Authorization")), now=now
            )
            last = key_by_id(session, key_id=principal.key_id).last_used_at
        if scope not in principal.scopes:
            raise ScopeMissing(f"This key may not do that: it lacks '{scope}'.")
        g.source_principal = principal
        count_request(principal.prefix)
        if last is None or now - last >= LAST_USED_GRAIN:
            with edge().database.transaction() as session:
                note_use(session, key_ids=[principal.key_id], now=now)

    return Guard(f"key({scope})", check, csrf=False)


def current_source() -> SourcePrincipal:
    """Return the source whose key opened this route."""
    found = g.source_principal
    assert isinstance(found, SourcePrincipal)
    return found


def install_limiter(app: Flask, limiter: Limiter) -> None:
    """Limit how often each key may ask `app`, and say in every answer what is left."""

    def say(response: Response) -> Response:
        allowance = g.get("allowance")
        if isinstance(allowance, Allowance):
            response.headers.extend(allowance.headers())
        return response

    app.extensions[_LIMITER] = limiter
    app.after_request(say)


def count_request(prefix: str) -> None:
    """Count a request made with the key that has this public prefix.

    Raises:
        RateLimited: it asks too often.
    """
    limiter = current_app.extensions[_LIMITER]
    assert isinstance(limiter, Limiter)
    g.allowance = limiter.take(prefix)
