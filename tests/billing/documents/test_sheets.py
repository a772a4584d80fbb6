"""CSV opens safely in a spreadsheet and loses no digit."""

import csv
import io
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.documents.lines_csv import lines_csv
from billing.documents.sheet import safe_cell, write_sheet
from billing.documents.usage_csv import usage_csv
from tests.billing.documents import samples


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize(
    "formula",
    ["=1+1", "+SUM(A1)", "-cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1", "\n=1", " =1", "＝1"],
)
def test_a_formula_becomes_text(formula: str) -> None:
    assert safe_cell(formula).startswith("'")


@given(st.text(max_size=40))
def test_no_text_is_ever_run_as_a_formula(text: str) -> None:
    cell = safe_cell(text)

    if cell[:1] in set("=+-@\t\r\n"):
        Decimal(cell)  # only numbers may begin so; anything else raises here


@pytest.mark.parametrize("number", ["-3.00", "+5", "-0.5", "12"])
def test_numbers_stay_numbers(number: str) -> None:
    assert safe_cell(number) == number


def test_values_are_written_exactly() -> None:
    assert safe_cell(Decimal("-1.500000000")) == "-1.5"
    assert safe_cell(Decimal("1E+3")) == "1000"
    assert safe_cell(date(2026, 4, 1)) == "2026-04-01"
    assert safe_cell(None) == ""


def test_a_file_for_people_has_a_mark_and_one_for_programs_has_none() -> None:
    assert write_sheet(["a"], [["é,"]], for_people=True) == '\ufeffa\r\n"é,"\r\n'.encode()
    assert write_sheet(["a"], [["é"]], for_people=False) == "a\r\né\r\n".encode()


def test_a_row_that_does_not_fit_its_header_is_refused() -> None:
    with pytest.raises(ValueError, match="2 cells under a header of 1"):
        write_sheet(["a"], [["1", "2"]], for_people=True)


def test_the_lines_add_up_to_the_invoice() -> None:
    invoice = samples.standard_invoice()

    rows = rows_of(lines_csv(invoice))

    assert sum(Decimal(row["Net (GBP)"]) for row in rows) == invoice.net
    assert rows[3]["Net (GBP)"] == "-12.34"
    assert rows[1]["First day"] == "2026-04-01"
    assert rows[1]["Last day"] == "2026-04-30"
    assert rows[1]["Quantity"] == "2481"


def test_a_hostile_description_is_only_text() -> None:
    invoice = samples.compose(samples.line(description='=HYPERLINK("http://example.org")'))

    (row,) = rows_of(lines_csv(invoice))

    assert row["Description"] == '\'=HYPERLINK("http://example.org")'


def test_usage_is_read_once_and_written_in_order() -> None:
    readings = [row._replace(hour=7) for row in samples.usage()]

    rows = rows_of(usage_csv(iter(readings)))

    assert [row["Day"] for row in rows] == [row.day.isoformat() for row in readings]
    assert sum(Decimal(row["Quantity"]) for row in rows) == Decimal("232.5")
    assert rows[0]["Hour"] == "7"
