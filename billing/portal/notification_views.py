"""Notifications: who is told what by email and webhook, and what was sent."""

from collections.abc import Callable
from typing import TypeVar

from flask import Response, current_app, flash, render_template, request, url_for
from marshmallow import Schema, fields
from sqlalchemy.orm import Session

from billing.access.guards import RoleNeeded, current_principal, permitted
from billing.access.model import Permission
from billing.forms import Form, read_form
from billing.listing import Asked, Listing, read_asked
from billing.notifications import endpoints, operations, queries
from billing.notifications.model import KindUnknown, Owner
from billing.notifications.sealing import Vault
from billing.portal.account import changing, opened
from billing.portal.blueprint import blueprint
from billing.portal.notification_pages import (
    DELIVERIES,
    DELIVERIES_HEADER,
    STATES,
    NotificationsPage,
    ReceiverPage,
    SecretPage,
    always_mailed,
    choices,
    deliveries_listing,
    delivery_cells,
    delivery_page,
    emails_listing,
    host_of,
    webhooks_listing,
)
from billing.sheets import listed, send_file
from billing.web import go
from metering.kit.errors import Invalid, Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge

T = TypeVar("T")
Answer = Response | str | tuple[str, int]

CHANGE = permitted(Permission.CHANGE_ACCOUNT)
_PAGE_SIZE = 25
_FILE_ROWS_MOST = 100_000
_NOTHING_CHOSEN = "Choose at least one thing to be told of."
_ADDRESS = ("address", "Email address", "A shared mailbox outlasts the people who read it")
_URL = ("url", "Address", "Begins with https://")


class AddressForm(Schema):
    """A new subscription."""

    address = fields.String(
        required=True, error_messages={"required": "Enter the email address to be told."}
    )


class UrlForm(Schema):
    """Where an endpoint is."""

    url = fields.String(
        required=True, error_messages={"required": "Enter the address of the program to be told."}
    )


@blueprint.get("/<code>/notifications")
def notifications(code: str) -> str:
    """Show who is told what, and what was sent lately."""
    path = url_for("portal.notifications", code=code)
    asked = read_asked(request.args, keys=queries.SORT_KEYS, sort="when", direction="descending")
    state = request.args.get("state", "")
    state = state if state in STATES else ""
    with opened(code) as (session, account):
        owner = Owner(account_id=account.id)
        page = NotificationsPage(
            account=account,
            emails=listed(
                emails_listing(
                    queries.subscriptions(session, owner=owner),
                    path=path,
                    href=(
                        lambda key: url_for("portal.subscription", code=code, subscription_id=key)
                    )
                    if account.may_change
                    else None,
                )
            ),
            webhooks=listed(
                webhooks_listing(
                    queries.endpoints(session, owner=owner),
                    path=path,
                    href=(lambda key: url_for("portal.webhook", code=code, endpoint_id=key))
                    if account.may_change
                    else None,
                )
            ),
            deliveries=_deliveries(session, owner=owner, code=code, asked=asked, state=state),
            form=Form({"state": state}),
            states=(("", "All"), *((value, tag.text) for value, tag in STATES.items())),
            always=always_mailed(),
        )
    return render_template("portal/notifications.html", page=page)


def _deliveries(session: Session, *, owner: Owner, code: str, asked: Asked, state: str) -> Listing:
    """Return one page of what was sent, or all of it as a file."""
    wants_file = request.args.get("download") == DELIVERIES
    found = queries.deliveries(
        session,
        owner=owner,
        status=state or None,
        sort=asked.sort,
        descending=asked.direction == "descending",
        page=1 if wants_file else asked.page,
        page_size=_FILE_ROWS_MOST if wants_file else _PAGE_SIZE,
    )
    if wants_file:
        send_file(DELIVERIES, DELIVERIES_HEADER, map(delivery_cells, found.items))
    return deliveries_listing(
        found,
        path=url_for("portal.notifications", code=code),
        href=lambda key: url_for("portal.delivery", code=code, delivery_id=key),
        asked=asked,
        state=state,
    )


