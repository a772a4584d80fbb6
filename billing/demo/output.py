"""Write what the month issued to a folder: each invoice's PDF and CSVs, and a summary."""

import json
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.demo.month_end import Figures, issued
from billing.demo.usage import Plan
from billing.documents.render import file_name, render_all
from billing.documents.usage_csv import UsageRow
from billing.invoices.model import Invoice
from metering.kit.db import Database
from metering.meters.tables import DimensionSetRow, MeterRow
from metering.organisations.tables import OrganisationRow
from metering.readings.tables import WHOLE_DAY, ReadingRow
from metering.sources.tables import SourceRow

WRITTEN = ("pdf", "lines", "usage")
"""The documents that are written, by their names in `billing.documents.render`."""


def write_documents(
    database: Database, *, run_id: str, folder: Path, progress: Callable[[int, int], None]
) -> int:
    """Write each issued invoice's PDF and CSVs; return how many invoices.

    Files of an earlier run with the same number are the same invoice and are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with database.snapshot() as session:
        invoices = issued(session, run_id=run_id)
    for done, invoice in enumerate(invoices, start=1):
        with database.snapshot() as session:
            documents = render_all(invoice, usage_rows(session, invoice=invoice))
        for name in WRITTEN:
            (folder / file_name(invoice, name)).write_bytes(documents[name])
        progress(done, len(invoices))
    return len(invoices)


def usage_rows(session: Session, *, invoice: Invoice) -> list[UsageRow]:
    """Return the readings behind an invoice, in order of day, service, meter and labels."""
    month = invoice.month
    found = session.execute(
        select(
            ReadingRow.used_on,
            ReadingRow.hour,
            SourceRow.name.label("service"),
            MeterRow.name.label("meter"),
            MeterRow.unit,
            DimensionSetRow.dimensions,
            ReadingRow.quantity,
            ReadingRow.event_count,
        )
        .join(MeterRow, MeterRow.id == ReadingRow.meter_id)
        .join(SourceRow, SourceRow.id == MeterRow.source_id)
        .join(DimensionSetRow, DimensionSetRow.id == ReadingRow.dimension_set_id)
        .join(OrganisationRow, OrganisationRow.id == ReadingRow.subject_id)
        .where(
            OrganisationRow.ods_code == invoice.buyer.ods_code,
            ReadingRow.used_on >= month.first_day,
            ReadingRow.used_on < month.end_day,
        )
        .order_by(
            ReadingRow.used_on, SourceRow.name, MeterRow.name, ReadingRow.hour, DimensionSetRow.id
        )
    )
    return [
        UsageRow(
            day=row.used_on,
            hour=None if row.hour == WHOLE_DAY else row.hour,
            service=row.service,
            meter=row.meter,
            unit=row.unit,
            dimensions=", ".join(f"{name} {value}" for name, value in row.dimensions.items()),
            quantity=row.quantity,
            events=row.event_count,
        )
        for row in found
    ]


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
