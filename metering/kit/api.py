"""flask-smorest with types: documented endpoints of an OpenAPI 3.1 API."""

from collections.abc import Callable
from typing import Any, TypeVar

import marshmallow
from flask_smorest import Blueprint

View = TypeVar("View", bound=Callable[..., Any])


def get(blueprint: Blueprint, rule: str) -> Callable[[View], View]:
    """Answer GET of `rule` by the view."""

    def wrap(view: View) -> View:
        wrapped: View = blueprint.route(rule, methods=["GET"])(view)
        return wrapped

    return wrap


def post(blueprint: Blueprint, rule: str) -> Callable[[View], View]:
    """Answer POST of `rule` by the view."""

    def wrap(view: View) -> View:
        wrapped: View = blueprint.route(rule, methods=["POST"])(view)
        return wrapped

    return wrap


def query_arguments(blueprint: Blueprint, schema: marshmallow.Schema) -> Callable[[View], View]:
    """Read the query string by a schema and give it to the view first."""

    def wrap(view: View) -> View:
        wrapped: View = blueprint.arguments(schema, location="query", unknown=marshmallow.RAISE)(
            view
        )
        return wrapped

    return wrap


def json_arguments(
    blueprint: Blueprint, schema: marshmallow.Schema, *, example: Any
) -> Callable[[View], View]:
    """Read the JSON body by a schema and give it to the view first."""

    def wrap(view: View) -> View:
        wrapped: View = blueprint.arguments(schema, location="json", example=example)(view)
        return wrapped

    return wrap


def answers(
    blueprint: Blueprint, schema: marshmallow.Schema, *, status: int = 200, example: Any
) -> Callable[[View], View]:
    """Document the answer; the view returns what the schema dumps."""

    def wrap(view: View) -> View:
        wrapped: View = blueprint.response(status, schema, example=example)(view)
        return wrapped

    return wrap