@blueprint.route("/<code>/notifications/emails/new", methods=["GET", "POST"])
@guarded(CHANGE)
def new_subscription(code: str) -> Answer:
    """Let an email address be told."""
    form, kinds = Form(), request.form.getlist("kinds")
    if request.method == "POST":
        form, sent = read_form(AddressForm(), request.form)
        if not kinds:
            form = form.with_error(_NOTHING_CHOSEN, name="kinds")
        elif sent is not None:
            try:
                address, offered = sent["address"], _offered("email", kinds)
                _do(code, operations.subscribe, address=address, kinds=offered)
                return _done(code, f"{sent['address']} will be told.")
            except (Invalid, operations.AlreadySubscribed) as refusal:
                form = form.with_error(refusal.detail, name=_faulty(refusal, "address"))
    with opened(code) as (_, account):
        page = ReceiverPage(
            account, "Add an email address", form, _ADDRESS, choices("email", kinds), "Add"
        )
    return _show(page)


@blueprint.route("/<code>/notifications/emails/<subscription_id>", methods=["GET", "POST"])
@guarded(CHANGE)
def subscription(code: str, subscription_id: str) -> Answer:
    """Choose what an email address is told of."""
    form, kinds = Form(), request.form.getlist("kinds")
    if request.method == "POST":
        if not kinds:
            form = form.with_error(_NOTHING_CHOSEN, name="kinds")
        else:
            _do(
                code,
                operations.change_subscription,
                subscription_id=subscription_id,
                kinds=_offered("email", kinds),
            )
            return _done(code, "The choice is saved.")
    with opened(code) as (session, account):
        own = queries.subscriptions(session, owner=Owner(account_id=account.id))
    found = next((one for one in own if one.id == subscription_id), None)
    if found is None:
        raise queries.SubscriptionUnknown(f"There is no subscription {subscription_id}.")
    chosen = kinds if request.method == "POST" else found.kinds
    return _show(
        ReceiverPage(account, found.address, form, None, choices("email", chosen), "Save", found.id)
    )


@blueprint.post("/<code>/notifications/emails/<subscription_id>/end")
@guarded(CHANGE)
def end_subscription(code: str, subscription_id: str) -> Response:
    """Tell an email address no more."""
    _do(code, operations.end_subscription, subscription_id=subscription_id)
    return _done(code, "The address is told no more.")


@blueprint.route("/<code>/notifications/webhooks/new", methods=["GET", "POST"])
@guarded(CHANGE)
def new_webhook(code: str) -> Answer:
    """Let a program be told, and show its secret this once."""
    form, kinds = Form(), request.form.getlist("kinds")
    if request.method == "POST":
        form, sent = read_form(UrlForm(), request.form)
        if not kinds:
            form = form.with_error(_NOTHING_CHOSEN, name="kinds")
        elif sent is not None:
            try:
                made = _do(
                    code,
                    endpoints.add_endpoint,
                    url=sent["url"],
                    kinds=_offered("webhook", kinds),
                    vault=_vault(),
                    allow_private=_allow_private(),
                )
                return _secret(code, sent["url"], made.secret, rotated=False)
            except Invalid as refusal:
                form = form.with_error(refusal.detail, name=_faulty(refusal, "url"))
    with opened(code) as (_, account):
        page = ReceiverPage(
            account, "Add a webhook", form, _URL, choices("webhook", kinds), "Add and show secret"
        )
    return _show(page)


@blueprint.route("/<code>/notifications/webhooks/<endpoint_id>", methods=["GET", "POST"])
@guarded(CHANGE)
def webhook(code: str, endpoint_id: str) -> Answer:
    """Change where a program is and what it is told of."""
    form, kinds = Form(), request.form.getlist("kinds")
    posted = request.method == "POST"
    if posted:
        form, sent = read_form(UrlForm(), request.form)
        if not kinds:
            form = form.with_error(_NOTHING_CHOSEN, name="kinds")
        elif sent is not None:
            try:
                _do(
                    code,
                    endpoints.change_endpoint,
                    endpoint_id=endpoint_id,
                    url=sent["url"],
                    kinds=_offered("webhook", kinds),
                    allow_private=_allow_private(),
                )
                return _done(code, "The webhook is changed.")
            except Invalid as refusal:
                form = form.with_error(refusal.detail, name=_faulty(refusal, "url"))
    with opened(code) as (session, account):
        found = queries.endpoint(
            session, endpoint_id=endpoint_id, owner=Owner(account_id=account.id)
        )
    if found.status == "ended":
        raise queries.EndpointUnknown(f"There is no webhook endpoint {endpoint_id}.")
    if not posted:
        form = Form({"url": found.url})
    return _show(
        ReceiverPage(
            account,
            f"Webhook to {host_of(found.url)}",
            form,
            _URL,
            choices("webhook", kinds if posted else found.kinds),
            "Save",
            found.id,
            found,
        )
    )


