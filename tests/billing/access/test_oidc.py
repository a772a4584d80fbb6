"""Signing in by a real OpenID Connect provider on the loopback: `oidc-provider-mock`."""

import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from billing.access.tables import UserRoleRow, UserRow
from billing.app import create_app
from metering.kit.config import BadSetting, Settings
from metering.kit.db import Database
from tests import web

# The provider is built on parts of authlib that are on their way out; that is its own affair.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def provider() -> Iterator[str]:
    """The address of a running provider."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mock = importlib.import_module("oidc_provider_mock")
    with mock.run_server_in_thread() as server:
        yield f"http://localhost:{server.server_port}"


def settings(folder: Path, provider: str, **more: str) -> Settings:
    return Settings.from_environment(
        {
            "PAYGO_DATA_DIR": str(folder),
            "PAYGO_OIDC_ISSUER": provider,
            "PAYGO_OIDC_CLIENT_ID": "paygo",
            "PAYGO_OIDC_CLIENT_SECRET": "a secret of the test",
            "PAYGO_OIDC_LABEL": "Care Identity",
            "PAYGO_OIDC_ROLE_NAMES": "Paygo Analysts=analyst",
            **more,
        }
    )


@pytest.fixture
def app(database: Database, tmp_path: Path, clock: web.Clock, provider: str) -> Flask:
    """The whole application, with the provider to sign in by."""
    app = create_app(settings(tmp_path, provider), database, clock=clock)
    app.testing = True
    return app


def know(provider: str, **claims: object) -> None:
    """Tell the provider who Ada is."""
    claims = {"email": "ada@x.uk", "email_verified": True, "name": "Ada Lovelace", **claims}
    requests.put(f"{provider}/users/ada", json=claims, timeout=5).raise_for_status()


def begin(client: FlaskClient, wanted: str = "") -> str:
    """Set out for the provider; return the address to which the browser is sent."""
    answer = client.get("/sign-in/oidc", query_string={"next": wanted})
    assert answer.status_code == 302
    return answer.location


def agree(there: str) -> str:
    """Agree at the provider as Ada; return the address to which it sends back."""
    answer = requests.post(there, data={"sub": "ada"}, allow_redirects=False, timeout=5)
    assert answer.status_code == 302
    return str(answer.headers["Location"])


def test_the_sign_in_page_offers_the_provider(client: FlaskClient) -> None:
    assert "Sign in with Care Identity" in client.get("/sign-in").text


def test_claims_let_in_with_their_roles_and_lead_back(
    client: FlaskClient, provider: str, database: Database
) -> None:
    know(provider, roles=["Paygo Analysts", "something else"])
    there = begin(client, wanted="/console/?month=2026-04")
    asked = parse_qs(urlsplit(there).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["nonce"]
    assert asked["state"]
    answer = client.get(agree(there))
    assert (answer.status_code, answer.location) == (303, "/console/?month=2026-04")
    assert client.get("/console/").status_code == 200
    with database.snapshot() as session:
        user = session.scalars(select(UserRow)).one()
        assert user.oidc_subject == f"{provider}|ada"
        assert user.password_hash is None
        assert session.scalars(select(UserRoleRow.role)).all() == ["analyst"]
    assert "Change" not in client.get("/profile").text


def test_roles_follow_the_provider_at_each_sign_in(client: FlaskClient, provider: str) -> None:
    know(provider, roles=["analyst"])
    client.get(agree(begin(client)))
    assert client.get("/users").status_code == 403
    know(provider, roles=["administrator"])
    client.get(agree(begin(client)))
    assert client.get("/users").status_code == 200


def test_without_a_role_one_is_told_so(client: FlaskClient, provider: str) -> None:
    know(provider, roles=["something else"])
    answer = client.get(agree(begin(client)))
    assert answer.status_code == 403
    assert "have no role in Paygo" in answer.text
    assert client.get("/console/").status_code == 303


def test_an_answer_that_was_not_asked_for_is_refused(client: FlaskClient, provider: str) -> None:
    know(provider, roles=["administrator"])
    stolen = agree(begin(client))
    elsewhere = client.application.test_client()
    answer = elsewhere.get(stolen, follow_redirects=True)
    assert "did not sign you in" in answer.text
    assert elsewhere.get("/users").status_code == 303
    used = client.get(stolen)
    assert used.location == "/"
    again = client.get(stolen, follow_redirects=True)
    assert "did not sign you in" in again.text


def test_a_refusal_at_the_provider_is_told(client: FlaskClient) -> None:
    state = parse_qs(urlsplit(begin(client)).query)["state"][0]
    answer = client.get(
        f"/sign-in/oidc/return?error=access_denied&state={state}", follow_redirects=True
    )
    assert "did not sign you in" in answer.text


def test_the_way_back_is_never_elsewhere(client: FlaskClient, provider: str) -> None:
    know(provider, roles=["analyst"])
    assert client.get(agree(begin(client, wanted="//evil.test"))).location == "/"


def test_a_provider_that_does_not_answer_is_a_matter_of_moments(
    database: Database, tmp_path: Path, clock: web.Clock
) -> None:
    app = create_app(settings(tmp_path, "http://127.0.0.1:9"), database, clock=clock)
    answer = app.test_client().get("/sign-in/oidc")
    assert answer.status_code == 503
    assert "The identity provider does not answer" in answer.text


@pytest.mark.parametrize(
    "wrong",
    [{"PAYGO_OIDC_CLIENT_SECRET": ""}, {"PAYGO_OIDC_ROLE_NAMES": "Paygo Kings=king"}],
)
def test_settings_that_do_not_fit_stop_the_start(
    database: Database, tmp_path: Path, wrong: dict[str, str]
) -> None:
    with pytest.raises(BadSetting):
        create_app(settings(tmp_path, "http://127.0.0.1:9", **wrong), database)
