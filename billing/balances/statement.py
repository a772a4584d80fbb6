"""A counterparty's statement on paper; the same bytes every time."""

from datetime import UTC, timedelta
from typing import Any

from billing.balances.queries import AgreedBalance
from billing.documents.glyphs import printable
from billing.documents.pdf import party_words
from billing.documents.typesetting import typeset
from billing.invoices.parties import Party
from billing.money import show_pounds
from metering.periods import financial_year_label, london_midnight, show_date


def balance_figures(one: AgreedBalance) -> list[tuple[str, str, str]]:
    """Return what is agreed as name, note and amount in words, on paper and on pages."""
    year = financial_year_label(one.month.financial_year)
    return [
        (
            "Owed to us on open invoices",
            "Your payable, with VAT",
            show_pounds(one.receivable),
        ),
        ("Of it disputed", "Queried by you at the month’s end", show_pounds(one.disputed)),
        (
            "Payments and credit notes not set against an invoice",
            "Taken off what you owe",
            show_pounds(one.credit),
        ),
        ("Balance", "Owed less credit, with VAT", show_pounds(one.balance)),
        (
            "Used and not invoiced",
            "Your accrual, without VAT",
            show_pounds(one.accrued),
        ),
        (
            f"Invoiced in {year}",
            f"Our income and your expenditure from April to {one.month.name}, credit notes "
            "taken off, without VAT and without what is accrued",
            show_pounds(one.income),
        ),
    ]


def balance_title(one: AgreedBalance) -> str:
    """Return the period: `M9, December 2026`."""
    return f"M{one.month.financial_month}, {one.month.name}"


def balance_file_stem(one: AgreedBalance) -> str:
    """Return the name of its files: `RWE-balances-2026-12`."""
    return f"{one.ods_code}-balances-{one.month}"


def balance_pdf(one: AgreedBalance, *, supplier: Party, buyer: Party) -> bytes:
    """Return the statement as PDF, with room for the answer."""
    on = one.month.end_day - timedelta(days=1)
    page: dict[str, Any] = {
        "title": f"Agreement of balances, {balance_title(one)}, {printable(one.name)}",
        "reference": f"Agreement of balances {one.ods_code} {one.month}",
        "period": balance_title(one),
        "supplier": party_words(supplier, vat=False),
        "buyer": party_words(buyer, vat=False),
        "facts": [
            ["Balances at the end of", show_date(on)],
            ["Financial year", financial_year_label(one.month.financial_year)],
            ["Our ODS code", printable(supplier.ods_code)],
            ["Your ODS code", printable(one.ods_code)],
            ["Currency", "Pounds sterling"],
        ],
        "figures": [
            {"name": name, "note": printable(note), "amount": amount}
            for name, note, amount in balance_figures(one)
        ],
        "invoices": [
            {
                "number": debt.number,
                "issued": show_date(debt.issued_on),
                "due": show_date(debt.due_on),
                "total": show_pounds(debt.total),
                "open": show_pounds(debt.outstanding),
                "disputed": show_pounds(debt.disputed) if debt.disputed else "",
            }
            for debt in one.invoices
        ],
        "open_total": show_pounds(one.receivable),
        "disputed_total": show_pounds(one.disputed) if one.disputed else "",
        "attachments": [],
    }
    made = london_midnight(one.month.end_day).astimezone(UTC)
    return typeset("balance.typ", page, timestamp=made)
