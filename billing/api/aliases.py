"""GET /api/v1/events?invoice=…&line=…: the events of one invoice line, asked for where events are.

Metering answers `/api/v1/events` and knows no invoice. A request that names one is handed to
the route of the line before any route is looked for, so that there is one implementation with
one guard, and people, whose sign-in the metering API does not know, may ask too.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode

from flask import Flask

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

EVENTS = "/api/v1/events"


class LineEvents:
    """Hands `GET /api/v1/events?invoice=…&line=…` to the route of that line."""

    def __init__(self, inner: "WSGIApplication") -> None:
        self._inner = inner

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer as WSGI wants it."""
        if environ.get("PATH_INFO") == EVENTS and environ["REQUEST_METHOD"] in {"GET", "HEAD"}:
            asked = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
            named = dict(asked)
            if "invoice" in named and "line" in named:
                rest = [pair for pair in asked if pair[0] not in {"invoice", "line"}]
                invoice, line = (quote(named[name], safe="") for name in ("invoice", "line"))
                path = f"/api/v1/invoices/{invoice}/lines/{line}/events"
                environ = {
                    **environ,
                    "PATH_INFO": path,
                    "QUERY_STRING": urlencode(rest),
                }
        return self._inner(environ, start_response)


def install(app: Flask) -> None:
    """Let the application be asked so."""
    app.wsgi_app = LineEvents(app.wsgi_app)  # type: ignore[method-assign]  # Flask documents this way
