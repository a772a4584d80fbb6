"""What the pages of invoices show: frozen, worded, added up."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Any
from urllib.parse import quote, urlencode

from billing.documents.render import DOCUMENTS
from billing.documents.words import show_vat_number
from billing.forms import Form
from billing.invoices.tables import InvoiceLineRow, InvoiceRow
from billing.listing import Asked, Cell, Column, Listing
from billing.money import NOUGHT, show_pounds, sum_pounds
from billing.portal.account import OpenAccount
from billing.portal.invoice_queries import (
    Document,
    InvoiceFilter,
    InvoiceSummary,
    IssuedInvoice,
    Owing,
    RelatedInvoice,
)
from billing.portal.words import (
    plural,
    show_number,
    show_size,
    show_span,
    show_treatment,
    show_unit_price,
)
from metering.periods import Month, financial_year_label, london_day, show_date

PAGE_SIZE = 25
STANDINGS = (
    ("", "All"),
    ("to-pay", "To pay"),
    ("overdue", "Overdue"),
    ("paid", "Paid"),
    ("credit", "Credit notes"),
)


@dataclass(frozen=True)
class Figure:
    """A large number at the top of a page."""

    label: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Tag:
    """A state in a word and its colour."""

    text: str
    colour: str


@dataclass(frozen=True)
class Link:
    """Where a click leads; `hidden` says more to a screen reader."""

    text: str
    href: str
    hidden: str = ""


@dataclass(frozen=True)
class InvoicesPage:
    """The list of invoices and what is owed."""

    account: OpenAccount
    figures: tuple[Figure, ...]
    form: Form
    standings: tuple[tuple[str, str], ...]
    years: tuple[tuple[str, str], ...]
    is_filtered: bool
    listing: Listing
    csv_href: str


@dataclass(frozen=True)
class WorkingStep:
    """A step of a working in words; `behind` says how the shared amount in it came about."""

    text: str
    behind: tuple[str, ...] = ()


@dataclass(frozen=True)
class LineView:
    """A line as it stands on the page, and what unfolds under it."""

    number: int
    description: str
    detail: tuple[str, ...]
    quantity: str
    price: str
    vat: str
    net: str
    working: tuple[WorkingStep, ...]
    saving: str
    usage_href: str | None
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LineGroup:
    """The lines of one service, and what they come to without VAT."""

    service: str
    lines: tuple[LineView, ...]
    net: str


@dataclass(frozen=True)
class VatView:
    """One row of the VAT summary."""

    treatment: str
    reason: str
    net: str
    vat: str


@dataclass(frozen=True)
class Download:
    """A document to download."""

    title: str
    href: str
    format_and_size: str


@dataclass(frozen=True)
class InvoicePage:
    """One invoice or credit note."""

    account: OpenAccount
    kind: str
    number: str
    month: str
    tag: Tag
    figures: tuple[Figure, ...]
    facts: tuple[tuple[str, str], ...]
    groups: tuple[LineGroup, ...]
    vat_rows: tuple[VatView, ...]
    net: str
    vat: str
    total: str
    total_label: str
    pay_to: tuple[tuple[str, str], ...]
    buyer: tuple[str, ...]
    supplier: tuple[str, ...]
    notes: tuple[str, ...]
    downloads: tuple[Download, ...]
    related: tuple[Link, ...]
    seal: str


def standing_tag(*, kind: str, status: str, due_on: date | None, today: date) -> Tag:
    """Return where an issued invoice stands, in a word."""
    if kind == "credit-note":
        return Tag("Used", "green") if status == "settled" else Tag("Credit", "aqua-green")
    if status == "settled":
        return Tag("Paid", "green")
    if due_on is not None and due_on < today:
        return Tag("Overdue", "red")
    return Tag("To pay", "blue")


def owing_figures(owing: Owing) -> tuple[Figure, ...]:
    """Return what is owed, for the top of a page."""
    due = f", next by {show_date(owing.next_due_on)}" if owing.next_due_on else ""
    figures = [
        Figure(
            "To pay",
            show_pounds(owing.to_pay),
            f"{plural(owing.invoices, 'invoice')}{due}" if owing.invoices else "Nothing to pay",
        ),
        Figure(
            "Overdue",
            show_pounds(owing.overdue),
            plural(owing.overdue_invoices, "invoice")
            if owing.overdue_invoices
            else "Nothing overdue",
            "warning" if owing.overdue_invoices else "success",
        ),
    ]
    if owing.credits:
        figures.append(Figure("Credit to use", show_pounds(owing.credits), "On credit notes"))
    return tuple(figures)


def invoices_page(
    *,
    account: OpenAccount,
    path: str,
    found: Sequence[InvoiceSummary],
    total: int,
    owing: Owing,
    years: Iterable[int],
    wanted: InvoiceFilter,
    asked: Asked,
    today: date,
) -> InvoicesPage:
    """Return the list of invoices."""
    query = {
        "status": wanted.standing,
        "year": "" if wanted.financial_year is None else str(wanted.financial_year),
        "search": wanted.search,
    }
    kept = {name: value for name, value in query.items() if value}
    rows = []
    for item in found:
        tag = standing_tag(kind=item.kind, status=item.status, due_on=item.due_on, today=today)
        rows.append(
            (
                Cell(item.number, href=f"{path}/{quote(item.id)}"),
                Cell(Month.of_day(item.month).name),
                Cell(show_date(london_day(item.issued_at))),
                Cell(
                    show_date(item.due_on)
                    if item.due_on is not None and item.kind == "invoice"
                    else "–"
                ),
                Cell(tag.text, colour=tag.colour),
                Cell(show_pounds(item.total)),
            )
        )
    order = {"sort": asked.sort, "direction": asked.direction}
    return InvoicesPage(
        account=account,
        figures=owing_figures(owing),
        form=Form(query),
        standings=STANDINGS,
        years=(("", "All"), *((str(year), financial_year_label(year)) for year in years)),
        is_filtered=bool(kept),
        listing=Listing(
            caption="Invoices and credit notes",
            caption_hidden=True,
            columns=(
                Column("Number", "number"),
                Column("For", "month"),
                Column("Issued", "issued"),
                Column("Due", "due"),
                Column("Status"),
                Column("Total with VAT", "total", numeric=True),
            ),
            rows=tuple(rows),
            path=path,
            query=kept,
            sort=asked.sort,
            direction=asked.direction,
            page=asked.page,
            page_size=PAGE_SIZE,
            total=total,
            empty=(
                "No invoice matches. Change the filters or clear them."
                if kept
                else "There are no invoices yet. They are issued after the end of each month; "
                "until then, see what this month has come to so far on the overview."
            ),
        ),
        csv_href=f"{path}.csv?{urlencode(kept | order)}",
    )


def invoice_page(
    *, account: OpenAccount, path: str, issued: IssuedInvoice, today: date
) -> InvoicePage:
    """Return one invoice; `path` is the address of the account's list of invoices."""
    row, content = issued.row, issued.row.content
    credit_note = row.kind == "credit-note"
    printed = {int(line["number"]): line for line in content.get("lines", ())}
    tag = standing_tag(kind=row.kind, status=row.status, due_on=row.due_on, today=today)
    lines = [
        (
            str(printed.get(line.number, {}).get("service") or line.tariff_code),
            line,
            _line(line, printed.get(line.number, {}), account),
        )
        for line in issued.lines
    ]
    groups = []
    for service, members in groupby(lines, key=lambda item: item[0]):
        group = list(members)
        groups.append(
            LineGroup(
                service,
                tuple(view for _, _, view in group),
                show_pounds(sum_pounds([line.net for _, line, _ in group])),
            )
        )
    return InvoicePage(
        account=account,
        kind="Credit note" if credit_note else "Invoice",
        number=row.number or "",
        month=Month.of_day(row.month).name,
        tag=tag,
        figures=_figures(row, tag),
        facts=_facts(row, content),
        groups=tuple(groups),
        vat_rows=tuple(
            VatView(
                show_treatment(item["treatment"], Decimal(item["rate_percent"])),
                str(item.get("reason") or ""),
                show_pounds(_pounds(item["net"])),
                show_pounds(_pounds(item["vat"])),
            )
            for item in content.get("vat_summaries", ())
        ),
        net=show_pounds(row.net),
        vat=show_pounds(row.vat),
        total=show_pounds(row.total),
        total_label="Total credited" if credit_note else "Total with VAT",
        pay_to=_pay_to(content.get("pay_to") or {}, row.number or ""),
        buyer=_party(content.get("buyer") or {}),
        supplier=_party(content.get("supplier") or {}),
        notes=tuple(str(note) for note in content.get("notes", ())),
        downloads=_downloads(issued.documents, path=f"{path}/{quote(row.id)}"),
        related=_related(issued, path),
        seal=row.seal or "",
    )


