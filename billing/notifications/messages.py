"""What an email says, in the NHS content style: plain words, the facts, what to do next.

Pure. Text and HTML come from the same blocks, so they cannot say different things.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from markupsafe import Markup

from billing.money import show_pounds
from billing.notifications.model import KINDS, without_controls
from metering.periods import Month, show_date

_FONT = "font-family:Arial,sans-serif;font-size:19px;line-height:1.5;color:#212b32"
_PAGE = Markup(
    '<!DOCTYPE html>\n<html lang="en-GB">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width">\n<title>{title}</title>\n</head>\n'
    '<body style="margin:0;padding:24px;background:#ffffff;{font}">\n'
    '<div style="max-width:600px">\n{content}\n</div>\n</body>\n</html>\n'
)
_HEADING = Markup('<h1 style="font-size:26px;line-height:1.25;margin:0 0 16px">{}</h1>')
_PARAGRAPH = Markup('<p style="margin:0 0 16px">{}</p>')
_TABLE = Markup('<table style="border-collapse:collapse;margin:0 0 16px;{font}">{rows}</table>')
_ROW = Markup(
    '<tr><th scope="row" style="text-align:left;padding:8px 24px 8px 0;'
    'border-bottom:1px solid #d8dde0">{}</th>'
    '<td style="padding:8px 0;border-bottom:1px solid #d8dde0">{}</td></tr>'
)
_LINK = Markup('<p style="margin:0 0 16px"><a href="{href}" style="color:#005eb8">{text}</a></p>')


@dataclass(frozen=True)
class Letter:
    """An email's words."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True)
class _Content:
    subject: str
    opening: str
    rows: Sequence[tuple[str, str]]
    next_steps: Sequence[str]


def write(
    kind: str, facts: Mapping[str, Any], *, owner_name: str, public_url: str | None
) -> Letter:
    """Return the email for one notification.

    Args:
        facts: JSON-ready, as `model.checked_facts` returned them.
        owner_name: the account's or the source's.
        public_url: where people sign in to paygo; left out when unknown.
    """
    content = _WRITERS[kind](facts)
    name = without_controls(owner_name, longest=200)
    opening = f"To {name}"
    if KINDS[kind].central:
        opening = "To the central team"
        content = replace(content, rows=[("From", name), *content.rows])
    text = [opening, content.opening]
    html = [_HEADING.format(content.subject), _PARAGRAPH.format(opening)]
    html.append(_PARAGRAPH.format(content.opening))
    if content.rows:
        text.append("\n".join(f"{term}: {value}" for term, value in content.rows))
        rows = Markup("").join(_ROW.format(term, value) for term, value in content.rows)
        html.append(_TABLE.format(font=_FONT, rows=rows))
    for step in content.next_steps:
        text.append(step)
        html.append(_PARAGRAPH.format(step))
    if public_url is not None:
        text.append(f"Sign in to paygo: {public_url}/")
        html.append(_LINK.format(href=f"{public_url}/", text="Sign in to paygo"))
    closing = "This is an automatic email. Nobody reads replies to it."
    text.append(closing)
    html.append(_PARAGRAPH.format(closing))
    return Letter(
        subject=content.subject,
        text="\n\n".join(text) + "\n",
        html=str(_PAGE.format(title=content.subject, font=_FONT, content=Markup("\n").join(html))),
    )


def _money(text: str) -> str:
    return show_pounds(Decimal(text))


def _day(text: str) -> str:
    return show_date(date.fromisoformat(text))


def _month(text: str) -> str:
    return Month.parse(text).name


def _invoice_issued(facts: Mapping[str, Any]) -> _Content:
    credit = facts["document"] == "credit-note"
    noun, article = ("Credit note", "a credit note") if credit else ("Invoice", "an invoice")
    month, total = _month(facts["month"]), _money(facts["total"])
    rows = [("Number", facts["number"]), ("Month", month), ("Total including VAT", total)]
    steps = [f"The {noun.lower()} is attached as a PDF."]
    if "due_on" in facts and not credit:
        rows.append(("Pay by", _day(facts["due_on"])))
        steps.append("Quote the invoice number when you pay.")
    steps.append("If you do not agree with a line, sign in to see the usage behind it or query it.")
    return _Content(
        subject=f"{noun} {facts['number']} for {month}: {total}",
        opening=f"We have issued {article} for your use of nationally hosted services.",
        rows=rows,
        next_steps=steps,
    )


def _invoice_paid(facts: Mapping[str, Any]) -> _Content:
    return _Content(
        subject=f"Invoice {facts['number']} is paid",
        opening="We have received your payment. You do not need to do anything.",
        rows=[
            ("Invoice", facts["number"]),
            ("Total including VAT", _money(facts["total"])),
            ("Paid on", _day(facts["paid_on"])),
        ],
        next_steps=[],
    )


