"""Bank lines: the queue of what is unmatched, and one line with all that may be said of it."""

from decimal import Decimal, InvalidOperation

from flask import Response, flash, render_template, request, url_for

from billing.access.guards import current_principal
from billing.console import money_queries as queries
from billing.console.blueprint import PREPARES, blueprint
from billing.console.forms import FormPage, Input
from billing.console.money_pages import (
    may_prepare,
    open_rows,
    pay_field,
    spread_values,
    suggestion_view,
    typed_amount,
    uses_listing,
    waiting_sheet,
)
from billing.console.money_stored import bank_lines
from billing.console.people import names_of
from billing.console.stored_lists import stored_listing
from billing.forms import Form, read_text
from billing.money import NOUGHT, show_pounds
from billing.payments.bank import operations as bank
from billing.payments.bank import outgoing
from billing.payments.bank import queries as bank_queries
from billing.payments.bank.lines import BankLineUnknown, UseUnknown
from billing.payments.bank.matching import Ledger, Share, Suggestion
from billing.payments.bank.queries import Unmatched
from billing.sheets import listed
from billing.web import go
from metering.kit.errors import Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import show_date

Answer = Response | str | tuple[str, int]
STATES = (("waiting", "To match"), ("matched", "Matched"), ("all", "All"))
# The file has suggestions for so many lines of the queue; each line's own page has them all.
_SUGGESTED = 200


class _Suggested:
    """The best suggestion of each line of the queue, worked out when a cell asks for it."""

    def __init__(self, against: Ledger) -> None:
        self._against = against
        self._found: dict[str, Suggestion | None] = {}

    def __call__(self, line: Unmatched) -> Suggestion | None:
        if line.left <= 0:
            return None
        if line.id not in self._found:
            if len(self._found) >= _SUGGESTED:
                return None
            found = bank_queries.suggestions(line, against=self._against)
            self._found[line.id] = next(iter(found), None)
        return self._found[line.id]


@blueprint.get("/money/bank", endpoint="bank")
def bank_page() -> Response | str:
    """List the bank lines that wait, each with the best suggestion."""
    state = request.args.get("state", "waiting")
    state = state if state in dict(STATES) else "waiting"
    search = request.args.get("search", "").strip()[:100]
    with edge().database.snapshot() as session:
        against = bank_queries.matching_ledger(session)
        waits = queries.waiting(session)
        sheet = waiting_sheet(_Suggested(against), state=state)
        listing = stored_listing(
            session,
            sheet,
            bank_lines(
                state="" if state == "all" else state,
                search=search,
                read=lambda row: (bank_queries.as_unmatched(row), row.bank_account),
            ),
            query={"state": state, "search": search},
            empty="No line fits. Clear the filters to see what waits." if search else sheet.empty,
        )
    figures = (
        {
            "label": "Lines to match",
            "value": f"{waits.lines:,}",
            "tone": "warning" if waits.lines else "success",
        },
        {"label": "Came in, whose it is unknown", "value": show_pounds(waits.came_in)},
        {"label": "Went out, unexplained", "value": show_pounds(waits.went_out)},
    )
    return render_template(
        "console/money/bank.html",
        figures=figures,
        listing=listing,
        filters=Form({"state": state, "search": search}),
        states=STATES,
        is_filtered=bool(search) or state != "waiting",
    )


