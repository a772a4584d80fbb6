"""The page shell: Jinja with nhsuk components, navigation, formats, error pages.

A page extends `layout.html`, imports the macros of `ui.html`, and gets one
frozen page model. Pure formats only; sums belong to the model.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, current_app, flash, redirect, render_template, request, url_for
from jinja2 import ChainableUndefined, ChoiceLoader, PackageLoader
from markupsafe import Markup

from billing.money import plain, show_pounds
from metering import periods
from metering.kit.errors import Refusal
from metering.kit.guards import guard_of
from metering.kit.problems import Problem
from metering.kit.web import csp_nonce, request_id
from metering.periods import Month, london, show_date

STATIC = Path(__file__).parent / "static"
_YEAR = 365 * 24 * 60 * 60
_NAVIGATION = "paygo_navigation"
# Whoever may open both starts in the first.
AREAS = ("console", "portal")
# The sign-in page needs no further word about these.
_EXPECTED_401 = {"not-signed-in", "session-ended"}


@dataclass(frozen=True)
class NavigationItem:
    """A link in the header, shown to those whom the route's guard lets pass.

    `address` says where it leads on the page in hand; None leaves the link out there.
    """

    area: str
    label: str
    endpoint: str
    address: Callable[[], str | None] | None = None


@dataclass(frozen=True)
class NavigationLink:
    """A link as the header shows it."""

    label: str
    href: str
    current: bool


def show_day(value: date | datetime) -> Markup:
    """Return a London date that does not break over lines: `1 April 2026`."""
    day = london(value).date() if isinstance(value, datetime) else value
    return Markup('<time class="paygo-nowrap" datetime="{}">{}</time>').format(
        day.isoformat(), show_date(day)
    )


def show_moment(value: datetime) -> Markup:
    """Return an instant on the London clock: `1 April 2026 at 3:05pm`."""
    return Markup('<time datetime="{}">{}</time>').format(
        london(value).isoformat(timespec="minutes"), periods.show_moment(value)
    )


def show_month(value: Month | str) -> str:
    """Return a month's name: `April 2026`; text is read as `YYYY-MM`."""
    return (Month.parse(value) if isinstance(value, str) else value).name


def show_money(value: Decimal) -> Markup:
    """Return pounds and pence that do not break over lines."""
    return Markup('<span class="paygo-number">{}</span>').format(show_pounds(value))


def quantity_text(value: Decimal) -> str:
    """Return a quantity with its thousands marked and no trailing noughts: `1,234.5`."""
    text = plain(value)
    sign, digits = ("−", text[1:]) if text.startswith("-") else ("", text)
    whole, point, places = digits.partition(".")
    return f"{sign}{int(whole):,}{point}{places}"


def show_quantity(value: Decimal) -> Markup:
    """Return a quantity that does not break over lines."""
    return Markup('<span class="paygo-number">{}</span>').format(quantity_text(value))


@cache
def _version(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def static_url(name: str) -> str:
    """Return the address of a static file; it changes when the file does."""
    return url_for("static", filename=name, v=_version(name))


def add_navigation(
    app: Flask,
    *,
    area: str,
    label: str,
    endpoint: str,
    address: Callable[[], str | None] | None = None,
) -> None:
    """Add a link to the header of an area (`portal` or `console`), after those there are.

    Args:
        endpoint: whose guard decides who sees the link.
        address: where it leads, where the endpoint alone does not say; None hides it.
    """
    items: list[NavigationItem] = app.extensions.setdefault(_NAVIGATION, [])
    items.append(NavigationItem(area, label, endpoint, address))


def _may_open(item: NavigationItem) -> bool:
    guard = guard_of(current_app, item.endpoint, "GET")
    if guard is None:
        return False
    try:
        guard.check()
    except Refusal:
        return False
    return True


def navigation() -> dict[str, tuple[NavigationLink, ...]]:
    """Return the header's links that whoever is signed in may open, by area."""
    items: list[NavigationItem] = current_app.extensions.get(_NAVIGATION, [])
    found: dict[str, list[tuple[str, str]]] = {}
    for item in items:
        if _may_open(item):
            href = url_for(item.endpoint) if item.address is None else item.address()
            if href is not None:
                found.setdefault(item.area, []).append((item.label, href))
    return {area: _links(entries) for area, entries in found.items()}


def _links(entries: list[tuple[str, str]]) -> tuple[NavigationLink, ...]:
    """Return an area's links; the one that leads furthest towards this page is current."""
    on_the_way = [href for _, href in entries if request.path.startswith(href)]
    here = max(on_the_way, key=len, default=None)
    return tuple(NavigationLink(label, href, href == here) for label, href in entries)


def _area(links: Mapping[str, Any]) -> str:
    """Return the area to which this page belongs, else the first that is open."""
    items: list[NavigationItem] = current_app.extensions.get(_NAVIGATION, [])
    for item in items:
        if item.area in links and item.endpoint.rpartition(".")[0] == request.blueprint:
            return item.area
    return next((area for area in AREAS if area in links), "")


def shell() -> Mapping[str, Any]:
    """Return what the layout shows around every page."""
    links = navigation()
    area = _area(links)
    return {
        "links": links.get(area, ()),
        "other_areas": {name: items for name, items in links.items() if name != area},
    }


def with_query(**changes: str | None) -> str:
    """Return this page's address with its query changed; None takes a part away."""
    query = {**request.args.to_dict(), **changes}
    kept = "&".join(f"{quote(name)}={quote(text)}" for name, text in query.items() if text)
    return f"{request.path}?{kept}" if kept else request.path


def go(path: str) -> Response:
    """Return a redirect after a form (303: the browser asks for the page anew)."""
    response = redirect(path, code=303)
    assert isinstance(response, Response)
    return response


def zip_response(parts: Iterable[bytes], *, size: int, name: str) -> Response:
    """Return a zip file to keep, sent a part at a time."""
    response = Response(parts, content_type="application/zip")
    response.content_length = size
    response.headers.set("Content-Disposition", "attachment", filename=name)
    return response


def problem_page(problem: Problem) -> Response:
    """Return a problem as a page; whoever is not signed in is sent to sign in and back."""
    if problem.status == 401:
        # Only a page can be come back to; a form that was sent cannot.
        here = request.full_path.rstrip("?")
        if problem.code not in _EXPECTED_401:
            flash(problem.detail)
        return go(
            url_for(
                "access.sign_in",
                next=here if request.method == "GET" and here != "/" else None,
                ended="1" if problem.code == "session-ended" else None,
            )
        )
    response = Response(render_template("problem.html", problem=problem), status=problem.status)
    response.headers.extend(dict(problem.headers))
    return response


def install_pages(app: Flask) -> None:
    """Give `app` the shell: templates, formats and static files."""
    app.jinja_options = {
        **app.jinja_options,
        "undefined": ChainableUndefined,
        "loader": ChoiceLoader(
            [app.create_global_jinja_loader(), PackageLoader("nhsuk_frontend_jinja")]
        ),
        # The nhsuk templates end in `.jinja`, which Flask would leave unescaped.
        "autoescape": True,
    }
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = _YEAR
    environment = app.jinja_env
    environment.globals.update(
        static_url=static_url,
        shell=shell,
        with_query=with_query,
        csp_nonce=csp_nonce,
        request_id=request_id,
    )
    environment.filters.update(
        day=show_day,
        moment=show_moment,
        month=show_month,
        money=show_money,
        pounds=show_pounds,
        quantity=show_quantity,
        plain=plain,
    )
