"""The browser's side of a session: its cookie, and being let in."""

from flask import Flask, Response, current_app, request, url_for
from flask import session as browser_state

from billing.access.model import ABSOLUTE_LIMIT
from billing.web import go

_SECURE = "paygo_secure_cookie"


def set_up_cookie(app: Flask, *, secure: bool) -> None:
    """Say whether the session cookie is for https alone."""
    app.extensions[_SECURE] = secure


def cookie_name() -> str:
    """Return the session cookie's name; `__Host-` makes browsers refuse a forged wider one."""
    return "__Host-paygo_session" if current_app.extensions[_SECURE] else "paygo_session"


def give_cookie(response: Response, *, token: str) -> None:
    """Hand a session's token to the browser."""
    response.set_cookie(
        cookie_name(),
        token,
        max_age=int(ABSOLUTE_LIMIT.total_seconds()),
        secure=current_app.extensions[_SECURE],
        httponly=True,
        samesite="Lax",
        path="/",
    )


def take_cookie_back(response: Response) -> None:
    """Have the browser forget its session."""
    response.delete_cookie(
        cookie_name(),
        secure=current_app.extensions[_SECURE],
        httponly=True,
        samesite="Lax",
        path="/",
    )


def session_token() -> str | None:
    """Return the token that the browser sent."""
    return request.cookies.get(cookie_name())


def admit(token: str, *, then: str | None) -> Response:
    """Return the answer that signs a browser in and leads to `then`, a path of ours."""
    # Whatever an earlier visitor left in the browser's own state is not for this one.
    browser_state.clear()
    response = go(then or url_for("access.home"))
    give_cookie(response, token=token)
    return response
