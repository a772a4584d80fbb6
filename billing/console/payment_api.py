"""/api/v1/payments: matching bank lines, and the figures of money in, for the central team.

For people who are signed in: changes carry the token of a form in `X-CSRFToken`.
"""

from datetime import date
from typing import Any

from flask import Blueprint, request

from billing.access.guards import current_principal, permitted
from billing.access.model import Permission
from billing.accounts.queries import payer_by_ods_code
from billing.console.payment_schemas import (
    ConfirmIn,
    DayQuery,
    MonthQuery,
    ReasonIn,
    StatementIn,
    StatementQuery,
    WriteOffIn,
)
from billing.ledger import queries as ledger
from billing.payments import debt, operations, statements
from billing.payments.bank import imports, queries
from billing.payments.bank import operations as bank
from billing.payments.bank.camt import read_camt
from billing.payments.bank.csv_file import PLAIN, CsvMapping, read_csv_statement
from billing.payments.bank.lines import BankLineUnknown
from billing.payments.bank.matching import Suggestion
from billing.payments.bank.model import Statement
from billing.payments.bank.queries import Unmatched
from metering.kit.guards import guard_blueprint, guarded
from metering.kit.web import edge
from metering.periods import london_day

blueprint = Blueprint("payment_api", __name__, url_prefix="/api/v1/payments")
guard_blueprint(blueprint, permitted(Permission.SEE_EVERYTHING))

_MOST_BYTES = 24 * 1024 * 1024
Json = dict[str, Any]


@blueprint.get("/unmatched")
def get_unmatched() -> Json:
    """The bank lines that wait to be matched, each with suggestions, best first."""
    with edge().database.snapshot() as session:
        against = queries.matching_ledger(session)
        lines = queries.unmatched(session)
    return {"lines": [_line(line, queries.suggestions(line, against=against)) for line in lines]}


@blueprint.get("/lines/<line_id>")
def get_line(line_id: str) -> Json:
    """One bank line, what was said of it, and what the rest may be."""
    with edge().database.snapshot() as session:
        line = queries.line(session, bank_line_id=line_id)
        if line is None:
            raise BankLineUnknown(f"No statement has the line {line_id}.")
        uses = queries.uses(session, bank_line_id=line_id)
        found = queries.suggestions(line, against=queries.matching_ledger(session))
    return {
        **_line(line, found),
        "uses": [
            {
                "id": use.id,
                "kind": use.kind,
                "account_id": use.account_id,
                "subject_id": use.subject_id,
                "amount": str(use.amount),
                "made_at": use.made_at.isoformat(),
                "made_by": use.made_by,
                "reason": use.reason,
                "undone_by": use.undone_by,
                "undo_reason": use.undo_reason,
            }
            for use in uses
        ],
    }


@blueprint.post("/statements")
@guarded(permitted(Permission.PREPARE))
def post_statement() -> Json:
    """Import a bank statement; what came before adds nothing."""
    request.max_content_length = _MOST_BYTES
    said = StatementIn().load(request.get_json())
    content = said["content"].encode()
    if said["format"] == "csv":
        mapping = CsvMapping.read(said["columns"]) if said["columns"] else PLAIN
        read: tuple[Statement, ...] = (
            read_csv_statement(content, bank_account=said["bank_account"], mapping=mapping),
        )
    else:
        read = read_camt(content)
    made = []
    with edge().database.transaction() as session:
        for statement in read:
            done = imports.import_statement(
                session,
                statement=statement,
                content=content,
                file_name=said["file_name"],
                principal=current_principal().id,
                now=edge().clock(),
            )
            made.append(
                {
                    "bank_account": statement.bank_account,
                    "added": done.added,
                    "known": done.known,
                }
            )
    return {"statements": made}


@blueprint.post("/lines/<line_id>/confirm")
@guarded(permitted(Permission.PREPARE))
def post_confirm(line_id: str) -> Json:
    """Say whose money a line is and what it pays."""
    said = ConfirmIn().load(request.get_json())
    with edge().database.transaction() as session:
        made = bank.confirm(
            session,
            bank_line_id=line_id,
            shares=said["shares"],
            reason=said["reason"],
            principal=current_principal().id,
            now=edge().clock(),
        )
    return {
        "payments": [
            {
                "id": payment.id,
                "account_id": payment.account_id,
                "amount": str(payment.amount),
                "unallocated": str(payment.amount - payment.allocated - payment.refunded),
            }
            for payment in made
        ]
    }


@blueprint.post("/lines/<line_id>/set-aside")
@guarded(permitted(Permission.PREPARE))
def post_set_aside(line_id: str) -> Json:
    """Say that the rest of a line is about no account."""
    said = ReasonIn().load(request.get_json())
    with edge().database.transaction() as session:
        use = bank.set_aside(
            session,
            bank_line_id=line_id,
            reason=said["reason"],
            principal=current_principal().id,
            now=edge().clock(),
        )
    return {"use_id": use.id, "amount": str(use.amount)}


