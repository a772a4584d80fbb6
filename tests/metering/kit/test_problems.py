"""Refusals, HTTP errors and faults become problems; people get pages."""

import flask_smorest as smorest
import marshmallow
import pytest
from flask import Flask, Response, abort, request
from flask.testing import FlaskClient
from marshmallow import fields

from metering.kit.errors import Conflict, FieldError, Invalid, NotFound, TooMany, Unauthenticated
from metering.kit.guards import PUBLIC, guard_blueprint, guarded, install_guards
from metering.kit.problems import (
    KIND_STATUS,
    Problem,
    every_refusal,
    field_errors,
    register_problems,
    status_of,
)
from metering.kit.web import install_web


class StudyWasArchivedTwice(Conflict):
    """A refusal of the test's own."""

    code = "study-was-archived-twice"
    title = "Archived twice"


def page(problem: Problem) -> Response:
    return Response(f"<h1>{problem.title}</h1>", status=problem.status, mimetype="text/html")


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    install_web(app, secure=False, max_body=64)
    install_guards(app)
    faults: dict[str, Exception] = {
        "conflict": StudyWasArchivedTwice("That study is archived already.", study="1.2.3"),
        "unknown": NotFound("There is no such thing."),
        "anonymous": Unauthenticated("Send a key."),
        "slow": TooMany("Wait a little.", retry_after=30),
        "broken": RuntimeError("the secret is 42"),
        "fields": Invalid("Two faults.", errors=(FieldError("/a", "missing", "Give a."),)),
        "marshmallow": marshmallow.ValidationError({"lines": {0: {"net": ["Give the net."]}}}),
    }

    @guarded(PUBLIC)
    def fail(name: str) -> str:
        raise faults[name]

    @guarded(PUBLIC)
    def teapot() -> None:
        abort(418)

    @guarded(PUBLIC)
    def post() -> str:
        return str(len(request.get_data()))

    app.add_url_rule("/v1/fail/<name>", "api_fail", fail)
    app.add_url_rule("/fail/<name>", "page_fail", fail)
    app.add_url_rule("/v1/teapot", "teapot", teapot)
    app.add_url_rule("/v1/post", "post", post, methods=["POST"])
    app.add_url_rule("/v1/forgotten", "forgotten", lambda: "secret")
    register_problems(app, page=page)
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_every_kind_has_its_own_status() -> None:
    assert len(set(KIND_STATUS.values())) == len(KIND_STATUS) == 10
    assert status_of(StudyWasArchivedTwice) == 409


def test_a_refusal_is_a_problem_document(client: FlaskClient) -> None:
    response = client.get("/v1/fail/conflict", headers={"X-Request-Id": "request-0001"})
    assert response.status_code == 409
    assert response.content_type == "application/problem+json"
    assert response.get_json() == {
        "type": "/problems/study-was-archived-twice",
        "title": "Archived twice",
        "status": 409,
        "detail": "That study is archived already.",
        "instance": "/v1/fail/conflict",
        "request_id": "request-0001",
        "study": "1.2.3",
    }


def test_faults_in_the_input_are_listed_with_pointers(client: FlaskClient) -> None:
    own = client.get("/v1/fail/fields").get_json()
    assert own["errors"] == [{"pointer": "/a", "code": "missing", "detail": "Give a."}]
    schema = client.get("/v1/fail/marshmallow")
    assert schema.status_code == 422
    assert schema.get_json()["errors"][0]["pointer"] == "/lines/0/net"


def test_pointers_escape_slashes_and_tildes() -> None:
    assert [fault.pointer for fault in field_errors({"a/b~c": {"_schema": ["No."]}})] == [
        "/a~1b~0c"
    ]


def test_a_wrong_method_says_which_are_allowed(client: FlaskClient) -> None:
    response = client.delete("/v1/post")
    assert response.status_code == 405
    assert {method.strip() for method in response.headers["Allow"].split(",")} == {
        "POST",
        "OPTIONS",
    }
    assert response.get_json()["type"] == "/problems/method-not-allowed"


def test_an_unknown_path_and_a_large_body_use_the_kinds(client: FlaskClient) -> None:
    assert client.get("/v1/nowhere").get_json()["type"] == "/problems/not-found"
    large = client.post("/v1/post", data=b"x" * 65)
    assert (large.status_code, large.get_json()["type"]) == (413, "/problems/too-large")
    assert client.post("/v1/post", data=b"x" * 64).text == "64"


def test_other_http_errors_keep_their_status(client: FlaskClient) -> None:
    response = client.get("/v1/teapot")
    assert response.status_code == 418
    assert response.get_json()["type"] == "/problems/im-a-teapot"


def test_waiting_and_signing_in_have_their_headers(client: FlaskClient) -> None:
    assert client.get("/v1/fail/slow").headers["Retry-After"] == "30"
    assert client.get("/v1/fail/anonymous").headers["WWW-Authenticate"].startswith("Bearer")


def test_a_fault_is_logged_and_shows_only_a_reference(
    app: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False
    response = client.get("/v1/fail/broken", headers={"X-Request-Id": "request-0002"})
    assert response.status_code == 500
    assert response.get_json()["reference"] == "request-0002"
    assert "42" not in response.text
    assert "RuntimeError: the secret is 42" in caplog.text


def test_a_route_without_a_guard_is_closed(app: Flask, client: FlaskClient) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False
    response = client.get("/v1/forgotten")
    assert response.status_code == 500
    assert "secret" not in response.text


def test_people_get_a_page_and_programs_a_document(client: FlaskClient) -> None:
    person = client.get("/fail/unknown", headers={"Accept": "text/html,*/*;q=0.8"})
    assert (person.status_code, person.mimetype) == (404, "text/html")
    program = client.get("/fail/unknown", headers={"Accept": "application/json"})
    assert program.content_type == "application/problem+json"


def test_the_faults_that_flask_smorest_finds_have_pointers_too() -> None:
    class UsageIn(marshmallow.Schema):
        lines = fields.List(fields.Nested({"quantity": fields.Decimal(required=True)}))

    blueprint = smorest.Blueprint("usage", __name__)
    guard_blueprint(blueprint, PUBLIC)

    @blueprint.route("/v1/usage", methods=["POST"])
    @blueprint.arguments(UsageIn)
    def post(sent: object) -> str:
        return str(sent)

    app = Flask(__name__)
    app.config.update(API_TITLE="t", API_VERSION="1", OPENAPI_VERSION="3.1.0")
    install_web(app, secure=False)
    install_guards(app)
    smorest.Api(app).register_blueprint(blueprint)
    register_problems(app)
    client = app.test_client()
    invalid = client.post("/v1/usage", json={"lines": [{}], "more": 1})
    assert invalid.status_code == 422
    assert invalid.content_type == "application/problem+json"
    pointers = {fault["pointer"] for fault in invalid.get_json()["errors"]}
    assert pointers == {"/lines/0/quantity", "/more"}
    broken = client.post("/v1/usage", data="{", content_type="application/json")
    assert (broken.status_code, broken.get_json()["type"]) == (400, "/problems/malformed")


def test_every_refusal_is_found_with_its_documentation() -> None:
    found = every_refusal()
    assert found["study-was-archived-twice"] is StudyWasArchivedTwice
    assert found["not-found"] is NotFound
    assert all(kind.__doc__ for kind in found.values())