def _pounds(text: str) -> Decimal:
    # Canonical JSON drops trailing noughts; adding nought pence puts them back.
    return Decimal(text) + NOUGHT


def _figures(row: InvoiceRow, tag: Tag) -> tuple[Figure, ...]:
    figures = []
    if row.kind == "credit-note":
        figures.append(Figure("Credited to you", show_pounds(row.total), "With VAT"))
    elif row.status == "settled":
        figures.append(Figure("Paid", show_pounds(row.total), "With VAT", "success"))
    else:
        due = f"By {show_date(row.due_on)}" if row.due_on else ""
        figures.append(
            Figure("To pay", show_pounds(row.total), due, "warning" if tag.colour == "red" else "")
        )
    if row.pool_saving > 0:
        figures.append(
            Figure(
                "Saved by the national pool",
                show_pounds(row.pool_saving),
                "Less than you would have paid alone, without VAT",
                "success",
            )
        )
    return tuple(figures)


def _facts(row: InvoiceRow, content: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    facts = [("For usage in", Month.of_day(row.month).name)]
    if row.issued_at is not None:
        facts.append(("Issued", show_date(london_day(row.issued_at))))
    if row.tax_point is not None:
        facts.append(("Tax point", show_date(row.tax_point)))
    if row.kind == "credit-note":
        facts.append(("Reason", str(content.get("credit_reason") or "")))
        return tuple(facts)
    if row.due_on is not None:
        facts.append(("Due", show_date(row.due_on)))
    order = content.get("purchase_order") or {}
    number = str(order.get("number") or row.purchase_order or "No purchase order given")
    if order.get("remaining") is not None:
        left = show_pounds(_pounds(order["remaining"]))
        number += f" ({left} left on it before this invoice)"
    facts.append(("Purchase order", number))
    return tuple(facts)


def _line(line: InvoiceLineRow, printed: Mapping[str, Any], account: OpenAccount) -> LineView:
    quantity, unit = printed.get("quantity"), str(printed.get("unit") or "")
    unit_price = printed.get("unit_price")
    dimensions = str(printed.get("dimensions") or "")
    saving = line.pool_saving
    facts = [
        ("Dates", show_span(line.first_on, line.end_on)),
        ("VAT", show_treatment(line.vat_treatment, line.vat_rate_percent)),
    ]
    for label, name in (
        ("Why no VAT is charged", "vat_reason"),
        ("Contracted-out services heading", "cos_heading"),
        ("Cost centre", "cost_centre"),
        ("Subjective code", "subjective_code"),
    ):
        if printed.get(name):
            facts.append((label, str(printed[name])))
    if line.charge_id:
        facts.append(("Charge", line.charge_id))
    return LineView(
        number=line.number,
        description=line.description,
        detail=tuple(
            part
            for part in (
                dimensions,
                "" if unit_price is not None else str(printed.get("price_words") or ""),
                # A correction is about other days than the rest of the invoice.
                show_span(line.first_on, line.end_on) if line.kind == "correction" else "",
            )
            if part
        ),
        quantity="–" if quantity is None else f"{show_number(Decimal(quantity))} {unit}".strip(),
        price=(
            show_unit_price(Decimal(unit_price))
            if unit_price is not None
            else "See working"
            if quantity is not None
            else "–"
        ),
        vat=f"{show_number(line.vat_rate_percent)}%" if line.vat_rate_percent else "None",
        net=show_pounds(line.net),
        working=tuple(_step(step) for step in line.working if step.get("text")),
        saving="" if saving is None or saving <= 0 else show_pounds(saving),
        usage_href=_usage_href(line, account),
        facts=tuple(facts),
    )


def _step(step: Mapping[str, Any]) -> WorkingStep:
    joint = step.get("joint_working")
    # Written once for all members: an object with its own text, or a list of such steps.
    parts = joint if isinstance(joint, list) else [joint]
    return WorkingStep(
        str(step["text"]),
        tuple(str(part["text"]) for part in parts if isinstance(part, dict) and part.get("text")),
    )


def _usage_href(line: InvoiceLineRow, account: OpenAccount) -> str | None:
    if not line.meter:
        return None
    query = [("meter", line.meter), ("month", str(Month.of_day(line.first_on)))]
    query += [("where", f"{name}:{value}") for name, value in sorted(line.dimensions.items())]
    return f"/portal/{quote(account.code)}/usage?{urlencode(query)}"


def _pay_to(bank: Mapping[str, Any], number: str) -> tuple[tuple[str, str], ...]:
    if not bank:
        return ()
    rows = (
        ("Account name", bank.get("account_name")),
        ("Bank", bank.get("bank_name")),
        ("Sort code", bank.get("sort_code")),
        ("Account number", bank.get("account_number")),
        ("IBAN", bank.get("iban")),
        ("BIC", bank.get("bic")),
        ("Reference", number),
    )
    return tuple((label, str(value)) for label, value in rows if value)


def _party(party: Mapping[str, Any]) -> tuple[str, ...]:
    vat_number = party.get("vat_number")
    parts = (
        party.get("name"),
        *party.get("address", ()),
        party.get("postcode"),
        f"VAT number {show_vat_number(str(vat_number))}" if vat_number else None,
        party.get("email"),
    )
    return tuple(str(part) for part in parts if part)


def _downloads(documents: Iterable[Document], *, path: str) -> tuple[Download, ...]:
    made = {document.name: document for document in documents}
    return tuple(
        Download(
            kind.title,
            f"{path}/documents/{name}",
            f"{kind.suffix.rpartition('.')[2].upper()}, {show_size(made[name].size)}",
        )
        for name, kind in DOCUMENTS.items()
        if name in made
    )


def _related(issued: IssuedInvoice, path: str) -> tuple[Link, ...]:
    def link(words: str, other: RelatedInvoice) -> Link:
        return Link(f"{words} {other.number}", f"{path}/{quote(other.id)}")

    links = [link("Credits invoice", issued.credits)] if issued.credits else []
    return (
        *links,
        *(
            link(f"{show_pounds(other.total)} credited by credit note", other)
            for other in issued.credit_notes
        ),
    )