@blueprint.post("/<code>/notifications/webhooks/<endpoint_id>/rotate")
@guarded(CHANGE)
def rotate_webhook(code: str, endpoint_id: str) -> str:
    """Give a webhook a new secret and show it this once."""
    made = _do(code, endpoints.rotate_secret, endpoint_id=endpoint_id, vault=_vault())
    return _secret(code, made.row.url, made.secret, rotated=True)


@blueprint.post("/<code>/notifications/webhooks/<endpoint_id>/resume")
@guarded(CHANGE)
def resume_webhook(code: str, endpoint_id: str) -> Response:
    """Send to a paused webhook again, first what waited."""
    _do(code, endpoints.resume_endpoint, endpoint_id=endpoint_id)
    return _done(code, "The webhook is resumed. What waited is sent first.")


@blueprint.post("/<code>/notifications/webhooks/<endpoint_id>/replay")
@guarded(CHANGE)
def replay_webhook(code: str, endpoint_id: str) -> Response:
    """Send everything again that was given up on the way to a webhook."""
    count = _do(code, endpoints.replay_dead, endpoint_id=endpoint_id)
    return _done(code, f"Deliveries sent again: {count:,}.")


@blueprint.post("/<code>/notifications/webhooks/<endpoint_id>/end")
@guarded(CHANGE)
def end_webhook(code: str, endpoint_id: str) -> Response:
    """End a webhook for good."""
    _do(code, endpoints.end_endpoint, endpoint_id=endpoint_id)
    return _done(code, "The webhook is ended and its secret forgotten.")


@blueprint.get("/<code>/notifications/deliveries/<delivery_id>")
def delivery(code: str, delivery_id: str) -> str:
    """Show what was sent, to whom, and how each attempt went."""
    with opened(code) as (session, account):
        found = queries.delivery(
            session, delivery_id=delivery_id, owner=Owner(account_id=account.id)
        )
    page = delivery_page(account, found, path=request.path)
    return render_template("portal/delivery.html", page=page)


@blueprint.post("/<code>/notifications/deliveries/<delivery_id>/replay")
@guarded(CHANGE)
def replay_delivery(code: str, delivery_id: str) -> Response:
    """Send a delivery again, under its old id."""
    _do(code, operations.replay, delivery_id=delivery_id)
    return _done(code, "It will be sent again.")


def _do(code: str, act: Callable[..., T], **what: object) -> T:
    """Do something as whoever is signed in, to what an account is told, in one transaction."""
    with changing(code) as (session, account):
        return act(
            session,
            owner=Owner(account_id=account.id),
            principal=current_principal().id,
            now=edge().clock(),
            **what,
        )


def _offered(channel: str, kinds: list[str]) -> list[str]:
    """Return the chosen kinds, refusing as unknown one that trusts are not offered."""
    offered = {kind for kind, _, _ in choices(channel, ())}
    # An unknown one stays, so that the operation names what there is.
    return kinds if set(kinds) <= offered else ["unknown"]


def _faulty(refusal: Refusal, otherwise: str) -> str:
    return "kinds" if isinstance(refusal, KindUnknown) else otherwise


def _vault() -> Vault:
    return Vault(current_app.config["SECRET_KEY"])


def _allow_private() -> bool:
    return bool(current_app.config["WEBHOOK_ALLOW_PRIVATE"])


def _done(code: str, words: str) -> Response:
    flash(words, "success")
    return go(url_for("portal.notifications", code=code))


def _show(page: ReceiverPage) -> Answer:
    # A webhook's whole address may hold a token, which is not for those who only look.
    if not page.account.may_change:
        raise RoleNeeded("Only the finance editors of this account choose who is told.")
    shown = render_template("portal/notification_form.html", page=page)
    return (shown, 422) if page.form.errors else shown


def _secret(code: str, url: str, secret: str, *, rotated: bool) -> str:
    with opened(code) as (_, account):
        page = SecretPage(account, host_of(url), secret, rotated)
    return render_template("portal/webhook_secret.html", page=page)
