"""The ledger: trial balance, journal with cost codes, settlement of services, prompt payment."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from flask import Response, render_template, request, url_for
from sqlalchemy.orm import Session

from billing.console import money_queries as queries
from billing.console.blueprint import blueprint
from billing.console.forms import keeping_dates, with_dates
from billing.console.lists import Field, Sheet, csv_response
from billing.console.money_queries import Payers
from billing.console.money_views_debt import asked_day, day_query
from billing.console.overview_queries import tariff_names
from billing.console.overview_views import asked_month, month_choices
from billing.documents.sheet import write_sheet
from billing.forms import Form
from billing.ledger import queries as ledger
from billing.ledger.model import Difference, LedgerAccount, TrialBalance
from billing.ledger.queries import UNCODED, JournalLine
from billing.listing import Cell
from billing.money import NOUGHT, show_pounds, sum_pounds
from billing.payments import debt, statements
from billing.payments.conservation import check_books
from billing.payments.debt import PromptPayment
from billing.payments.statements import JOURNAL_HEADER, ServiceSettlement, journal_rows
from billing.web import show_moment
from metering.kit.jobruns import JobRun, recent_runs
from metering.kit.web import edge
from metering.periods import Month, london_day, show_date

Answer = Response | str | tuple[str, int]
ACCOUNT_WORDS = {
    LedgerAccount.RECEIVABLE: "Owed by accounts",
    LedgerAccount.CREDIT: "Credit notes not yet used",
    LedgerAccount.UNALLOCATED: "Money not yet set against invoices",
    LedgerAccount.CASH: "Bank",
    LedgerAccount.STRIPE: "Held at Stripe",
    LedgerAccount.REVENUE: "Revenue, net of VAT",
    LedgerAccount.VAT: "VAT",
    LedgerAccount.WRITE_OFF: "Debts written off",
    LedgerAccount.OTHER: "Bank movements set aside",
}
_JOURNAL_DAYS_MOST = 366


@dataclass(frozen=True)
class Balance:
    """One line of the trial balance; one of the two amounts is nought."""

    name: str
    code: str
    debit: Decimal
    credit: Decimal


def balances(shown: TrialBalance, names: dict[str, str]) -> list[Balance]:
    """Return the trial balance's lines, revenue by service, with the totals last."""
    found = []
    for account in LedgerAccount:
        if account is LedgerAccount.REVENUE:
            found += [
                Balance(
                    f"Revenue, {names.get(service, service)}",
                    f"revenue {service}",
                    max(-amount, NOUGHT),
                    max(amount, NOUGHT),
                )
                for service, amount in shown.revenue_by_service.items()
            ]
            continue
        amount = shown.balances[account]
        found.append(
            Balance(
                ACCOUNT_WORDS[account], account.value, max(amount, NOUGHT), max(-amount, NOUGHT)
            )
        )
    total = Balance(
        "Total",
        "",
        sum_pounds([line.debit for line in found]),
        sum_pounds([line.credit for line in found]),
    )
    return [*found, total]


def _side(label: str, key: str) -> Field[Balance]:
    def shown(line: Balance) -> Cell:
        amount: Decimal = getattr(line, key)
        return Cell(show_pounds(amount) if amount or not line.code else "", nowrap=True)

    return Field(label, lambda line: getattr(line, key), shown, numeric=True)


def balance_sheet(on: date) -> Sheet[Balance]:
    """Return the trial balance as a list."""
    return Sheet(
        name=f"trial-balance-{on.isoformat()}",
        caption=f"Trial balance on {show_date(on)}",
        fixed=True,
        findable=False,
        fields=(
            Field("Ledger account", lambda line: line.name),
            Field("Code", lambda line: line.code, on_page=False),
            _side("Debit", "debit"),
            _side("Credit", "credit"),
        ),
    )


_DIFFERENCES = Sheet[Difference](
    name="differences",
    caption="Where the ledger is not what happened",
    caption_hidden=False,
    beside=True,
    fields=(
        Field("What", lambda one: one.what),
        Field("In the ledger", lambda one: one.ledger, numeric=True),
        Field("Worked out from what happened", lambda one: one.documents, numeric=True),
    ),
)


def last_check(session: Session) -> JobRun | None:
    """Return the last time that the job compared the books with what happened."""
    return next(iter(recent_runs(session, job="check-books", limit=1)), None)


def books_figure(last: JobRun | None) -> dict[str, str]:
    """Return whether the books agreed when they were last compared."""
    figure = {"label": "Books"}
    if last is None:
        return figure | {"value": "Not compared yet", "note": "The job check-books compares them"}
    agree = last.outcome == "succeeded"
    return figure | {
        "value": {"succeeded": "Agree", "failed": "Differ"}.get(last.outcome, "Not compared"),
        "note": f"Compared {show_moment(last.started_at).striptags()}",
        "tone": "success" if agree else "warning",
    }