@blueprint.post("/uses/<use_id>/undo")
@guarded(permitted(Permission.PREPARE))
def post_undo(use_id: str) -> Json:
    """Take back what was said of a line."""
    said = ReasonIn().load(request.get_json())
    with edge().database.transaction() as session:
        line = bank.undo(
            session,
            use_id=use_id,
            reason=said["reason"],
            principal=current_principal().id,
            now=edge().clock(),
        )
    return {"line_id": line.id, "left": str(line.amount - line.identified)}


@blueprint.post("/accounts/<account_id>/invoices/<invoice_id>/write-off")
@guarded(permitted(Permission.APPROVE))
def post_write_off(account_id: str, invoice_id: str) -> Json:
    """Give up a part of a debt; an approver's act."""
    said = WriteOffIn().load(request.get_json())
    with edge().database.transaction() as session:
        made = operations.write_off(
            session,
            account_id=account_id,
            invoice_id=invoice_id,
            amount=said["amount"],
            reason=said["reason"],
            principal=current_principal().id,
            now=edge().clock(),
        )
    return {"allocation_id": made.id, "amount": str(made.amount)}


@blueprint.get("/trial-balance")
def get_trial_balance() -> Json:
    """Every ledger account's balance; a debit is positive."""
    with edge().database.snapshot() as session:
        shown = ledger.trial_balance(session, on=_day())
    return {
        "on": shown.on.isoformat(),
        "balances": {name.value: str(amount) for name, amount in shown.balances.items()},
        "revenue_by_service": {name: str(v) for name, v in shown.revenue_by_service.items()},
        "debits": str(shown.debits),
        "credits": str(shown.credits),
    }


@blueprint.get("/aged-debt")
def get_aged_debt() -> Json:
    """What each account owes by days overdue."""
    with edge().database.snapshot() as session:
        found = debt.aged_debt(session, on=_day())
    return {
        "accounts": [
            {
                "account_id": one.account_id,
                "by_age": {bucket: str(amount) for bucket, amount in one.by_bucket.items()},
                "disputed": str(one.disputed),
                "total": str(one.total),
            }
            for one in found
        ]
    }


@blueprint.get("/statement")
def get_statement() -> Json:
    """An organisation's statement of account."""
    asked = StatementQuery().load(request.args.to_dict())
    with edge().database.snapshot() as session:
        shown = statements.statement_of_account(
            session,
            account_id=payer_by_ods_code(session, ods_code=asked["organisation"]).account.id,
            first_day=asked["first"].first_day,
            end_day=(asked["last"] or asked["first"]).end_day,
        )
    return {
        "opening": str(shown.opening),
        "closing": str(shown.closing),
        "movements": [
            {
                "on": row.movement.on.isoformat(),
                "kind": row.movement.kind,
                "description": row.movement.description,
                "amount": str(row.movement.amount),
                "balance": str(row.balance),
            }
            for row in shown.movements
        ],
        "open_invoices": [
            {
                "number": one.number,
                "due_on": one.due_on.isoformat(),
                "outstanding": str(one.outstanding),
                "disputed": str(one.disputed),
                "days_overdue": one.days_overdue,
            }
            for one in shown.open_invoices
        ],
    }


@blueprint.get("/prompt-payment")
def get_prompt_payment() -> Json:
    """Better Payment Practice figures of a month, by account and together."""
    month = MonthQuery().load(request.args.to_dict())["month"]
    with edge().database.snapshot() as session:
        found = debt.prompt_payment(session, first_day=month.first_day, end_day=month.end_day)
    return {
        "accounts": [_prompt(one) for one in found],
        "together": _prompt(debt.together(found)),
    }


@blueprint.get("/settlement")
def get_settlement() -> Json:
    """What each hosted service earned and is owed for a month."""
    month = MonthQuery().load(request.args.to_dict())["month"]
    with edge().database.snapshot() as session:
        found = statements.supplier_settlement(session, month=month, on=london_day(edge().clock()))
    return {
        "services": [
            {
                "service": one.service,
                "invoiced": str(one.invoiced),
                "credited": str(one.credited),
                "earned": str(one.earned),
                "owed": str(one.owed),
                "collected": str(one.collected),
                "written_off": str(one.written_off),
            }
            for one in found
        ]
    }


def _line(line: Unmatched, suggestions: tuple[Suggestion, ...]) -> Json:
    return {
        "id": line.id,
        "booked_on": line.booked_on.isoformat(),
        "amount": str(line.amount),
        "left": str(line.left),
        "counterparty": line.counterparty,
        "counterparty_account": line.counterparty_account,
        "reference": line.reference,
        "details": line.details,
        "suggestions": [
            {
                "score": one.score,
                "why": one.why,
                "shares": [
                    {
                        "account_id": share.account_id,
                        "invoice_id": share.invoice_id,
                        "amount": str(share.amount),
                    }
                    for share in one.shares
                ],
            }
            for one in suggestions
        ],
    }


def _prompt(one: debt.PromptPayment) -> Json:
    return {
        "account_id": one.account_id,
        "paid": {"number": one.paid_count, "value": str(one.paid_value)},
        "within_30_days": {"number": one.prompt_count, "value": str(one.prompt_value)},
        "overdue": {"number": one.unpaid_overdue_count, "value": str(one.unpaid_overdue_value)},
    }


def _day() -> date:
    asked: date | None = DayQuery().load(request.args.to_dict())["on"]
    return asked or london_day(edge().clock())
