"""Sign in by OpenID Connect: code flow with PKCE, claims to roles and organisations.

The network is asked before any transaction is opened.
"""

from dataclasses import dataclass, field
from typing import Any

from authlib.integrations.base_client import OAuthError
from authlib.integrations.flask_client import OAuth
from flask import Blueprint, Flask, Response, current_app, request, url_for
from flask import session as browser_state
from requests import RequestException

from billing.access import operations
from billing.access.browser import admit
from billing.access.model import ClaimNames, identity_of, safe_next
from metering.kit.errors import Unauthenticated, Unavailable
from metering.kit.guards import PUBLIC, guard_blueprint
from metering.kit.logs import get_logger
from metering.kit.web import edge

_EXTENSION = "paygo_oidc"
_NEXT = "oidc_next"
_log = get_logger(__name__)


class IdentityRefused(Unauthenticated):
    """The identity provider, or we, did not accept the sign-in: it was cancelled, too old, or its
    answer does not fit what was asked."""

    code = "identity-refused"
    title = "Sign-in did not work"


class ProviderUnreachable(Unavailable):
    """The identity provider does not answer."""

    code = "identity-provider-unreachable"
    title = "The identity provider does not answer"


@dataclass(frozen=True)
class Provider:
    """An identity provider.

    Attributes:
        issuer: its address; `/.well-known/openid-configuration` under it says the rest.
        client_id: who we are to it.
        client_secret: how we prove it.
        names: where its claims are.
        label: what people call it, on the button.
    """

    issuer: str
    client_id: str
    client_secret: str
    names: ClaimNames = field(default_factory=ClaimNames)
    label: str = "your organisation's account"


blueprint = Blueprint("oidc", __name__)
guard_blueprint(blueprint, PUBLIC)


def provider_name(app: Flask) -> str | None:
    """Return what to call the identity provider, None where there is none."""
    found = app.extensions.get(_EXTENSION)
    return None if found is None else found[0].label


def _set_up() -> tuple[Provider, Any]:
    provider, client = current_app.extensions[_EXTENSION]
    assert isinstance(provider, Provider)
    return provider, client


@blueprint.get("/sign-in/oidc")
def begin() -> Response:
    """Send the browser to the identity provider."""
    _, client = _set_up()
    wanted = safe_next(request.args.get("next"))
    browser_state.pop(_NEXT, None)
    if wanted:
        browser_state[_NEXT] = wanted
    try:
        answer = client.authorize_redirect(url_for("oidc.finish", _external=True))
    except RequestException as error:
        _log.warning("identity provider unreachable", exc_info=error)
        raise ProviderUnreachable(
            "The identity provider does not answer. Try again in a few minutes."
        ) from None
    assert isinstance(answer, Response)
    return answer


@blueprint.get("/sign-in/oidc/return")
def finish() -> Response:
    """Take the identity provider's answer and open a session."""
    provider, client = _set_up()
    try:
        token = client.authorize_access_token()
    except RequestException as error:
        _log.warning("identity provider unreachable", exc_info=error)
        raise ProviderUnreachable(
            "The identity provider does not answer. Try again in a few minutes."
        ) from None
    except (OAuthError, ValueError, KeyError) as error:
        # joserfc's claim and signature errors are ValueErrors.
        _log.info("identity refused", reason=type(error).__name__, detail=str(error))
        raise IdentityRefused("The identity provider did not sign you in. Try again.") from None
    claims = token.get("userinfo")
    if claims is None:
        raise IdentityRefused("The identity provider did not say who you are. Try again.")
    identity = identity_of(dict(claims), issuer=provider.issuer, names=provider.names)
    wanted = safe_next(browser_state.get(_NEXT))
    with edge().database.transaction() as session:
        opened = operations.sign_in_by_identity(session, now=edge().clock(), identity=identity)
    return admit(opened, then=wanted)


def register_oidc(app: Flask, provider: Provider) -> None:
    """Let people sign in to `app` by `provider`."""
    oauth = OAuth(app)
    client = oauth.register(
        name="paygo_provider",
        client_id=provider.client_id,
        client_secret=provider.client_secret,
        server_metadata_url=f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={
            "scope": "openid email profile",
            "code_challenge_method": "S256",
            "timeout": 10,
        },
    )
    app.extensions[_EXTENSION] = (provider, client)
    app.register_blueprint(blueprint)
