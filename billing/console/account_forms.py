"""Forms that change accounts: details, agreements, purchase orders, VAT, mergers."""

from collections.abc import Mapping
from typing import Any

from flask import Response, url_for
from sqlalchemy.orm import Session

from billing.access.guards import current_principal
from billing.accounts import invoicing, operations, successions
from billing.accounts.model import TREATMENTS
from billing.accounts.queries import account as account_row
from billing.accounts.queries import payers
from billing.accounts.tables import AccountRow, AgreementRow, PurchaseOrderRow, VatTreatmentRow
from billing.console.account_pages import TREATMENT_WORDS
from billing.console.account_queries import without_account
from billing.console.account_schemas import (
    AccountDetailsForm,
    AgreementForm,
    EndAgreementForm,
    MergeForm,
    NewAccountForm,
    OrderForm,
    TreatmentForm,
)
from billing.console.account_views import account_name, done
from billing.console.blueprint import PREPARES, blueprint
from billing.console.forms import FormPage, Input, show, submit
from billing.console.overview_queries import tariff_names
from billing.forms import Form
from billing.money import to_pennies
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import london_day

Answer = Response | str | tuple[str, int]

_RETRO = Input(
    "reason",
    "Reason, if this changes months that are invoiced",
    hint="Leave it empty otherwise",
)
_DETAILS = (
    Input("name", "Name on invoices"),
    Input("address", "Address", "lines", hint="One line each, without the postcode", rows=3),
    Input("postcode", "Postcode", width="10"),
    Input("email", "Email address for invoices", "email"),
    Input("vat_number", "VAT number", width="20", hint="With GB in front. May be left out"),
    Input("payment_terms_days", "Payment terms, in days from issue", "number", width="3"),
    Input(
        "in_nhs_vat_division",
        "In our NHS VAT division, so supplies are outside the scope of VAT",
        "tick",
    ),
)


def _crumbs(account_id: str | None = None, name: str = "") -> tuple[tuple[str, str], ...]:
    first = (("Accounts", url_for("console.accounts")),)
    if account_id is None:
        return first
    return (*first, (name, url_for("console.account", account_id=account_id)))


def _services() -> list[tuple[str, str]]:
    with edge().database.snapshot() as session:
        names = tariff_names(session)
    return sorted(names.items(), key=lambda item: item[1])


def _details_of(sent: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": sent["name"],
        "address": [line.strip() for line in sent["address"].splitlines() if line.strip()],
        "postcode": sent["postcode"],
        "email": sent["email"],
        "vat_number": sent["vat_number"] or None,
        "payment_terms_days": sent["payment_terms_days"],
        "in_nhs_vat_division": sent["in_nhs_vat_division"],
    }


@blueprint.route("/accounts/new", methods=["GET", "POST"])
@guarded(PREPARES)
def new_account() -> Answer:
    """Open the account of an organisation."""

    def act(session: Session, sent: dict[str, Any]) -> AccountRow:
        return operations.open_account(
            session,
            organisation=sent["organisation"],
            principal=current_principal().id,
            now=edge().clock(),
            **_details_of(sent),
        )

    form, made = submit(NewAccountForm(), act, start=Form({"payment_terms_days": "30"}))
    if made is not None:
        return done(made.id, f"The account of {made.name} is open. Make its agreements now.")
    with edge().database.snapshot() as session:
        organisations = without_account(session, today=london_day(edge().clock()))
    choose = Input(
        "organisation", "Organisation", "choice", options=(("", "Choose one"), *organisations)
    )
    return show(
        FormPage("Open an account", form, (choose, *_DETAILS), "Open the account", _crumbs())
    )


