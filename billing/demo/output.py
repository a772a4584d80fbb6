"""Write what the month issued to a folder: each invoice's PDF and CSVs, and a summary."""

import json
from pathlib import Path

from sqlalchemy import select

from billing.demo.month_end import Figures, issued
from billing.demo.usage import Plan
from billing.documents.render import file_name
from billing.invoices.tables import DocumentRow
from metering.kit.db import Database

WRITTEN = ("pdf", "lines", "usage")
"""The documents that are written, by their names in `billing.documents.render`."""


def write_documents(database: Database, *, run_id: str, folder: Path) -> int:
    """Write the kept PDF and CSVs of each issued invoice; return how many files.

    Files of an earlier run with the same number are the same invoice and are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    with database.snapshot() as session:
        for invoice in issued(session, run_id=run_id):
            documents = session.execute(
                select(DocumentRow.name, DocumentRow.content).where(
                    DocumentRow.invoice_id == invoice.id, DocumentRow.name.in_(WRITTEN)
                )
            )
            for name, content in documents:
                (folder / file_name(invoice, name)).write_bytes(content)
                written += 1
    return written


def write_summary(folder: Path, *, plan: Plan, figures: Figures) -> None:
    """Write `summary.json`: what the terminal says, for programs."""
    summary = {
        "month": str(plan.month),
        "trusts_billed": figures.trusts_billed,
        "events": figures.events,
        "net": str(figures.net),
        "vat": str(figures.vat),
        "total": str(figures.total),
        "pool_saving": str(figures.pool_saving),
        "recomputed_net": str(figures.recomputed_net),
        "conserved": figures.conserved,
        "prices": [
            {
                "tariff": check.tariff,
                "price": check.price,
                "quantity": str(check.quantity_invoiced),
                "quantity_from_events": str(check.quantity_from_events),
                "net": str(check.invoiced),
                "net_from_events": str(check.from_events),
            }
            for check in figures.checks
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