def _line(line_id: str, form: Form | None = None) -> str:
    """Return the page of a line; `form` is a split or a reason that was refused."""
    with edge().database.snapshot() as session:
        line = bank_queries.line(session, bank_line_id=line_id)
        if line is None:
            raise BankLineUnknown(f"No statement has the line {line_id}.")
        against = bank_queries.matching_ledger(session)
        found = bank_queries.suggestions(line, against=against)
        payers = queries.payers(session)
        uses = bank_queries.uses(session, bank_line_id=line_id)
        names = names_of(
            session, principals=[who for use in uses for who in (use.made_by, use.undone_by)]
        )
        chosen = (request.form if form is not None else request.args).get("account", "")
        chosen = payers.named(chosen)
        if not chosen and found and found[0].shares:
            chosen = found[0].shares[0].account_id
        invoices = queries.open_receivables(session, account_id=chosen) if chosen else ()
        # Money that went out: a refund of ours, or a payment that the bank took back.
        asked = queries.refunds_of_amount(session, amount=-line.left, status="requested")
        sent = queries.refunds_of_amount(session, amount=line.left, status="sent")
        taken = queries.payments_of_amount(session, amount=-line.left)
    numbers = {item.invoice_id: item.number for item in against.invoices}
    values = spread_values(line.left, invoices, account_id=chosen) if line.left > 0 else {}
    return render_template(
        "console/money/line.html",
        line=line,
        facts=_facts(line),
        suggestions=[suggestion_view(one, payers=payers, numbers=numbers) for one in found],
        uses=listed(uses_listing(uses, payers=payers, names=names, may_undo=may_prepare())),
        accounts=[("", "Choose an account"), *payers.choices] if payers.choices else [],
        chosen=payers.get(chosen),
        invoices=open_rows(invoices),
        choose=Form({"account": chosen if payers.choices else payers[chosen].ods_code}),
        form=form or Form(values),
        refunds=[
            (f"{row.account_id}|{row.id}", f"{payers[row.account_id].name}: {row.reason}")
            for row in asked
        ],
        returned=[
            (f"{row.account_id}|{row.id}", f"{payers[row.account_id].name}: {row.reason}")
            for row in sent
        ],
        payments=[
            (
                f"{row.account_id}|{row.id}",
                f"{payers[row.account_id].name}, received {show_date(row.received_on)}"
                f"{', ' + row.reference if row.reference else ''}",
            )
            for row in taken
        ],
    )


def _facts(line: Unmatched) -> tuple[tuple[str, str], ...]:
    rows = (
        ("Booked", show_date(line.booked_on)),
        ("Amount", show_pounds(line.amount)),
        ("Still to match", show_pounds(line.left)),
        ("From" if line.amount > 0 else "To", line.counterparty),
        ("Their bank account", line.counterparty_account),
        ("Reference", line.reference),
        ("Details", line.details),
    )
    return tuple((label, value) for label, value in rows if value)


@blueprint.get("/money/bank/lines/<line_id>")
def bank_line(line_id: str) -> str:
    """Show one bank line: what it may be, what was said of it, and how to say more."""
    return _line(line_id)


def _split() -> tuple[list[Share], Form]:
    """Return the shares that were typed for one account, and the form to show again."""
    account_id = request.form.get("account", "")
    values = {name: text for name, text in request.form.items() if name != "csrf_token"}
    form = Form(values)
    shares = []
    for name, text in values.items():
        if name != "rest" and not name.startswith(pay_field("")):
            continue
        try:
            amount = typed_amount(text)
        except ValueError as error:
            form = form.with_error(str(error), name=name)
            continue
        if amount is not None:
            invoice_id = None if name == "rest" else name.removeprefix(pay_field(""))
            shares.append(Share(account_id=account_id, invoice_id=invoice_id, amount=amount))
    if not form.errors and not shares:
        form = form.with_error("Enter how much of the money pays what", name="rest")
    return shares, form


def _suggested() -> list[Share]:
    """Return the shares of a suggestion that was confirmed.

    Raises:
        BankLineUnknown: what was sent is no suggestion of ours.
    """
    shares = []
    for sent in request.form.getlist("share"):
        try:
            account_id, invoice_id, amount = sent.split("|")
            shares.append(
                Share(account_id=account_id, invoice_id=invoice_id or None, amount=Decimal(amount))
            )
        except (ValueError, InvalidOperation):
            raise BankLineUnknown("This is no suggestion for the line.") from None
    return shares


@blueprint.post("/money/bank/lines/<line_id>/confirm")
@guarded(PREPARES)
def confirm_line(line_id: str) -> Answer:
    """Confirm a suggestion, or the split that was typed."""
    suggested = "share" in request.form
    form = Form()
    if suggested:
        shares = _suggested()
    else:
        shares, form = _split()
        if form.errors:
            return _line(line_id, form), 422
    try:
        with edge().database.transaction() as session:
            bank.confirm(
                session,
                bank_line_id=line_id,
                shares=shares,
                reason=read_text(request.form, "why"),
                principal=current_principal().id,
                now=edge().clock(),
            )
    except Refusal as refusal:
        return _line(
            line_id, form.with_error(refusal.detail, name="" if suggested else "rest")
        ), 422
    return _after(line_id)