@blueprint.get("/money/ledger")
def trial_balance() -> Answer:
    """Show every balance at a date, and whether the books agree with what happened.

    Comparing reads every document and payment there ever was: a job does it each day, and
    this page when a person asks for it.
    """
    on, form = asked_day()
    compares = request.args.get("check") == "now"
    with edge().database.snapshot() as session:
        shown = ledger.trial_balance(session, on=on)
        found = check_books(session, on=on) if compares else ()
        last = last_check(session)
        names = tariff_names(session)
        cash = queries.bank_total(session, on=on)
    sheet = balance_sheet(on)
    lines = balances(shown, names)
    in_ledger = shown.balances[LedgerAccount.CASH]
    figures = (
        {
            "label": "Books",
            "value": "Agree" if not found else f"{len(found)} differ",
            "note": "Ledger, documents, payments and bank lines",
            "tone": "success" if not found else "warning",
        }
        if compares
        else books_figure(last),
        {
            "label": "Bank in the ledger",
            "value": show_pounds(in_ledger),
            "note": f"Statements say {show_pounds(cash)}",
            "tone": "success" if in_ledger == cash else "warning",
        },
        {
            "label": "Debits and credits",
            "value": show_pounds(shown.debits),
            "note": "Equal" if shown.debits == shown.credits else show_pounds(shown.credits),
            "tone": "success" if shown.debits == shown.credits else "warning",
        },
    )
    page = render_template(
        "console/money/ledger.html",
        on=on,
        form=form,
        figures=figures,
        compares=compares,
        differences=_DIFFERENCES.listing(found) if found else None,
        listing=sheet.listing(lines, query=day_query("on")),
    )
    return (page, 422) if form.errors else page


def journal_sheet(name: str, payers: Payers) -> Sheet[JournalLine]:
    """Return the journal as a page shows it."""

    def amount(label: str, key: str) -> Field[JournalLine]:
        return Field(
            label,
            lambda line: getattr(line, key),
            lambda line: Cell(show_pounds(getattr(line, key)) if getattr(line, key) else ""),
            numeric=True,
        )

    def code(line: JournalLine) -> Cell:
        if UNCODED in (line.cost_centre, line.subjective_code):
            return Cell("No code", colour="orange")
        return Cell(f"{line.cost_centre} / {line.subjective_code}", nowrap=True)

    return Sheet(
        name=name,
        caption="Journal",
        empty="Nothing was posted on these days. Choose others.",
        page_size=100,
        fields=(
            Field(
                "Date",
                lambda line: line.posted_on,
                lambda line: Cell(show_date(line.posted_on), nowrap=True),
            ),
            Field("What", lambda line: line.description),
            Field(
                "Ledger account",
                lambda line: (
                    ACCOUNT_WORDS[LedgerAccount(line.ledger_account)]
                    + (f", {line.service}" if line.service else "")
                ),
            ),
            Field(
                "Account",
                lambda line: "" if line.account_id is None else payers[line.account_id].ods_code,
            ),
            Field("Cost centre and code", lambda line: code(line).text, code),
            amount("Debit", "debit"),
            amount("Credit", "credit"),
        ),
    )


def _span(today: date) -> tuple[date, date, Form]:
    """Return the first and last London date that are asked for, this month's by default."""
    typed = with_dates(request.args, "first", "last")
    form = keeping_dates(Form(), request.args, "first", "last")
    days = {"first": Month.of_day(today).first_day, "last": today}
    for name in days:
        if name in typed:
            try:
                days[name] = date.fromisoformat(typed[name])
            except ValueError:
                form = form.with_error("Enter a real date, for example 1 4 2026", name=name)
    first, last = days["first"], days["last"]
    if not form.errors and last < first:
        form = form.with_error("The last day is before the first", name="last")
    if not form.errors and (last - first).days >= _JOURNAL_DAYS_MOST:
        form = form.with_error("Choose at most a year", name="last")
    return first, last, form


@blueprint.get("/money/ledger/journal")
def money_journal() -> Answer:
    """Show every posting of some days with its cost codes, to be loaded elsewhere."""
    first, last, form = _span(london_day(edge().clock()))
    name = f"journal-{first.isoformat()}-to-{last.isoformat()}"
    wants_file = request.args.get("download") == name
    with edge().database.snapshot() as session:
        payers = queries.payers(session)
        sheet = journal_sheet(name, payers)
        # Days that make no sense have no postings.
        end_day = first if form.errors else last + timedelta(days=1)
        sums = ledger.journal_sums(session, first_day=first, end_day=end_day)
        limit, offset = (None, 0) if wants_file else sheet.window(sums.lines)
        lines = ledger.journal(
            session, first_day=first, end_day=end_day, limit=limit, offset=offset
        )
    if wants_file:
        return csv_response(
            write_sheet(JOURNAL_HEADER, journal_rows(lines), for_people=False), name=name
        )
    page = render_template(
        "console/money/journal.html",
        first=first,
        last=last,
        form=form,
        listing=sheet.listing(lines, query=day_query("first", "last"), total=sums.lines),
        debits=sums.debits,
        credits=sums.credits,
        uncoded=len(sums.uncoded),
    )
    return (page, 422) if form.errors else page


