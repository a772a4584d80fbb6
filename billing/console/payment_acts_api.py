"""/api/v1/payments, the rest: refunds, what outgoing lines are, schedules, refused calls.

Kept beside `payment_api`, on the same blueprint and under the same guards.
"""

from flask import Flask, request

from billing.access.guards import current_principal, permitted
from billing.access.model import Permission
from billing.accounts.queries import AccountUnknown
from billing.console import money_queries as queries
from billing.console.payment_api import Json, blueprint
from billing.console.payment_schemas import OutgoingIn, RefundIn, ScheduleIn
from billing.payments import calls, refunds, reminders
from billing.payments.bank import operations as bank
from billing.payments.bank import outgoing
from billing.payments.bank import queries as bank_queries
from billing.payments.bank.lines import BankLineUnknown
from billing.payments.tables import RefundRow
from metering.kit.guards import guarded
from metering.kit.web import edge

PREPARES = permitted(Permission.PREPARE)


def _refund(row: RefundRow) -> Json:
    return {
        "id": row.id,
        "account_id": row.account_id,
        "payment_id": row.payment_id,
        "credit_note_id": row.credit_note_id,
        "amount": str(row.amount),
        "via": row.via,
        "status": row.status,
        "reason": row.reason,
        "requested_at": row.requested_at.isoformat(),
    }


@blueprint.get("/refunds")
def get_refunds() -> Json:
    """The refunds, latest first."""
    with edge().database.snapshot() as session:
        return {"refunds": [_refund(row) for row in queries.refunds(session)]}


@blueprint.post("/accounts/<account_id>/refunds")
@guarded(PREPARES)
def post_refund(account_id: str) -> Json:
    """Set money aside to be given back, by the way it came."""
    said = RefundIn().load(request.get_json())
    with edge().database.transaction() as session:
        row = refunds.request_refund(
            session,
            account_id=account_id,
            principal=current_principal().id,
            now=edge().clock(),
            **said,
        )
    return _refund(row)


@blueprint.post("/accounts/<account_id>/refunds/<refund_id>/cancel")
@guarded(PREPARES)
def post_cancel_refund(account_id: str, refund_id: str) -> Json:
    """Let a refund that has not left us not be sent."""
    with edge().database.transaction() as session:
        row = refunds.cancel_refund(
            session,
            account_id=account_id,
            refund_id=refund_id,
            principal=current_principal().id,
            now=edge().clock(),
        )
    return _refund(row)


@blueprint.post("/lines/<line_id>/explain")
@guarded(PREPARES)
def post_explain(line_id: str) -> Json:
    """Say that a line is a payout, a refund, one that came back, or a payment taken back."""
    said = OutgoingIn().load(request.get_json())
    kind, account_id, subject_id = said["kind"], said["account_id"], said["subject_id"]
    principal, now = current_principal().id, edge().clock()
    with edge().database.transaction() as session:
        if kind == "payout":
            bank.confirm_payout(session, bank_line_id=line_id, principal=principal, now=now)
        else:
            outgoing.explain(
                session,
                kind=kind,
                bank_line_id=line_id,
                account_id=account_id,
                subject_id=subject_id,
                reason=said["reason"],
                principal=principal,
                now=now,
            )
        line = bank_queries.line(session, bank_line_id=line_id)
        if line is None:
            raise BankLineUnknown(f"No statement has the line {line_id}.")
    return {"line_id": line_id, "left": str(line.left)}


@blueprint.get("/accounts/<account_id>/reminder-schedule")
def get_schedule(account_id: str) -> Json:
    """On which days after the due date an account is reminded."""
    with edge().database.snapshot() as session:
        if account_id not in queries.payers(session):
            raise AccountUnknown(f"There is no account {account_id}.")
        return {"days": list(reminders.schedule_of(session, account_id=account_id))}


@blueprint.put("/accounts/<account_id>/reminder-schedule")
@guarded(PREPARES)
def put_schedule(account_id: str) -> Json:
    """Set on which days an account is reminded; none at all means never."""
    said = ScheduleIn().load(request.get_json())
    with edge().database.transaction() as session:
        if account_id not in queries.payers(session):
            raise AccountUnknown(f"There is no account {account_id}.")
        days = reminders.set_schedule(
            session,
            account_id=account_id,
            days=said["days"],
            principal=current_principal().id,
            now=edge().clock(),
        )
    return {"days": list(days)}


@blueprint.get("/stripe/refused-calls")
def get_refused_calls() -> Json:
    """The calls that Stripe refused and that wait for a person, oldest first."""
    with edge().database.snapshot() as session:
        rows = calls.refused(session)
    return {
        "calls": [
            {
                "id": row.id,
                "account_id": row.account_id,
                "action": row.action,
                "subject_id": row.subject_id,
                "error": row.error,
                "first_tried_at": row.first_tried_at.isoformat(),
            }
            for row in rows
        ]
    }


@blueprint.post("/accounts/<account_id>/stripe/calls/<call_id>/allow")
@guarded(PREPARES)
def post_allow_call(account_id: str, call_id: str) -> Json:
    """Let a refused call be tried again, once its cause was put right."""
    with edge().database.transaction() as session:
        row = calls.allow_again(
            session,
            account_id=account_id,
            call_id=call_id,
            principal=current_principal().id,
            now=edge().clock(),
        )
    return {"id": row.id, "status": row.status}


def register(app: Flask) -> None:
    """Add the whole payments API to `app`."""
    app.register_blueprint(blueprint)
