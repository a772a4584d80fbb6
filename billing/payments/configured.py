"""The gateway that the settings give."""

from billing.payments.gateway import Gateway
from billing.payments.stripe_gateway import StripeGateway
from metering.kit.config import Settings


def gateway_of(settings: Settings) -> Gateway | None:
    """Return Stripe where a key is set, else None: everything else of paygo works without."""
    if settings.stripe_secret_key is None:
        return None
    return StripeGateway(
        settings.stripe_secret_key,
        webhook_secret=settings.stripe_webhook_secret,
        api_base=settings.stripe_api_base,
        cards=settings.stripe_cards == "yes",
    )
