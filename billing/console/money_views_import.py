"""Importing bank statements and remittance advices: looked at first, then kept for ever."""

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Response, flash, render_template, request, url_for
from marshmallow import Schema
from sqlalchemy.orm import Session

from billing.access.guards import current_principal
from billing.console import money_queries as queries
from billing.console.blueprint import PREPARES, blueprint
from billing.console.context import console
from billing.console.forms import day, keeping_dates, optional_text, text, with_dates
from billing.console.lists import Field, Sheet
from billing.console.money_imports import (
    COLUMNS,
    SentFile,
    allow_files,
    is_camt,
    mapping_of,
    read_statements,
    row_faults,
    sent_file,
)
from billing.console.people import Names, names_of
from billing.documents.words import plural
from billing.forms import Form, read_form
from billing.listing import Cell
from billing.money import show_pounds, sum_pounds
from billing.payments.bank import imports
from billing.payments.bank.csv_file import CsvMapping, read_csv_remittance
from billing.payments.bank.model import Remittance, Statement, StatementLine, StatementUnreadable
from billing.payments.bank.tables import BankStatementRow, RemittanceAdviceRow
from billing.web import go
from metering.kit.errors import Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import london_day, show_date

Answer = Response | str | tuple[str, int]
_FILES = {"console.import_statement", "console.import_advice"}
_SHOWN = 20


@blueprint.url_value_preprocessor
def _files_may_be_large(endpoint: str | None, _values: object) -> None:
    # Before the guard, which reads the form for its token.
    if endpoint in _FILES and request.method == "POST":
        allow_files()


@dataclass(frozen=True)
class Import:
    """A statement or a remittance advice that was imported."""

    row: BankStatementRow | RemittanceAdviceRow
    new_lines: int | None

    @property
    def words(self) -> str:
        """What it is."""
        if isinstance(self.row, BankStatementRow):
            return "Bank statement, CAMT.053" if self.row.format == "camt.053" else "Bank statement"
        return "Remittance advice"

    @property
    def name(self) -> str:
        """The file, or who sent the advice."""
        row = self.row
        return row.file_name if isinstance(row, BankStatementRow) else row.payer

    @property
    def size(self) -> str:
        """How much of it there was, and how much was new."""
        if isinstance(self.row, BankStatementRow):
            return f"{plural(self.row.line_count, 'line')}, {self.new_lines:,} new"
        return f"{plural(len(self.row.items), 'invoice')}, {show_pounds(self.row.total)}"


def imports_sheet(names: Names) -> Sheet[Import]:
    """Return the list of imports."""
    return Sheet(
        name="bank-imports",
        caption="Imports",
        sort="at",
        direction="descending",
        empty="Nothing was imported yet. Import a bank statement to see what was paid.",
        fields=(
            Field("File or payer", lambda one: one.name, key="name"),
            Field("What", lambda one: one.words, key="what"),
            Field("Held", lambda one: one.size),
            Field(
                "Imported",
                lambda one: one.row.imported_at,
                lambda one: Cell(show_date(london_day(one.row.imported_at)), nowrap=True),
                key="at",
            ),
            Field("By", lambda one: names.of(one.row.imported_by)),
        ),
    )


@blueprint.get("/money/bank/imports")
def bank_imports() -> Response | str:
    """List the statements and remittance advices that were imported."""
    with edge().database.snapshot() as session:
        rows = [Import(row, count) for row, count in queries.statement_imports(session)]
        rows += [Import(row, None) for row in queries.remittance_imports(session)]
        names = names_of(session, principals=[one.row.imported_by for one in rows])
    sheet = imports_sheet(names)
    return render_template("console/money/imports.html", listing=sheet.listing(rows))


def _lines_sheet(account: str, lines: Sequence[StatementLine]) -> Sheet[StatementLine]:
    return Sheet(
        name="lines",
        caption=f"First lines of {account}"
        if len(lines) > _SHOWN
        else f"Lines of the statement of {account}",
        caption_hidden=False,
        fields=(
            Field(
                "Date", lambda line: line.booked_on, lambda line: Cell(show_date(line.booked_on))
            ),
            Field(
                "Amount",
                lambda line: line.amount,
                lambda line: Cell(show_pounds(line.amount), nowrap=True),
                numeric=True,
            ),
            Field("Payer or payee", lambda line: line.counterparty),
            Field("Reference", lambda line: line.reference),
            Field("Details", lambda line: line.details),
        ),
    )


def _preview(statement: Statement) -> dict[str, object]:
    came = [line.amount for line in statement.lines if line.amount > 0]
    went = [line.amount for line in statement.lines if line.amount < 0]
    days = [line.booked_on for line in statement.lines]
    return {
        "account": statement.bank_account,
        "figures": (
            {
                "label": "Lines",
                "value": f"{len(statement.lines):,}",
                "note": f"{show_date(min(days))} to {show_date(max(days))}",
            },
            {"label": "Came in", "value": show_pounds(sum_pounds(came))},
            {"label": "Went out", "value": show_pounds(-sum_pounds(went))},
        ),
        "listing": _lines_sheet(statement.bank_account, statement.lines).listing(
            statement.lines[:_SHOWN]
        ),
    }


def _usual_account(session: Session) -> str:
    last = queries.last_bank_account(session)
    settings = console().settings
    return last or f"{settings.supplier_sort_code} {settings.supplier_account_number}"


