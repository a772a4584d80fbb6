"""Invoices add up, keep their sealed words and never mix what VAT keeps apart."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.invoices.model import (
    MOVES,
    Invoice,
    InvoiceKind,
    InvoiceStatus,
    Line,
    LineKind,
    Treatment,
    compose_invoice,
    invoice_number,
    may_move,
    split_by_treatment,
    summarise_vat,
)
from billing.invoices.parties import Party
from billing.invoices.sealing import canonical_content, seal, seal_holds
from metering.periods import Month

SUPPLIER = Party(
    name="NHS England",
    address=("7 and 8 Wellington Place", "Leeds"),
    postcode="LS1 4AP",
    ods_code="X26",
    vat_number="GB654965435",
)
BUYER = Party(
    name="Example Hospitals NHS Trust",
    address=("1 Infirmary Square",),
    postcode="LE1 5WW",
    ods_code="RWE",
)


def line(
    net: str, *, treatment: Treatment = Treatment.STANDARD, rate: str = "20", number: int = 1
) -> Line:
    taxed = treatment is Treatment.STANDARD
    return Line(
        number=number,
        kind=LineKind.USAGE,
        service="Imaging archive",
        meter="Studies archived",
        description="Studies archived",
        quantity=Decimal(21),
        unit="studies",
        net=Decimal(net),
        treatment=treatment,
        vat_rate_percent=Decimal(rate) if taxed else Decimal(0),
        vat_reason=None if taxed else "Stated reason",
        first_day=date(2026, 4, 1),
        end_day=date(2026, 5, 1),
    )


def draft(*lines: Line) -> Invoice:
    return compose_invoice(
        lines=[replace(each, number=number) for number, each in enumerate(lines, start=1)],
        id="inv_example",
        kind=InvoiceKind.INVOICE,
        series="PG",
        status=InvoiceStatus.DRAFT,
        account_id="acc_example",
        supplier=SUPPLIER,
        buyer=BUYER,
        month=Month(2026, 4),
        tax_point=date(2026, 4, 30),
        due_on=date(2026, 6, 4),
    )


def issue(invoice: Invoice, *, previous_seal: str | None = None) -> Invoice:
    named = replace(invoice, number="PG-2627-000001", issued_at=datetime(2026, 5, 5, 9, tzinfo=UTC))
    return replace(
        named,
        status=InvoiceStatus.ISSUED,
        seal=seal(canonical_content(named), previous_seal),
        previous_seal=previous_seal,
    )


pennies = st.integers(-10_000_000, 10_000_000).map(lambda whole: Decimal(whole).scaleb(-2))
taxable_lines = st.builds(
    lambda net, treatment, rate: line(str(net), treatment=treatment, rate=rate),
    pennies,
    st.sampled_from([Treatment.STANDARD, Treatment.ZERO, Treatment.EXEMPT]),
    st.sampled_from(["20", "5"]),
)


@given(st.lists(taxable_lines, min_size=1, max_size=30))
def test_totals_are_the_sums_of_their_parts(lines: list[Line]) -> None:
    invoice = draft(*lines)

    assert invoice.net == sum(each.net for each in lines)
    assert invoice.net == sum(summary.net for summary in invoice.vat_summaries)
    assert invoice.vat == sum(summary.vat for summary in invoice.vat_summaries)
    assert invoice.total == invoice.net + invoice.vat
    for summary in invoice.vat_summaries:
        exact = summary.net * summary.rate_percent / 100
        assert abs(summary.vat - exact) <= Decimal("0.005")


@given(st.lists(taxable_lines, min_size=1, max_size=12))
def test_the_order_of_lines_changes_no_total(lines: list[Line]) -> None:
    there, back = draft(*lines), draft(*reversed(lines))

    assert (there.net, there.vat, there.total) == (back.net, back.vat, back.total)


@given(
    st.lists(
        st.builds(
            lambda net, treatment: line(str(net), treatment=treatment),
            pennies,
            st.sampled_from(Treatment),
        ),
        max_size=20,
    )
)
def test_splitting_by_treatment_loses_nothing_and_mixes_nothing(lines: list[Line]) -> None:
    groups = split_by_treatment(lines)

    assert sum(each.net for group in groups for each in group) == sum(each.net for each in lines)
    for group in groups:
        assert len({each.treatment is Treatment.OUTSIDE_SCOPE for each in group}) == 1
        assert [each.number for each in group] == list(range(1, len(group) + 1))


@pytest.mark.parametrize(
    ("nets", "vat"),
    [
        (("10.03", "10.03", "10.03"), "6.02"),
        (("0.02",) * 5, "0.02"),
        (("33.33", "33.33", "33.34"), "20.00"),
    ],
)
def test_vat_is_rounded_once_on_the_sum_of_lines(nets: tuple[str, ...], vat: str) -> None:
    (summary,) = summarise_vat(line(net) for net in nets)

    assert summary.vat == Decimal(vat)


def test_summaries_come_in_printing_order_and_join_their_reasons() -> None:
    summaries = summarise_vat(
        [
            line("1.00", treatment=Treatment.EXEMPT),
            replace(line("2.00", treatment=Treatment.EXEMPT), vat_reason="Another reason"),
            line("3.00", rate="5"),
            line("4.00"),
        ]
    )

    assert [(each.treatment, each.rate_percent) for each in summaries] == [
        (Treatment.STANDARD, Decimal(20)),
        (Treatment.STANDARD, Decimal(5)),
        (Treatment.EXEMPT, Decimal(0)),
    ]
    assert summaries[-1].reason == "Stated reason; Another reason"


def test_supplies_outside_the_scope_never_share_an_invoice_with_taxed_ones() -> None:
    with pytest.raises(ValueError, match="invoice of their own"):
        draft(line("1.00"), line("1.00", treatment=Treatment.OUTSIDE_SCOPE))


@pytest.mark.parametrize(
    "wrong",
    [
        {"net": Decimal("9.00")},
        {"vat": Decimal("1.00")},
        {"total": Decimal("0.00")},
        {"pool_saving": Decimal("1.00")},
        {"vat_summaries": ()},
        {"lines": ()},
        {"status": InvoiceStatus.ISSUED},
        {"kind": InvoiceKind.CREDIT_NOTE},
        {"supplier": replace(SUPPLIER, vat_number=None)},
    ],
)
def test_an_invoice_that_contradicts_itself_cannot_exist(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        replace(draft(line("10.00")), **wrong)  # type: ignore[arg-type] # wrong on purpose


@pytest.mark.parametrize(
    "wrong",
    [
        {"net": Decimal("0.001")},
        {"end_day": date(2026, 4, 1)},
        {"vat_rate_percent": Decimal(0)},
        {"treatment": Treatment.EXEMPT, "vat_rate_percent": Decimal(0)},
    ],
)
def test_a_line_that_contradicts_itself_cannot_exist(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        replace(line("10.00"), **wrong)  # type: ignore[arg-type] # wrong on purpose


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": " "},
        {"address": ("",)},
        {"vat_number": "654 9654 35"},
        {"gln": "5013987000013"},
        {"gln": "501398700001"},
    ],
)
def test_a_party_that_cannot_be_printed_or_reached_cannot_exist(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        replace(BUYER, **wrong)  # type: ignore[arg-type] # wrong on purpose


def test_a_party_may_have_a_location_number() -> None:
    assert replace(BUYER, gln="5013987000012").gln == "5013987000012"


def test_a_line_prints_its_last_day_inclusive() -> None:
    assert line("1.00").last_day == date(2026, 4, 30)


def test_an_invoice_number_tells_series_and_financial_year() -> None:
    assert invoice_number("PG", 2026, 123) == "PG-2627-000123"
    assert invoice_number("PC", 2099, 1) == "PC-9900-000001"
    with pytest.raises(ValueError, match="start at 1"):
        invoice_number("PG", 2026, 0)
    with pytest.raises(ValueError, match="number series"):
        invoice_number("pg/1", 2026, 1)


def test_a_seal_covers_every_word_and_the_document_before() -> None:
    issued = issue(draft(line("10.00")))

    assert seal_holds(issued)
    assert seal_holds(replace(issued, status=InvoiceStatus.SETTLED))
    assert not seal_holds(replace(issued, due_on=date(2026, 6, 5)))
    assert not seal_holds(replace(issued, buyer=replace(BUYER, name="Another trust")))
    assert not seal_holds(replace(issued, previous_seal="f" * 64))


def test_a_seal_does_not_depend_on_how_a_number_is_stored() -> None:
    as_made = issue(draft(line("10.00")))
    as_read = replace(as_made, lines=(replace(as_made.lines[0], quantity=Decimal("21.000000000")),))

    assert canonical_content(as_read) == canonical_content(as_made)


def test_only_the_stated_moves_are_allowed() -> None:
    assert may_move(InvoiceStatus.DRAFT, InvoiceStatus.ISSUED)
    assert may_move(InvoiceStatus.SETTLED, InvoiceStatus.ISSUED)
    assert not may_move(InvoiceStatus.ISSUED, InvoiceStatus.DRAFT)
    assert not may_move(InvoiceStatus.ISSUED, InvoiceStatus.DISCARDED)
    assert MOVES[InvoiceStatus.DISCARDED] == frozenset()


def test_a_credit_note_lowers_what_is_owed() -> None:
    invoice = draft(line("10.00"))
    credit = replace(
        invoice,
        kind=InvoiceKind.CREDIT_NOTE,
        credits_number="PG-2627-000001",
        credit_reason="Usage withdrawn",
    )

    assert invoice.owed == Decimal("12.00")
    assert credit.owed == Decimal("-12.00")