def _after(line_id: str) -> Response:
    """Lead to the queue when the line is done, else back to what is left of it."""
    with edge().database.snapshot() as session:
        line = bank_queries.line(session, bank_line_id=line_id)
    left = NOUGHT if line is None else line.left
    if left:
        flash(f"Done. {show_pounds(left)} of this line is still to match.", "success")
    else:
        flash("Done. The whole line is matched.", "success")
    return go(url_for("console.bank_line", line_id=line_id))


@blueprint.post("/money/bank/lines/<line_id>/set-aside")
@guarded(PREPARES)
def set_line_aside(line_id: str) -> Answer:
    """Say that what is left is about no account: bank charges, interest, a transfer."""
    form = Form({"reason": read_text(request.form, "reason")})
    if not form.value("reason"):
        return _line(line_id, form.with_error("Enter what it is", name="reason")), 422
    with edge().database.transaction() as session:
        bank.set_aside(
            session,
            bank_line_id=line_id,
            reason=form.value("reason"),
            principal=current_principal().id,
            now=edge().clock(),
        )
    return _after(line_id)


@blueprint.post("/money/bank/lines/<line_id>/payout")
@guarded(PREPARES)
def confirm_payout(line_id: str) -> Answer:
    """Say that what is left is Stripe paying out, or taking back, what it holds for us."""
    with edge().database.transaction() as session:
        bank.confirm_payout(
            session,
            bank_line_id=line_id,
            principal=current_principal().id,
            now=edge().clock(),
        )
    return _after(line_id)


@blueprint.post("/money/bank/lines/<line_id>/out")
@guarded(PREPARES)
def explain_line(line_id: str) -> Answer:
    """Say that a line is a refund of ours, one that came back, or a payment taken back."""
    kind = request.form.get("kind", "")
    account_id, _, subject_id = request.form.get("subject", "").partition("|")
    reason = read_text(request.form, "reason")
    form = Form({f"{kind}-reason": reason})
    try:
        with edge().database.transaction() as session:
            outgoing.explain(
                session,
                kind=kind,
                bank_line_id=line_id,
                account_id=account_id,
                subject_id=subject_id,
                reason=reason,
                principal=current_principal().id,
                now=edge().clock(),
            )
    except Refusal as refusal:
        field = f"{kind}-reason" if kind != "refund" else ""
        return _line(line_id, form.with_error(refusal.detail, name=field)), 422
    return _after(line_id)


@blueprint.route("/money/bank/lines/<line_id>/uses/<use_id>/undo", methods=["GET", "POST"])
@guarded(PREPARES)
def undo_use(line_id: str, use_id: str) -> Answer:
    """Take back what was said of a line, after asking why."""
    form = Form({"reason": read_text(request.form, "reason")})
    if request.method == "POST":
        try:
            with edge().database.transaction() as session:
                bank.undo(
                    session,
                    use_id=use_id,
                    reason=form.value("reason"),
                    principal=current_principal().id,
                    now=edge().clock(),
                )
            flash("It is undone; both stay on record. The money is to be matched again.", "success")
            return go(url_for("console.bank_line", line_id=line_id))
        except Refusal as refusal:
            form = form.with_error(refusal.detail, name="reason")
    with edge().database.snapshot() as session:
        uses = {use.id: use for use in bank_queries.uses(session, bank_line_id=line_id)}
        if use_id not in uses:
            raise UseUnknown("No bank line was used so.")
        amount = uses[use_id].amount
    page = FormPage(
        f"Undo {show_pounds(amount)}",
        form,
        (Input("reason", "Why it is undone"),),
        "Undo it",
        (
            ("Bank", url_for("console.bank")),
            ("Bank line", url_for("console.bank_line", line_id=line_id)),
        ),
        words="Invoices that it paid are open again. What was done and its undoing both stay.",
        warning=True,
    )
    shown = render_template("console/form.html", page=page)
    return (shown, 422) if form.errors else shown