@blueprint.route("/money/bank/import", methods=["GET", "POST"])
@guarded(PREPARES)
def import_statement() -> Answer:
    """Import a bank statement: chosen, looked at, then imported."""
    with edge().database.snapshot() as session:
        form = Form({"bank_account": _usual_account(session)})
    if request.method == "GET":
        return _statement_page(form)
    typed = {name: request.form.get(name, "") for name in ("bank_account", *COLUMNS)}
    form, sent, mapping = Form(typed), None, None
    try:
        sent = sent_file()
        if sent is None:
            return _statement_page(form.with_error("Choose the bank’s file", name="file"))
        if not is_camt(sent.content):
            if not typed["bank_account"].strip():
                error = "Enter which of our bank accounts it is of"
                return _statement_page(form.with_error(error, name="bank_account"), sent)
            mapping = mapping_of(sent.content, typed)
        read = read_statements(
            sent.content, bank_account=typed["bank_account"].strip(), mapping=mapping
        )
    except Refusal as refusal:
        faults = row_faults(refusal)
        words = (
            f"{plural(len(faults), 'row')} cannot be read. Nothing was imported."
            if faults
            else refusal.detail
        )
        return _statement_page(form.with_error(words, name="file"), sent, mapping, faults=faults)
    if request.form.get("step") != "import":
        return _statement_page(form, sent, mapping, read=read)
    return _import(read, sent)


def _import(read: tuple[Statement, ...], sent: SentFile) -> Response:
    added = known = 0
    with edge().database.transaction() as session:
        for statement in read:
            done = imports.import_statement(
                session,
                statement=statement,
                content=sent.content,
                file_name=sent.name,
                principal=current_principal().id,
                now=edge().clock(),
            )
            added, known = added + done.added, known + done.known
    old = (
        f" {plural(known, 'line')} had come before and {'was' if known == 1 else 'were'} left out."
    )
    flash(
        f"{plural(added, 'new line')} imported.{old if known else ''}", "success" if added else ""
    )
    return go(url_for("console.bank"))


def _statement_page(
    form: Form,
    sent: SentFile | None = None,
    mapping: CsvMapping | None = None,
    *,
    read: tuple[Statement, ...] = (),
    faults: tuple[tuple[str, str], ...] = (),
) -> Answer:
    found = {} if mapping is None else {name: getattr(mapping, name) for name in COLUMNS}
    if found.get("delimiter") == "\t":
        found["delimiter"] = "tab"
    shown = render_template(
        "console/money/import.html",
        form=Form({**form.values, **found}, form.errors),
        sent=sent,
        found=found,
        said=any(form.value(name) for name in COLUMNS),
        columns=COLUMN_WORDS,
        previews=[_preview(statement) for statement in read],
        faults=faults,
        total=sum(len(statement.lines) for statement in read),
    )
    return (shown, 422) if form.errors else shown


COLUMN_WORDS = (
    ("date", "Date"),
    ("date_format", "How dates are written, for example %d/%m/%Y"),
    ("amount", "Amount, money out with a minus"),
    ("paid_in", "Money in, where it has a column of its own"),
    ("paid_out", "Money out, where it has a column of its own"),
    ("reference", "Reference"),
    ("counterparty", "Payer or payee"),
    ("counterparty_account", "Their bank account"),
    ("details", "Details"),
    ("bank_reference", "The bank’s own reference"),
    ("delimiter", "What separates columns: , or ; or tab"),
)


class AdviceForm(Schema):
    """A remittance advice."""

    payer = text("Enter who pays")
    reference = optional_text()
    paid_on = day("Enter the day of the payment")
    invoice_column = optional_text()
    amount_column = optional_text()


@blueprint.route("/money/bank/advice", methods=["GET", "POST"])
@guarded(PREPARES)
def import_advice() -> Answer:
    """Import a remittance advice: what a payment is for, as its payer says."""
    if request.method == "GET":
        return _advice_page(Form())
    form, said = read_form(AdviceForm(), with_dates(request.form, "paid_on"))
    form = keeping_dates(form, request.form, "paid_on")
    sent: SentFile | None = None
    try:
        sent = sent_file()
        if sent is None:
            form = form.with_error("Choose the advice’s file", name="file")
        if said is None or sent is None:
            return _advice_page(form, sent)
        advice = read_csv_remittance(
            sent.content,
            payer=said["payer"],
            reference=said["reference"],
            paid_on=said["paid_on"],
            invoice_column=said["invoice_column"] or "Invoice",
            amount_column=said["amount_column"] or "Amount",
        )
    except StatementUnreadable as refusal:
        return _advice_page(form.with_error(refusal.detail, name="file"), sent)
    except Refusal as refusal:
        words = "The advice has rows that cannot be read. Nothing was imported."
        return _advice_page(form.with_error(words, name="file"), sent, faults=row_faults(refusal))
    return _import_advice(advice, sent)


def _import_advice(advice: Remittance, sent: SentFile) -> Response:
    with edge().database.transaction() as session:
        made = imports.import_remittance(
            session,
            remittance=advice,
            content=sent.content,
            principal=current_principal().id,
            now=edge().clock(),
        )
    told = f"{plural(len(advice.items), 'invoice')}, {show_pounds(advice.total)}"
    if made is None:
        flash(f"This advice was imported before: {told}.")
    else:
        flash(f"The advice is imported: {told}. It now helps to match the payment.", "success")
    return go(url_for("console.bank_imports"))


def _advice_page(
    form: Form, sent: SentFile | None = None, *, faults: tuple[tuple[str, str], ...] = ()
) -> Answer:
    shown = render_template("console/money/advice.html", form=form, sent=sent, faults=faults)
    return (shown, 422) if form.errors else shown