def settlement_sheet(month: Month, names: dict[str, str]) -> Sheet[ServiceSettlement]:
    """Return what each hosted service earned and is owed."""

    def amount(label: str, key: str) -> Field[ServiceSettlement]:
        return Field(
            label,
            lambda one: getattr(one, key),
            lambda one: Cell(show_pounds(getattr(one, key)), nowrap=True),
            key=key,
            numeric=True,
        )

    return Sheet(
        name=f"settlement-{month}",
        caption=f"Settlement of services for {month.name}",
        sort="service",
        empty="Nothing was invoiced in this month. Choose another.",
        fields=(
            Field("Service", lambda one: names.get(one.service, one.service), key="service"),
            Field("Code", lambda one: one.service, on_page=False),
            amount("Invoiced", "invoiced"),
            amount("Credited", "credited"),
            amount("Owed to it", "owed"),
            amount("Of it collected", "collected"),
            amount("Of it written off", "written_off"),
        ),
    )


@blueprint.get("/money/ledger/settlement")
def settlement() -> Answer:
    """Show what each hosted service is owed for the invoices that were issued in a month."""
    today = london_day(edge().clock())
    month = asked_month(usual=Month.of_day(today))
    with edge().database.snapshot() as session:
        rows = statements.supplier_settlement(session, month=month, on=today)
        names = tariff_names(session)
    sheet = settlement_sheet(month, names)
    owed = sum_pounds([one.owed for one in rows])
    collected = sum_pounds([one.collected for one in rows])
    return render_template(
        "console/money/settlement.html",
        month=month,
        filters=Form({"month": str(month)}),
        months=month_choices(last=Month.of_day(today)),
        figures=(
            {"label": "Owed to services", "value": show_pounds(owed), "note": "Net of VAT"},
            {"label": "Collected so far", "value": show_pounds(collected)},
            {"label": "Carried by us", "value": show_pounds(owed - collected)},
        ),
        listing=sheet.listing(rows, query={"month": str(month)}),
    )


def percent(share: Fraction | None) -> str:
    """Return a share as a percentage of one place, rounded half up: `97.5%`."""
    if share is None:
        return "–"
    tenths = int(share * 1000 + Fraction(1, 2))
    return f"{tenths // 10}.{tenths % 10}%"


def prompt_sheet(month: Month, payers: Payers) -> Sheet[PromptPayment]:
    """Return the Better Payment Practice figures by account."""
    return Sheet(
        name=f"prompt-payment-{month}",
        caption=f"Prompt payment in {month.name}",
        sort="account",
        empty="Nothing was paid in this month and nothing is overdue.",
        fields=(
            Field(
                "Account",
                lambda one: payers[one.account_id].name,
                lambda one: Cell(
                    payers[one.account_id].name,
                    href=url_for("console.account_money", account_id=one.account_id),
                ),
                key="account",
            ),
            Field("Paid", lambda one: one.paid_count, key="paid", numeric=True),
            Field(
                "Paid, value",
                lambda one: one.paid_value,
                lambda one: Cell(show_pounds(one.paid_value), nowrap=True),
                numeric=True,
            ),
            Field("Within 30 days", lambda one: one.prompt_count, key="prompt", numeric=True),
            Field(
                "Within 30 days, value",
                lambda one: one.prompt_value,
                lambda one: Cell(show_pounds(one.prompt_value), nowrap=True),
                numeric=True,
            ),
            Field(
                "By number",
                lambda one: percent(one.share_by_count),
                numeric=True,
            ),
            Field("By value", lambda one: percent(one.share_by_value), numeric=True),
            Field("Overdue", lambda one: one.unpaid_overdue_count, key="overdue", numeric=True),
            Field(
                "Overdue, value",
                lambda one: one.unpaid_overdue_value,
                lambda one: Cell(show_pounds(one.unpaid_overdue_value), nowrap=True),
                numeric=True,
            ),
        ),
    )


@blueprint.get("/money/ledger/prompt-payment")
def prompt_payment() -> Answer:
    """Show how promptly accounts pay: the Better Payment Practice Code's two figures."""
    today = london_day(edge().clock())
    month = asked_month(usual=Month.of_day(today))
    end = min(month.end_day, max(month.first_day, today) + timedelta(days=1))
    with edge().database.snapshot() as session:
        rows = debt.prompt_payment(session, first_day=month.first_day, end_day=end)
        payers = queries.payers(session)
    sheet = prompt_sheet(month, payers)
    whole = debt.together(rows)
    return render_template(
        "console/money/prompt.html",
        month=month,
        filters=Form({"month": str(month)}),
        months=month_choices(last=Month.of_day(today)),
        figures=(
            {
                "label": "Paid within 30 days, by number",
                "value": percent(whole.share_by_count),
                "note": f"{whole.prompt_count:,} of {whole.paid_count:,}",
            },
            {
                "label": "By value",
                "value": percent(whole.share_by_value),
                "note": f"{show_pounds(whole.prompt_value)} of {show_pounds(whole.paid_value)}",
            },
            {
                "label": "Overdue at the end",
                "value": show_pounds(whole.unpaid_overdue_value),
                "tone": "warning" if whole.unpaid_overdue_count else "success",
            },
        ),
        listing=sheet.listing(rows, query={"month": str(month)}),
    )
