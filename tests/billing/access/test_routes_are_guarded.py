"""Every route of the application says who may use it."""

from flask import Flask

from billing.access.guards import roles
from billing.access.model import Role
from metering.kit.guards import guard_of, unguarded_routes

# What is open to everybody; a new line here is a decision.
PUBLIC_ENDPOINTS = {
    "static",
    "access.sign_in",
    "access.sign_in_sent",
    "access.sign_out",
    "access.signed_out",
    "help.help_page",
    "help.accessibility",
    "help.privacy",
    "help.cookies",
    "help.problems",
    "help.problem",
    "api-docs.openapi_json",
    "api_docs.get_docs",
    "health.alive",
    "health.ready",
    "api_docs.get_docs_file",
}


def test_every_route_declares_a_guard(app: Flask) -> None:
    assert unguarded_routes(app) == []


def test_only_these_routes_are_public(app: Flask) -> None:
    public = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if (guard := guard_of(app, rule.endpoint, method)) and guard.name == "public"
    }
    assert public == PUBLIC_ENDPOINTS


def test_a_guard_says_its_roles() -> None:
    assert roles(Role.AUDITOR, Role.ANALYST).name == "roles(analyst, auditor)"
