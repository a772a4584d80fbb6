"""The web application: every page and every API of paygo in one Flask app.

`REGISTRATIONS` is the list to extend: each entry adds one feature's routes.
"""

from collections.abc import Callable, Sequence

from flask import Flask
from flask_wtf.csrf import CSRFError, CSRFProtect

from billing.access import user_views
from billing.access import views as access
from billing.access.model import ABSOLUTE_LIMIT, ClaimNames, Role
from billing.access.oidc import Provider, register_oidc
from billing.api import views as api
from billing.console import payment_acts_api
from billing.console import views as console
from billing.console.context import install_console
from billing.help import views as help_pages
from billing.monitoring import views as monitoring
from billing.payments import webhooks
from billing.payments.configured import gateway_of
from billing.portal import views as portal
from billing.web import install_pages, problem_page
from metering.app import register_metering
from metering.kit import clock as kit_clock
from metering.kit.clock import Clock
from metering.kit.config import BadSetting, Settings, signing_key
from metering.kit.db import Database
from metering.kit.errors import Malformed
from metering.kit.guards import install_guards
from metering.kit.health import register_health
from metering.kit.jobruns import Job
from metering.kit.problems import register_problems
from metering.kit.web import install_edge, install_web

# In the order in which their links stand in the header.
REGISTRATIONS: tuple[Callable[[Flask], None], ...] = (
    help_pages.register,
    portal.register,
    console.register,
    user_views.register,
)


class FormExpired(Malformed):
    """The token that a form of ours carries is missing, too old or of another browser."""

    code = "form-expired"
    title = "This page was open for too long"


def create_app(
    settings: Settings,
    database: Database,
    *,
    clock: Clock = kit_clock.now,
    jobs: Sequence[Job] = (),
) -> Flask:
    """Return the application.

    Args:
        settings: read once, at start-up.
        database: migrated.
        clock: the present instant; tests give their own.
        jobs: the jobs table, for the page that shows and runs them.

    Raises:
        BadSetting: two settings contradict each other.
    """
    app = Flask("billing", static_folder="static", template_folder="templates")
    secure = settings.public_url is not None and settings.public_url.startswith("https://")
    app.config.update(
        SECRET_KEY=signing_key(settings),
        # The privacy notice says how long things are kept.
        KEEP_SIGN_INS_DAYS=settings.keep_sign_ins_days,
        KEEP_DELIVERIES_DAYS=settings.keep_deliveries_days,
        SESSION_COOKIE_NAME="paygo_form",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=secure,
        # The token lives as long as a session can; `install_guards` says where it is asked for.
        WTF_CSRF_TIME_LIMIT=int(ABSOLUTE_LIMIT.total_seconds()),
        WTF_CSRF_CHECK_DEFAULT=False,
        WEBHOOK_ALLOW_PRIVATE=settings.webhook_allow_private,
    )
    install_pages(app)
    install_web(
        app,
        secure=secure,
        proxies=settings.trusted_proxies,
        form_targets=("https://checkout.stripe.com",),
    )
    install_edge(app, database=database, clock=clock)
    install_console(app, settings=settings, jobs=jobs)
    csrf = CSRFProtect(app)

    def protect() -> None:
        try:
            csrf.protect()
        except CSRFError:
            raise FormExpired(
                "Go back, load the page again and send the form again. Nothing was changed."
            ) from None

    install_guards(app, protect=protect)
    access.register(app, secure=secure)
    if settings.oidc_issuer is not None:
        register_oidc(app, _provider(settings))
    for register in REGISTRATIONS:
        register(app)
    register_health(app)
    monitoring.register(app, token=settings.metrics_token, jobs=jobs)
    webhooks.register(app, gateway=gateway_of(settings))
    payment_acts_api.register(app)
    register_metering(app, settings)
    api.register(app)
    register_problems(app, page=problem_page)
    return app


def _provider(settings: Settings) -> Provider:
    issuer, client_id = settings.oidc_issuer, settings.oidc_client_id
    if issuer is None or client_id is None or settings.oidc_client_secret is None:
        raise BadSetting(
            "PAYGO_OIDC_CLIENT_ID and PAYGO_OIDC_CLIENT_SECRET must be set when "
            "PAYGO_OIDC_ISSUER is set.",
            setting="PAYGO_OIDC_CLIENT_ID",
        )
    try:
        role_names = {name: Role(word) for name, word in settings.oidc_role_names.items()}
    except ValueError:
        raise BadSetting(
            f"PAYGO_OIDC_ROLE_NAMES must map to {', '.join(Role)}.",
            setting="PAYGO_OIDC_ROLE_NAMES",
        ) from None
    return Provider(
        issuer=issuer,
        client_id=client_id,
        client_secret=settings.oidc_client_secret,
        label=settings.oidc_label,
        names=ClaimNames(
            roles=settings.oidc_role_claim,
            organisations=settings.oidc_organisation_claim,
            sources=settings.oidc_service_claim,
            role_names=role_names,
        ),
    )
