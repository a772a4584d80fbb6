"""What holds for every route there is, and for whichever is added: found by walking the map."""

import re
from collections.abc import Iterator
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from billing.access.model import Grant, Role
from metering.kit.guards import guard_of
from metering.sources.model import SCOPES
from metering.sources.operations import issue_key
from tests import trusts, web
from tests.trusts import Shown

CENTRAL = (Role.ANALYST, Role.APPROVER, Role.AUDITOR, Role.ADMINISTRATOR)
POLICY = ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
INLINE = re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*\bnonce=)|<style|\sstyle=\"|\son[a-z]+=\"")
KEY_GUARD = re.compile(r"key\(([a-z:]+)\)")
CHANGING = ("POST", "PUT", "PATCH", "DELETE")


def path_of(rule: Rule, code: str = trusts.ODS) -> str:
    """Return a path of the rule; things that a path names are there or are not."""
    filled = {
        name: UUID(int=1)
        if type(rule._converters[name]).__name__ == "UUIDConverter"
        else 1
        if type(rule._converters[name]).__name__ == "IntegerConverter"
        else code
        for name in rule.arguments
    }
    built = rule.build(filled)
    assert built is not None
    return built[1]


def rules(app: Flask, *methods: str) -> Iterator[tuple[Rule, str]]:
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) & set(methods)):
            yield rule, method


@pytest.fixture
def browsers(shown: Shown) -> dict[str, FlaskClient]:
    """A browser of nobody, of a trust, and of somebody with every central role."""
    return {
        "nobody": shown.app.test_client(),
        "trust": shown.finance(),
        "central": shown.browser(*map(Grant, CENTRAL)),
    }


def test_every_answer_closes_what_a_browser_could_be_made_to_do(
    shown: Shown, browsers: dict[str, FlaskClient]
) -> None:
    pages = 0
    for rule, method in rules(shown.app, "GET"):
        for who, browser in browsers.items():
            answer = browser.open(path_of(rule), method=method)
            place = f"{rule.endpoint} as {who}"
            assert answer.status_code < 500, f"{place}: {answer.status}"
            policy = answer.headers["Content-Security-Policy"]
            assert all(part in policy for part in POLICY), f"{place}: {policy}"
            assert "unsafe" not in policy, place
            assert "*" not in policy, place
            for name, value in HEADERS.items():
                assert answer.headers[name] == value, f"{place}: {name}"
            for cookie in answer.headers.getlist("Set-Cookie"):
                assert "HttpOnly" in cookie, f"{place}: {cookie}"
                assert "SameSite=Lax" in cookie, f"{place}: {cookie}"
                assert "Domain=" not in cookie, f"{place}: {cookie}"
            if answer.mimetype == "text/html":
                pages += 1
                assert not INLINE.search(answer.text), f"{place} has something inline"
            if rule.endpoint != "static" and "public" not in answer.cache_control.to_header():
                continue
            assert rule.endpoint in {"static", "api_docs.get_docs_file"}, f"{place} is cached"
    assert pages > 40


def test_every_change_needs_the_token_of_a_form(
    shown: Shown, browsers: dict[str, FlaskClient]
) -> None:
    asked = 0
    for rule, method in rules(shown.app, *CHANGING):
        guard = guard_of(shown.app, rule.endpoint, method)
        assert guard is not None
        if not guard.csrf:
            continue
        for who, browser in browsers.items():
            answer = browser.open(path_of(rule), method=method)
            place = f"{method} {rule.rule} as {who}"
            # Sent to sign in, not allowed, or refused for want of the token: never done.
            assert answer.status_code in {303, 400, 401, 403}, f"{place}: {answer.status}"
            if answer.status_code == 303:
                assert answer.location.startswith("/sign-in"), place
            asked += answer.status_code == 400
    assert asked > 20


def test_every_route_of_a_key_wants_its_own_scope(shown: Shown) -> None:
    with shown.app.app_context():
        database, now = web.edge().database, web.edge().clock()
    with database.transaction() as session:
        lacking = {
            scope: issue_key(
                session,
                source_code="imaging-archive",
                label=f"all but {scope}",
                scopes=[other for other in SCOPES if other != scope],
                created_by="test",
                now=now,
            ).text
            for scope in SCOPES
        }
    client = shown.app.test_client()
    seen = set()
    for rule, method in rules(shown.app, "GET", *CHANGING):
        guard = guard_of(shown.app, rule.endpoint, method)
        found = KEY_GUARD.fullmatch(guard.name) if guard else None
        if found is None:
            continue
        seen.add(found[1])
        for key, status in ((None, 401), ("pgk_nonsense", 401), (lacking[found[1]], 403)):
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            body = {"json": []} if method in CHANGING else {}
            answer = client.open(path_of(rule), method=method, headers=headers, **body)
            assert answer.status_code == status, f"{method} {rule.rule}: {answer.text}"
            assert answer.headers["Cache-Control"] == "no-store"
    assert seen == set(SCOPES)


def test_a_browser_that_is_signed_in_opens_no_route_of_a_key(shown: Shown) -> None:
    browser = shown.browser(*map(Grant, CENTRAL))
    for rule, method in rules(shown.app, "GET"):
        guard = guard_of(shown.app, rule.endpoint, method)
        if guard and KEY_GUARD.fullmatch(guard.name):
            assert browser.open(path_of(rule), method=method).status_code == 401, rule.rule
