"""Which column of a bank's file holds what, by the names that banks give."""

import pytest

from billing.payments.bank.csv_file import PLAIN, read_csv_statement
from billing.payments.bank.finding import find_mapping
from billing.payments.bank.model import StatementUnreadable


@pytest.mark.parametrize(
    ("content", "amounts", "who"),
    [
        (
            "Account,12345678\n\nTransaction Date,Transaction Type,Sort Code,Account Number,"
            "Transaction Description,Debit Amount,Credit Amount,Balance\n"
            "20/05/2026,FPI,30-00-00,12345678,UHB PG-1,,120.00,500.00\n"
            "21/05/2026,CHG,30-00-00,12345678,FEES,1.50,,498.50\n",
            ["120.00", "-1.50"],
            "",
        ),
        (
            "Date;Description;Value;Reference\n2026-05-20;UHB;-3.10;x\n",
            ["-3.10"],
            "UHB",
        ),
        ("Date\tName\tPaid in\tPaid out\n20 May 2026\tUHB\t£1,200.00\t\n", ["1200.00"], "UHB"),
    ],
)
def test_the_usual_files_are_read_without_being_told(
    content: str, amounts: list[str], who: str
) -> None:
    raw = content.encode()
    read = read_csv_statement(raw, bank_account="GB33", mapping=find_mapping(raw))
    assert [str(line.amount) for line in read.lines] == amounts
    assert read.lines[0].counterparty == who
    assert read.lines[0].booked_on.isoformat() == "2026-05-20"
    # Our own account number, which many banks print on each line, is no payer's.
    assert read.lines[0].counterparty_account == ""


def test_our_own_format_is_known_whole() -> None:
    assert find_mapping(b"Date,Amount,Reference,Name,Account,Id\n") == PLAIN


def test_a_file_that_names_no_amount_is_refused() -> None:
    with pytest.raises(StatementUnreadable):
        find_mapping(b"Date,Sum total,Who\n20/05/2026,1.00,UHB\n")
