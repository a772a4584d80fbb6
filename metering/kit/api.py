"""flask-smorest with types: documented endpoints of an OpenAPI 3.1 API."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

import marshmallow
from flask import Request
from flask_smorest import Api, Blueprint
from marshmallow import fields
from webargs.flaskparser import FlaskParser

from metering.kit import privacy
from metering.kit.errors import Unsupported
from metering.kit.json_bodies import read_json
from metering.kit.problems import MEDIA_TYPE

View = TypeVar("View", bound=Callable[..., Any])


class FaultSchema(marshmallow.Schema):
    """One fault found in an input."""

    pointer = fields.String(metadata={"description": "JSON pointer to it."})
    code = fields.String()
    detail = fields.String()


class ProblemSchema(marshmallow.Schema):
    """Why a request was not answered as asked (RFC 9457); some problems say more."""

    type = fields.String(required=True, metadata={"description": "/problems/ and a stable code."})
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    instance = fields.String(required=True)
    request_id = fields.String(required=True)
    errors = fields.List(fields.Nested(FaultSchema))


class ProblemApi(Api):  # type: ignore[misc]  # the library has no types
    """An API whose description says that everything but a success is a problem document."""

    ERROR_SCHEMA = ProblemSchema
    DEFAULT_RESPONSE_CONTENT_TYPE = "application/json"

    def _register_responses(self) -> None:
        # Called once, for the answers that are no success.
        self.DEFAULT_RESPONSE_CONTENT_TYPE = MEDIA_TYPE
        super()._register_responses()
        del self.DEFAULT_RESPONSE_CONTENT_TYPE


class _JsonParser(FlaskParser):
    """Reads bodies as strictly as `read_json`, and those that are no JSON not at all."""

    def _raw_load_json(self, req: Request) -> Any:
        body = req.get_data(cache=True)
        if body and not req.is_json:
            raise Unsupported("The Content-Type is application/json.")
        return read_json(body) if body else marshmallow.missing


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
    """Read the JSON body by a schema and give it to the view first.

    A text of it that holds an NHS number is refused.
    """
    blueprint.ARGUMENTS_PARSER = _JsonParser()

    def wrap(view: View) -> View:
        wrapped: View = blueprint.arguments(schema, location="json", example=example)(
            _without_nhs_numbers(view, schema)
        )
        return wrapped

    return wrap


def _without_nhs_numbers(view: View, schema: marshmallow.Schema) -> View:
    @wraps(view)
    def checked(given: Mapping[str, Any], *others: Any, **named: Any) -> Any:
        privacy.check(schema, given)
        return view(given, *others, **named)

    checked_view: View = checked  # type: ignore[assignment]  # the same signature
    return checked_view


def answers(
    blueprint: Blueprint, schema: marshmallow.Schema, *, status: int = 200, example: Any
) -> Callable[[View], View]:
    """Document the answer; the view returns what the schema dumps."""

    def wrap(view: View) -> View:
        wrapped: View = blueprint.response(status, schema, example=example)(view)
        return wrapped

    return wrap
