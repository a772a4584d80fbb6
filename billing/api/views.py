"""POST /api/v1/estimates and /api/v1/tariffs/check: they store nothing.

Both are for anyone who is signed in and for any valid service key, whatever its scopes:
prices are published, and nothing of anyone's usage is read.
"""

from typing import Any

from flask import Flask, request
from flask_smorest import Api, Blueprint

from billing.access.guards import SIGNED_IN
from billing.api import aliases
from billing.api.line_views import blueprint as lines
from billing.api.schemas import (
    CHECKED_EXAMPLE,
    ESTIMATE_EXAMPLE,
    ESTIMATED_EXAMPLE,
    TARIFF_EXAMPLE,
    CheckIn,
    CheckOut,
    EstimateIn,
    EstimateOut,
)
from billing.rating.estimate import estimate
from billing.tariffs import queries
from billing.tariffs.files import load_document
from billing.tariffs.model import Tariff, parse_tariff
from metering.kit.api import answers, json_arguments, post
from metering.kit.auth import read_bearer
from metering.kit.errors import FieldError, Invalid, NotFound, TooLarge
from metering.kit.guards import Guard, guard_blueprint
from metering.kit.web import edge
from metering.periods import Month
from metering.sources.guards import count_request
from metering.sources.operations import authenticate

USAGE_MOST = 10_000


class EstimateMonthInvalid(Invalid):
    """A month is written YYYY-MM."""

    code = "month-invalid"
    title = "The month is not valid"


class EstimateTooLarge(TooLarge):
    """An estimate prices at most 10,000 pieces of usage at once."""

    code = "estimate-too-large"
    title = "Too much usage for one estimate"


class NoVersionInForce(NotFound):
    """The tariff has no version in force on the month's first day."""

    code = "no-version-in-force"
    title = "No version is in force"


def _check() -> None:
    if "Authorization" not in request.headers:
        SIGNED_IN.check()
        return
    with edge().database.snapshot() as session:
        principal = authenticate(
            session, key=read_bearer(request.headers["Authorization"]), now=edge().clock()
        )
    count_request(principal.prefix)


# No form's token is asked for: the routes change nothing, and JSON is not sent across sites.
SIGNED_IN_OR_KEY = Guard("signed_in or any key", _check, csrf=False)

blueprint = Blueprint("prices", __name__, url_prefix="/api/v1", description="What use would cost.")
guard_blueprint(blueprint, SIGNED_IN_OR_KEY)


@post(blueprint, "/estimates")
@json_arguments(blueprint, EstimateIn(), example=ESTIMATE_EXAMPLE)
@answers(blueprint, EstimateOut(), example=ESTIMATED_EXAMPLE)
def post_estimate(asked: dict[str, Any]) -> Any:
    """Price supposed usage, with the working

    By the code that invoices. The organisations named are taken to be on the tariff for the
    whole month and in the national pool, and nobody else is. Nothing is stored.
    """
    usage = asked["usage"]
    if isinstance(usage, list) and len(usage) > USAGE_MOST:
        raise EstimateTooLarge(f"Send at most {USAGE_MOST:,} pieces of usage at once.")
    month = _month(asked.get("month"))
    return estimate(_tariff(asked["tariff"], month), usage, month=month)


@post(blueprint, "/tariffs/check")
@json_arguments(blueprint, CheckIn(), example={"tariff": TARIFF_EXAMPLE})
@answers(blueprint, CheckOut(), example=CHECKED_EXAMPLE)
def post_check(asked: dict[str, Any]) -> Any:
    """Say whether a tariff is in order

    Every fault is listed by its JSON pointer in the problem's `errors`. Nothing is stored.
    """
    given = asked["tariff"]
    tariff = parse_tariff(load_document(given) if isinstance(given, str) else given)
    return {
        "tariff": tariff.code,
        "version": tariff.version,
        "effective_from": tariff.effective_from,
        "meters": sorted(tariff.meters),
        "prices": len(tariff.prices),
    }


def _month(text: str | None) -> Month:
    if text is None:
        return Month.of(edge().clock())
    try:
        return Month.parse(text)
    except ValueError as error:
        raise EstimateMonthInvalid(
            str(error), errors=(FieldError("/month", "month", str(error)),)
        ) from None


def _tariff(given: object, month: Month) -> Tariff:
    if not isinstance(given, str):
        return parse_tariff(given)
    with edge().database.snapshot() as session:
        queries.tariff(session, code=given)
        for version in queries.in_force(
            session,
            from_day=month.first_day,
            to_day=month.end_day,
            tariff_code=given,
        ):
            if version.tariff.effective_from <= month.first_day:
                return version.tariff
    raise NoVersionInForce(f"{given} has no version in force on the first of {month.name}.")


def register(app: Flask) -> None:
    """Add the routes to `app` and to the description of its API; after the metering API."""
    api = app.extensions["flask-smorest"]["apis"][""]["ext_obj"]
    assert isinstance(api, Api)
    api.register_blueprint(blueprint)
    api.register_blueprint(lines)
    aliases.install(app)