@blueprint.route("/accounts/<account_id>/details", methods=["GET", "POST"])
@guarded(PREPARES)
def change_account(account_id: str) -> Answer:
    """Change how an account is addressed and when it pays."""
    with edge().database.snapshot() as session:
        row = account_row(session, account_id=account_id)
    form = Form(
        {
            "name": row.name,
            "address": "\n".join(map(str, row.address)),
            "postcode": row.postcode,
            "email": row.email,
            "vat_number": row.vat_number or "",
            "payment_terms_days": str(row.payment_terms_days),
            "in_nhs_vat_division": "yes" if row.in_nhs_vat_division else "",
        }
    )

    def act(session: Session, sent: dict[str, Any]) -> AccountRow:
        return operations.change_account(
            session,
            account_id=account_id,
            principal=current_principal().id,
            now=edge().clock(),
            changes=_details_of(sent),
        )

    form, made = submit(AccountDetailsForm(), act, start=form)
    if made is not None:
        return done(account_id, "The details are changed.")
    words = "Invoices that are issued keep the details they were issued with."
    return show(
        FormPage(
            "Change details",
            form,
            _DETAILS,
            "Save",
            _crumbs(account_id, row.name),
            caption=row.name,
            words=words,
        )
    )


@blueprint.route("/accounts/<account_id>/agreements/new", methods=["GET", "POST"])
@guarded(PREPARES)
def new_agreement(account_id: str) -> Answer:
    """Put an account on a tariff."""

    def act(session: Session, sent: dict[str, Any]) -> AgreementRow:
        return operations.make_agreement(
            session,
            account_id=account_id,
            tariff_code=sent["tariff"],
            starts_on=sent["starts_on"],
            ends_on=sent["ends_on"],
            pooled=sent["pooled"],
            group_code=sent["group_code"] or None,
            reason=sent["reason"] or None,
            principal=current_principal().id,
            now=edge().clock(),
        )

    form, made = submit(
        AgreementForm(),
        act,
        start=Form({"pooled": "yes"}),
        dates=(
            "starts_on",
            "ends_on",
        ),
    )
    if made is not None:
        return done(account_id, "The agreement is made.")
    with edge().database.snapshot() as session:
        name = account_name(session, account_id)
    inputs = (
        Input("tariff", "Service", "choice", options=(("", "Choose one"), *_services())),
        Input("starts_on", "First day", "date"),
        Input("ends_on", "First day that it no longer covers", "date", hint="Empty: open end"),
        Input("pooled", "Its use joins the national pool", "tick"),
        Input(
            "group_code",
            "Group",
            width="10",
            hint="Shares group prices with others of the same group, for example its ICB. "
            "May be left out",
        ),
        _RETRO,
    )
    return show(
        FormPage(
            "Make an agreement",
            form,
            inputs,
            "Make the agreement",
            _crumbs(account_id, name),
            caption=name,
            words="It puts the account on the tariff as it is. Propose local terms beside it; "
            "another person approves them.",
        )
    )


@blueprint.route("/accounts/<account_id>/agreements/<agreement_id>", methods=["GET", "POST"])
@guarded(PREPARES)
def end_agreement(account_id: str, agreement_id: str) -> Answer:
    """End an agreement; to change one, end it and make another."""

    def act(session: Session, sent: dict[str, Any]) -> AgreementRow:
        return operations.end_agreement(
            session,
            account_id=account_id,
            agreement_id=agreement_id,
            ends_on=sent["ends_on"],
            reason=sent["reason"] or None,
            principal=current_principal().id,
            now=edge().clock(),
        )

    form, made = submit(EndAgreementForm(), act, dates=("ends_on",))
    if made is not None:
        return done(account_id, "The agreement ends on that day.")
    with edge().database.snapshot() as session:
        name = account_name(session, account_id)
    inputs = (Input("ends_on", "First day that it no longer covers", "date"), _RETRO)
    words = (
        "Usage from that day on has no price unless another agreement covers it. To change an "
        "agreement, end it and make a new one from the same day."
    )
    return show(
        FormPage(
            "End an agreement",
            form,
            inputs,
            "End the agreement",
            _crumbs(account_id, name),
            caption=name,
            words=words,
        )
    )


