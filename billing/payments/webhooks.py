"""POST /webhooks/stripe: check the signature, keep the event once, answer. A job applies it."""

from flask import Blueprint, Flask, current_app, request

from billing.payments import mirror
from billing.payments.gateway import Gateway
from metering.kit.errors import NotFound
from metering.kit.guards import Guard, guard_blueprint
from metering.kit.web import edge

_GATEWAY = "paygo_gateway"
_MOST_BYTES = 512 * 1024

blueprint = Blueprint("webhooks", __name__, url_prefix="/webhooks")


class StripeNotConfigured(NotFound):
    """This paygo has no Stripe keys, so it takes no webhooks of Stripe's."""

    code = "stripe-not-configured"
    title = "Stripe is not set up"


def _signed_inside() -> None:
    """Check nothing here: the signature covers the body, which the view reads."""


guard_blueprint(blueprint, Guard("signed by the payment gateway", _signed_inside, csrf=False))


@blueprint.post("/stripe")
def stripe() -> tuple[dict[str, bool], int]:
    """Keep a signed event; a repeat is answered alike and changes nothing.

    Raises:
        StripeNotConfigured: there are no keys.
        WebhookNotSigned: the signature is missing, wrong or old.
    """
    gateway: Gateway | None = current_app.extensions.get(_GATEWAY)
    if gateway is None:
        raise StripeNotConfigured("No Stripe keys are set.")
    request.max_content_length = _MOST_BYTES
    event = gateway.read_event(request.get_data(), request.headers.get("Stripe-Signature", ""))
    with edge().database.transaction() as session:
        new = mirror.store_event(session, event=event, now=edge().clock())
    return {"new": new}, 200


def register(app: Flask, *, gateway: Gateway | None) -> None:
    """Add the endpoint to `app`."""
    app.extensions[_GATEWAY] = gateway
    app.register_blueprint(blueprint)
