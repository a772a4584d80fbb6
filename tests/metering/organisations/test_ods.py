"""Files of organisations as ODS publishes them."""

from datetime import date

import pytest

from metering.kit.privacy import SENTENCE
from metering.organisations.ods import Listed, OdsFileInvalid, read_ods_file

_ROW = (
    '"RWE","UNIVERSITY HOSPITALS OF LEICESTER NHS TRUST","Y60","QK1","INFIRMARY SQUARE","","",'
    '"LEICESTER","","LE1 5WW","20000401","","","","","","","","","","","","","","","",""'
)


def test_a_file_without_a_header_is_read_by_position() -> None:
    closed = _ROW.replace('"RWE"', '"RZZ"').replace('"20000401",""', '"20000401","20260331"')
    first, second = read_ods_file(f"{_ROW}\r\n{closed}\r\n".encode())
    name = "UNIVERSITY HOSPITALS OF LEICESTER NHS TRUST"
    assert first == Listed("RWE", name, "LE1 5WW", date(2000, 4, 1), None)
    # The file says the last day, we the first on which it is gone.
    assert second.closed_from == date(2026, 4, 1)


def test_a_header_names_the_columns_in_any_order() -> None:
    content = "\ufeffname,close date,code\nLeeds Teaching Hospitals,2026-06-30,RR8\n"
    (found,) = read_ods_file(content.encode())
    assert found == Listed("RR8", "Leeds Teaching Hospitals", None, None, date(2026, 7, 1))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "The file has no row."),
        ("name,town\nLeeds,Leeds\n", "The header has no column 'code'."),
        ("code,name\nrr8,Leeds\n", "'rr8' is not an ODS code: 3 to 10 capital letters and digits."),
        ("code,name\nRR8,\n", "RR8 has no name."),
        ("code,name,open_date\nRR8,Leeds,soon\n", "'soon' is not a date like 20260401."),
        ("code,name\nRR8,Ward of 943 476 5919\n", SENTENCE),
        ("code,name\n9434765919,Leeds\n", SENTENCE),
        ("code,name,postcode\nRR8,Leeds,9434765919\n", SENTENCE),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_whole(content: str, says: str) -> None:
    with pytest.raises(OdsFileInvalid) as caught:
        read_ods_file(content.encode())
    assert says in [caught.value.detail, *(fault.detail for fault in caught.value.errors)]
    assert all(fault.pointer == "/2" for fault in caught.value.errors)
