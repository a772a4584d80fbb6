"""Reading bank statements and remittance advices: what they say, and what is refused."""

from datetime import date
from decimal import Decimal

import pytest

from billing.payments.bank.camt import read_camt
from billing.payments.bank.csv_file import (
    PLAIN,
    CsvMapping,
    read_csv_remittance,
    read_csv_statement,
)
from billing.payments.bank.model import (
    StatementLine,
    StatementRefused,
    StatementUnreadable,
    line_keys,
    read_amount,
)

OURS = "GB33BUKB20201555555555"


def _csv(text: str, mapping: CsvMapping = PLAIN) -> tuple[StatementLine, ...]:
    return read_csv_statement(text.encode(), bank_account=OURS, mapping=mapping).lines


def camt(
    entries: str, *, opening: str = "100.00", closing: str = "220.00", version: int = 8
) -> bytes:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version:02d}"><BkToCstmrStmt>
<GrpHdr><MsgId>1</MsgId></GrpHdr><Stmt><Id>S1</Id><Acct><Id><IBAN>{OURS}</IBAN></Id></Acct>
<Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="GBP">{opening}</Amt>
<CdtDbtInd>CRDT</CdtDbtInd></Bal>
<Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy="GBP">{closing}</Amt>
<CdtDbtInd>CRDT</CdtDbtInd></Bal>
{entries}</Stmt></BkToCstmrStmt></Document>""".encode()


ENTRY = """<Ntry><Amt Ccy="GBP">120.00000</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>
<BookgDt><Dt>2026-05-20</Dt></BookgDt><AcctSvcrRef>A1</AcctSvcrRef><NtryDtls><TxDtls>
<Refs><EndToEndId>E2E-7</EndToEndId></Refs><RltdPties><Dbtr><Pty><Nm>LEICESTER NHS</Nm></Pty></Dbtr>
<DbtrAcct><Id><IBAN>GB94BARC10201530093459</IBAN></Id></DbtrAcct></RltdPties>
<RmtInf><Ustrd>PG-2627-000001</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>"""


def test_a_csv_after_a_preamble_with_signed_amounts() -> None:
    lines = _csv(
        "Statement of account\r\n\r\nDate,Amount,Reference,Name,Account,Id\r\n"
        '20/05/2026,"1,234.50",PG-2627-000001,Leicester,20-30-40 12345678,B1\r\n'
        "21/05/2026,-3.00,Charge,,,B2\r\n22/05/2026,,Balance only,,,\r\n"
    )

    assert [(line.booked_on, line.amount, line.bank_reference) for line in lines] == [
        (date(2026, 5, 20), Decimal("1234.50"), "B1"),
        (date(2026, 5, 21), Decimal("-3.00"), "B2"),
    ]
    assert lines[0].counterparty == "Leicester"


def test_a_csv_with_money_in_and_out_in_two_columns() -> None:
    mapping = CsvMapping.read(
        {
            "date": "Posted",
            "paid_in": "Credit",
            "paid_out": "Debit",
            "details": "Narrative",
            "date_format": "%Y-%m-%d",
            "delimiter": ";",
        }
    )

    lines = _csv(
        "posted;narrative;DEBIT;credit\n2026-05-20;BACS X;;5.00\n2026-05-21;Y;7.10;\n", mapping
    )

    assert [line.amount for line in lines] == [Decimal("5.00"), Decimal("-7.10")]


def test_every_faulty_line_of_a_csv_is_named() -> None:
    with pytest.raises(StatementRefused) as refused:
        _csv("Date,Amount,Reference,Name,Account,Id\n32/05/2026,1.00,,,,\n20/05/2026,1.005,,,,\n")

    assert [fault.pointer for fault in refused.value.errors] == ["/lines/2", "/lines/3"]


@pytest.mark.parametrize(
    "columns",
    [{"amount": "A", "paid_in": "B", "paid_out": "C"}, {"paid_in": "B"}, {"colour": "red"}],
)
def test_a_mapping_that_makes_no_sense_is_refused(columns: dict[str, str]) -> None:
    with pytest.raises(StatementUnreadable):
        CsvMapping.read(columns)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1,234.50", "1234.50"),
        ("£12", "12.00"),
        ("(3.10)", "-3.10"),
        ("3.1-", "-3.10"),
        ("−2", "-2.00"),
    ],
)
def test_amounts_as_banks_write_them(text: str, amount: str) -> None:
    assert read_amount(text) == Decimal(amount)


@pytest.mark.parametrize(
    "text", ["", "1,23.00", "1.234", "NaN", "1e3", "12.00 CR", "--1", "9" * 400]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="amount"):
        read_amount(text)


def test_camt_tells_payer_reference_and_account() -> None:
    (statement,) = read_camt(camt(ENTRY))
    (line,) = statement.lines

    assert statement.bank_account == OURS
    assert line == StatementLine(
        booked_on=date(2026, 5, 20),
        amount=Decimal("120.00"),
        counterparty="LEICESTER NHS",
        counterparty_account="GB94BARC10201530093459",
        reference="PG-2627-000001",
        details="E2E-7",
        bank_reference="A1",
    )


def test_an_older_camt_with_the_status_as_text_and_no_party_level() -> None:
    entry = ENTRY.replace("<Sts><Cd>BOOK</Cd></Sts>", "<Sts>BOOK</Sts>").replace(
        "<Pty><Nm>LEICESTER NHS</Nm></Pty>", "<Nm>LEICESTER NHS</Nm>"
    )

    (statement,) = read_camt(camt(entry, version=2))

    assert statement.lines[0].counterparty == "LEICESTER NHS"


def test_a_batch_becomes_a_line_for_each_transaction_and_pending_entries_are_left_out() -> None:
    parts = "".join(
        f'<TxDtls><Refs><EndToEndId>P{n}</EndToEndId></Refs><Amt Ccy="GBP">{amount}</Amt></TxDtls>'
        for n, amount in enumerate(("70.00", "50.00"))
    )
    batch = (
        '<Ntry><Amt Ccy="GBP">120.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><BookgDt>'
        "<DtTm>2026-05-19T23:30:00Z</DtTm></BookgDt><AcctSvcrRef>B</AcctSvcrRef>"
        f"<NtryDtls>{parts}</NtryDtls></Ntry>"
    )
    pending = ENTRY.replace("BOOK", "PDNG")

    (statement,) = read_camt(camt(batch + pending))

    assert [(line.amount, line.reference) for line in statement.lines] == [
        (Decimal("70.00"), "P0"),
        (Decimal("50.00"), "P1"),
    ]
    # 23:30Z in summer is the next day in London.
    assert statement.lines[0].booked_on == date(2026, 5, 20)
    with pytest.raises(StatementRefused, match="transactions come to"):
        read_camt(camt(batch.replace("70.00", "69.99")))


def test_a_camt_that_does_not_add_up_or_is_not_in_pounds_is_refused() -> None:
    with pytest.raises(StatementRefused, match="does not add up"):
        read_camt(camt(ENTRY, closing="219.99"))
    with pytest.raises(StatementRefused, match="EUR"):
        read_camt(camt(ENTRY.replace("GBP", "EUR")))


@pytest.mark.parametrize(
    "attack",
    [
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><Document><Stmt>&e;</Stmt></Document>',
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><Document>&b;</Document>',
        b'<!DOCTYPE x SYSTEM "http://192.0.2.1/x.dtd"><Document><Stmt/></Document>',
        b"not xml at all",
        b"<Document><Other/></Document>",
        b"",
        b"<a>" * 100_000,
    ],
)
def test_hostile_xml_is_refused(attack: bytes) -> None:
    with pytest.raises(StatementUnreadable):
        read_camt(attack)


def test_equal_lines_of_one_day_are_told_apart_and_known_when_they_come_again() -> None:
    line = StatementLine(booked_on=date(2026, 5, 20), amount=Decimal("5.00"), reference="X")
    again = StatementLine(booked_on=date(2026, 5, 20), amount=Decimal("5.00"), reference=" x ")

    first, second = line_keys([line, again])

    assert first != second
    assert line_keys([line])[0] == first


def test_a_reused_bank_reference_with_another_amount_is_another_line() -> None:
    lines = [
        StatementLine(booked_on=date(2026, 5, 20), amount=Decimal(amount), bank_reference="R")
        for amount in ("5.00", "6.00")
    ]

    assert len(set(line_keys(lines))) == 2


def test_a_remittance_advice_lists_invoices_and_refuses_what_it_cannot_read() -> None:
    facts = {"payer": "Leicester", "reference": "BACS 9", "paid_on": date(2026, 5, 19)}
    advice = read_csv_remittance(
        b"Invoice,Amount\nPG-2627-000001,100.00\nPG-2627-000002,-20.00\n,\n", **facts
    )

    assert advice.total == Decimal("80.00")
    assert len(advice.items) == 2
    with pytest.raises(StatementRefused):
        read_csv_remittance(b"Invoice,Amount\nPG-1,ten\n", **facts)
    with pytest.raises(StatementUnreadable):
        read_csv_remittance(b"Number,Amount\nPG-1,10\n", **facts)