def _invoice_reminder(facts: Mapping[str, Any]) -> _Content:
    number, due, late = facts["number"], _day(facts["due_on"]), facts["days_overdue"]
    rows = [
        ("Invoice", number),
        ("To pay", _money(facts["amount"])),
        ("Due on", due),
    ]
    if Decimal(facts["disputed"]):
        rows.append(("In query, not part of this", _money(facts["disputed"])))
    return _Content(
        subject=f"Invoice {number} is overdue" if late else f"Invoice {number} is due on {due}",
        opening=f"This invoice is {late} days overdue." if late else "Please pay this invoice.",
        rows=rows,
        next_steps=[
            f"Quote {number} when you pay.",
            "If you have paid in the last few days, you do not need to do anything.",
            "If something on the invoice is wrong, raise a query on its page.",
        ],
    )


def _budget_breached(facts: Mapping[str, Any]) -> _Content:
    month, percent = _month(facts["month"]), facts["threshold_percent"]
    forecast = facts["basis"] == "forecast"
    verb = "is forecast to pass" if forecast else "has passed"
    return _Content(
        subject=f"Spending {verb} {percent}% of a budget in {month}",
        opening=f"Your spending {verb} {percent}% of a budget that you set.",
        rows=[
            ("Month", month),
            ("Budget", _money(facts["limit"])),
            ("Forecast" if forecast else "Spent so far", _money(facts["amount"])),
        ],
        next_steps=["Sign in to see which services and meters it comes from."],
    )


def _usage_rejected(facts: Mapping[str, Any]) -> _Content:
    count = facts["rejected"]
    events = "1 usage event" if count == 1 else f"{count:,} usage events"
    return _Content(
        subject=f"{events} from {facts['source']} rejected",
        opening=f"We could not accept {events} from {facts['source']}. We have kept them.",
        rows=[(reason, f"{number:,}") for reason, number in facts["reasons"].items()],
        next_steps=[
            "Usage that is rejected is not invoiced. Sign in to see each reason, put right what "
            "is wrong and replay the events."
        ],
    )


def _dispute_answered(facts: Mapping[str, Any]) -> _Content:
    return _Content(
        subject=f"Your query about invoice {facts['number']} is answered",
        opening="We have answered a query about one of your invoices.",
        rows=[("Invoice", facts["number"]), ("Outcome", facts["outcome"])],
        next_steps=["Sign in to read the answer."],
    )


def _dispute_raised(facts: Mapping[str, Any]) -> _Content:
    number, raised = facts["number"], facts["what"] == "raised"
    rows = [("Invoice", number), ("Disputed, with VAT", _money(facts["amount"]))]
    if "respond_by" in facts:
        rows.append(("Answer by", _day(facts["respond_by"])))
    return _Content(
        subject=f"Invoice {number} is queried" if raised else f"A message about invoice {number}",
        opening="A trust queries one of its invoices."
        if raised
        else "A trust has written about its query of an invoice.",
        rows=rows,
        next_steps=["Sign in to read it under Queries, and to answer."],
    )


def _order_low(facts: Mapping[str, Any]) -> _Content:
    value, used = Decimal(facts["value"]), Decimal(facts["used"])
    spent = used >= value
    return _Content(
        subject=f"Purchase order {facts['order']} is {'used up' if spent else 'running out'}",
        opening=f"Invoices have used {facts['used_percent']}% of a purchase order.",
        rows=[
            ("Purchase order", facts["order"]),
            ("Value without VAT", show_pounds(value)),
            ("Used", show_pounds(used)),
            ("Over by" if spent else "Left", show_pounds(abs(value - used))),
        ],
        next_steps=["Give us a new order, or raise this one, before the next month end."],
    )


def _webhook_paused(facts: Mapping[str, Any]) -> _Content:
    rows = [("Endpoint", facts["endpoint_id"]), ("Failures in a row", f"{facts['failures']:,}")]
    if "last_status" in facts:
        rows.append(("Last answer", f"HTTP {facts['last_status']}"))
    return _Content(
        subject="We have paused a webhook that keeps failing",
        opening="One of your webhook endpoints keeps failing, so we have stopped sending to it.",
        rows=rows,
        next_steps=[
            "We keep what is meant for it. Put the endpoint right, then sign in and resume it."
        ],
    )


_WRITERS: Mapping[str, Callable[[Mapping[str, Any]], _Content]] = {
    "invoice.issued": _invoice_issued,
    "invoice.paid": _invoice_paid,
    "invoice.reminder": _invoice_reminder,
    "budget.breached": _budget_breached,
    "usage.rejected": _usage_rejected,
    "dispute.answered": _dispute_answered,
    "dispute.raised": _dispute_raised,
    "order.low": _order_low,
    "webhook.paused": _webhook_paused,
}
