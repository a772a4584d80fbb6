"""The central team's own cost codes: which cost centre and subjective code a posting carries."""

from collections.abc import Sequence

from flask import Response, flash, render_template, request, url_for
from marshmallow import Schema, fields, validate

from billing.access.guards import current_principal
from billing.console.blueprint import PREPARES, blueprint
from billing.console.lists import Field, Sheet
from billing.forms import Form, read_form
from billing.ledger import queries
from billing.ledger.model import LedgerAccount
from billing.ledger.operations import set_codes
from billing.ledger.tables import LedgerCodeRow
from billing.listing import Cell
from billing.tariffs import queries as tariffs
from billing.web import go
from metering.kit import audit
from metering.kit.guards import guarded
from metering.kit.web import edge

_LONGEST = 30


class CodeForm(Schema):
    """The codes of a ledger account, for one service or for every other."""

    account = fields.String(
        required=True,
        validate=validate.OneOf([one.value for one in LedgerAccount], error="Choose an account."),
        error_messages={"required": "Choose an account."},
    )
    service = fields.String(load_default="")
    centre = fields.String(
        required=True,
        validate=validate.Length(max=_LONGEST, error="Enter at most 30 characters."),
        error_messages={"required": "Enter the cost centre."},
    )
    code = fields.String(
        required=True,
        validate=validate.Length(max=_LONGEST, error="Enter at most 30 characters."),
        error_messages={"required": "Enter the subjective code."},
    )


def _words(account: str) -> str:
    return account.replace("-", " ").capitalize()


def _sheet(names: dict[str, str]) -> Sheet[LedgerCodeRow]:
    def service(row: LedgerCodeRow) -> str:
        return names.get(row.service, row.service) if row.service else "Every other"

    return Sheet(
        name="cost-codes",
        caption="Cost codes",
        empty="No code is set, so the journal says UNCODED. Set the codes of revenue first.",
        fields=(
            Field(
                "Ledger account",
                lambda row: row.ledger_account,
                lambda row: Cell(
                    _words(row.ledger_account),
                    href=url_for(
                        "console.cost_codes", account=row.ledger_account, service=row.service
                    )
                    + "#set",
                    hidden=f"for {service(row)}: change",
                ),
                key="account",
            ),
            Field("Service", service, key="service"),
            Field("Cost centre", lambda row: row.cost_centre, key="centre"),
            Field("Subjective code", lambda row: row.subjective_code, key="code"),
        ),
    )


@blueprint.get("/money/ledger/codes")
def cost_codes() -> Response | str:
    """Show the codes, and the form of one or of the one that the address names."""
    account, service = request.args.get("account", "revenue"), request.args.get("service", "")
    return _page(Form({"account": account, "service": service}))


@blueprint.post("/money/ledger/codes")
@guarded(PREPARES)
def set_cost_code() -> Response | tuple[Response | str, int]:
    """Set the codes of a ledger account; postings already in the journal are shown with them."""
    form, sent = read_form(CodeForm(), request.form)
    if sent is not None:
        with edge().database.transaction() as session:
            known = {row.code for row in tariffs.tariffs(session)}
            if sent["service"] and sent["service"] not in known:
                form = form.with_error("Choose a service.", name="service")
            else:
                key = (LedgerAccount(sent["account"]), sent["service"])
                set_codes(session, codes={key: (sent["centre"], sent["code"])})
                audit.record(
                    session,
                    now=edge().clock(),
                    principal=current_principal().id,
                    action="set cost code",
                    object_kind="ledger account",
                    object_id=sent["account"],
                    facts={
                        "service": sent["service"],
                        "cost_centre": sent["centre"],
                        "subjective_code": sent["code"],
                    },
                )
    if sent is None or form.errors:
        return _page(form), 422
    flash(f"The codes of {_words(sent['account']).lower()} are set.", "success")
    return go(url_for("console.cost_codes"))


def _page(form: Form) -> Response | str:
    with edge().database.snapshot() as session:
        rows: Sequence[LedgerCodeRow] = queries.codes(session)
        names = {row.code: row.name for row in tariffs.tariffs(session)}
    sheet = _sheet(names)
    for row in rows:
        asked = (form.value("account"), form.value("service"))
        if not form.errors and (row.ledger_account, row.service) == asked:
            typed = {"centre": row.cost_centre, "code": row.subjective_code}
            form = Form({**typed, **form.values})
    return render_template(
        "console/money/codes.html",
        form=form,
        listing=sheet.listing(rows),
        accounts=[(one.value, _words(one.value)) for one in LedgerAccount],
        services=[("", "Every other service"), *names.items()],
    )
