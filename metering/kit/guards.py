"""Who may call a route, declared beside the route and enforced before it runs.

Every route carries one guard: its own (`@guarded(GUARD)` on the view, the
`MethodView` class or one of its methods), or else its blueprint's
(`guard_blueprint(blueprint, GUARD)`). A route without one is a fault and is
refused to everyone, so forgetting a guard closes a route and never opens it.
`PUBLIC` lives here; guards that need a session, a role or a key are made by
the feature that knows them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Blueprint, Flask, request

_ATTRIBUTE = "paygo_guard"
_ENDPOINTS = "paygo_endpoint_guards"

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Guard:
    """A named check.

    Attributes:
        name: says who may pass, for example `roles(analyst, approver)`.
        check: called before the view; raises `Unauthenticated`, `Forbidden` or
            `NotFound` for whoever may not.
        csrf: whether a change also needs the token of a form. Only a guard that
            never relies on a cookie (a service key, a signed webhook) says False.
    """

    name: str
    check: Callable[[], None]
    csrf: bool = True


def _let_everyone_pass() -> None:
    """Check nothing: the route is open to all."""


PUBLIC = Guard("public", _let_everyone_pass)


class Unguarded(Exception):
    """A route declares no guard. It is our fault, so nobody may use it."""


def guarded(guard: Guard) -> Callable[[View], View]:
    """Declare the guard of a view function, a `MethodView` class or one of its methods.

    Put it nearest to the function, under the route decorators.
    """

    def mark(view: View) -> View:
        setattr(view, _ATTRIBUTE, guard)
        return view

    return mark


def guard_blueprint(blueprint: Blueprint, guard: Guard) -> None:
    """Declare the guard of every route of `blueprint` that has none of its own."""
    setattr(blueprint, _ATTRIBUTE, guard)


def guard_endpoint(app: Flask, endpoint: str, guard: Guard) -> None:
    """Declare the guard of a route that a library made, for example `static`."""
    app.extensions.setdefault(_ENDPOINTS, {})[endpoint] = guard


def guard_of(app: Flask, endpoint: str, method: str) -> Guard | None:
    """Return the guard that applies to one method of an endpoint, or None when undeclared."""
    view = app.view_functions.get(endpoint)
    view_class = getattr(view, "view_class", None)
    # Flask answers HEAD with the GET view.
    name = "get" if method == "HEAD" else method.lower()
    for place in (getattr(view_class, name, None), view_class, view):
        own = getattr(place, _ATTRIBUTE, None)
        if isinstance(own, Guard):
            return own
    declared = app.extensions.get(_ENDPOINTS, {}).get(endpoint)
    if isinstance(declared, Guard):
        return declared
    # A nested blueprint is registered as `outer.inner`; the innermost that declares decides.
    parts = endpoint.split(".")[:-1]
    while parts:
        blueprint = app.blueprints.get(".".join(parts))
        inherited = getattr(blueprint, _ATTRIBUTE, None)
        if isinstance(inherited, Guard):
            return inherited
        parts.pop()
    return None


def unguarded_routes(app: Flask) -> list[str]:
    """Return `METHOD /path (endpoint)` of each route that declares no guard, sorted."""
    return sorted(
        f"{method} {rule.rule} ({rule.endpoint})"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if guard_of(app, rule.endpoint, method) is None
    )


def install_guards(app: Flask, *, protect: Callable[[], None] | None = None) -> None:
    """Enforce the declared guards before every view of `app`.

    Args:
        app: the application.
        protect: refuses a change that carries no token of a form of ours; called
            where the guard's `csrf` says so.
    """

    def enforce() -> None:
        # OPTIONS is answered by Flask from the URL map and reveals only the methods.
        if request.endpoint is None or request.method == "OPTIONS":
            return
        guard = guard_of(app, request.endpoint, request.method)
        if guard is None:
            raise Unguarded(f"{request.method} {request.endpoint} declares no guard")
        guard.check()
        if protect is not None and guard.csrf and request.method not in {"GET", "HEAD"}:
            protect()

    if "static" in app.view_functions:
        guard_endpoint(app, "static", PUBLIC)
    app.before_request(enforce)