@blueprint.route("/accounts/<account_id>/orders/new", methods=["GET", "POST"])
@guarded(PREPARES)
def new_order(account_id: str) -> Answer:
    """Record a purchase order to quote on invoices."""

    def act(session: Session, sent: dict[str, Any]) -> PurchaseOrderRow:
        return invoicing.add_purchase_order(
            session,
            account_id=account_id,
            number=sent["number"],
            tariff_code=sent["tariff"] or None,
            starts_on=sent["starts_on"],
            ends_on=sent["ends_on"],
            value=None if sent["value"] is None else to_pennies(sent["value"]),
            hold_when_spent=sent["hold_when_spent"],
            principal=current_principal().id,
            now=edge().clock(),
        )

    form, made = submit(
        OrderForm(),
        act,
        dates=(
            "starts_on",
            "ends_on",
        ),
    )
    if made is not None:
        return done(account_id, "The purchase order is added.")
    with edge().database.snapshot() as session:
        name = account_name(session, account_id)
    inputs = (
        Input("number", "Number", width="20"),
        Input("tariff", "For", "choice", options=(("", "Every service"), *_services())),
        Input("starts_on", "First day", "date"),
        Input("ends_on", "First day that it no longer covers", "date", hint="Empty: open end"),
        Input("value", "Value without VAT, pounds", "number", hint="Empty: no stated limit"),
        Input("hold_when_spent", "Hold an invoice that goes beyond the value", "tick"),
    )
    return show(
        FormPage(
            "Add a purchase order",
            form,
            inputs,
            "Add the purchase order",
            _crumbs(account_id, name),
            caption=name,
        )
    )


@blueprint.route("/accounts/<account_id>/vat/new", methods=["GET", "POST"])
@guarded(PREPARES)
def set_treatment(account_id: str) -> Answer:
    """Say how supplies to an account are taxed."""

    def act(session: Session, sent: dict[str, Any]) -> VatTreatmentRow:
        return invoicing.set_vat_treatment(
            session,
            account_id=account_id,
            treatment=sent["treatment"],
            tariff_code=sent["tariff"] or None,
            reason=sent["reason"],
            starts_on=sent["starts_on"],
            principal=current_principal().id,
            now=edge().clock(),
        )

    form, made = submit(TreatmentForm(), act, dates=("starts_on",), field_name="reason")
    if made is not None:
        return done(account_id, "The VAT treatment is set.")
    with edge().database.snapshot() as session:
        name = account_name(session, account_id)
    treatments = [(code, TREATMENT_WORDS[code]) for code in TREATMENTS]
    inputs = (
        Input("treatment", "Treatment", "choice", options=(("", "Choose one"), *treatments)),
        Input("tariff", "For", "choice", options=(("", "Every service"), *_services())),
        Input("reason", "Reason, as printed on invoices", hint="Needed where no VAT is charged"),
        Input("starts_on", "From", "date"),
    )
    return show(
        FormPage(
            "Set the VAT treatment",
            form,
            inputs,
            "Set the treatment",
            _crumbs(account_id, name),
            caption=name,
        )
    )


@blueprint.route("/accounts/<account_id>/merge", methods=["GET", "POST"])
@guarded(PREPARES)
def merge_account(account_id: str) -> Answer:
    """Let another account take over from this one."""

    def act(session: Session, sent: dict[str, Any]) -> bool:
        successions.merge_accounts(
            session,
            predecessor_id=account_id,
            successor_id=sent["successor"],
            effective_on=sent["effective_on"],
            reason=sent["reason"] or None,
            principal=current_principal().id,
            now=edge().clock(),
        )
        return True

    form, made = submit(MergeForm(), act, dates=("effective_on",))
    if made is not None:
        return done(account_id, "The account is closed from that day and taken over.")
    with edge().database.snapshot() as session:
        name = account_name(session, account_id)
        others = [
            (one.account.id, f"{one.account.name} ({one.ods_code})")
            for one in payers(session)
            if one.account.id != account_id and one.account.closed_at is None
        ]
    inputs = (
        Input(
            "successor", "Account that takes over", "choice", options=(("", "Choose one"), *others)
        ),
        Input("effective_on", "Day on which it takes over", "date"),
        _RETRO,
    )
    words = (
        f"{name} closes on that day and keeps its history. What it still owes is addressed to the "
        "account that takes over, which goes on under each of its tariffs."
    )
    return show(
        FormPage(
            "Merge into another account",
            form,
            inputs,
            "Merge the accounts",
            _crumbs(account_id, name),
            caption=name,
            words=words,
            warning=True,
        )
    )
