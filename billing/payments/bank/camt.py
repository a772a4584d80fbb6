"""CAMT.053 (ISO 20022 bank-to-customer statement), any version; only booked entries in pounds.

The file is untrusted: no document type, no entities, no network, bounded size.
"""

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal

from lxml import etree

from billing.money import sum_pounds
from billing.payments.bank.model import (
    MOST_BYTES,
    MOST_LINES,
    Statement,
    StatementLine,
    StatementRefused,
    StatementUnreadable,
    check_statement,
    read_amount,
    refuse,
)
from metering.kit.errors import FieldError
from metering.periods import london_day

Element = etree._Element


def read_camt(content: bytes) -> tuple[Statement, ...]:
    """Read every statement in the file.

    An entry of several transactions with their own amounts becomes a line for each.

    Raises:
        StatementUnreadable: it is too large, not XML, has a document type, or is no CAMT.053.
        StatementRefused: another currency, an amount that cannot be read, or sums that do not hold.
    """
    root = _parse(content)
    found = [element for element in root.iter() if _name(element) == "Stmt"]
    if not found:
        raise StatementUnreadable("The file holds no CAMT.053 statement (no Stmt element).")
    return tuple(_statement(element) for element in found)


def _parse(content: bytes) -> Element:
    if len(content) > MOST_BYTES:
        raise StatementUnreadable(f"The file is larger than {MOST_BYTES} bytes.")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise StatementUnreadable(f"The file is not XML: {error.msg}.") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise StatementUnreadable("The file declares a document type, which no statement needs.")
    return root


def _statement(element: Element) -> Statement:
    account = _text(element, "Acct", "Id", "IBAN") or _text(element, "Acct", "Id", "Othr", "Id")
    if not account:
        raise StatementUnreadable("A statement names no account.")
    faults: list[FieldError] = []
    lines: list[StatementLine] = []
    for number, entry in enumerate(_all(element, "Ntry"), start=1):
        try:
            lines.extend(_lines(entry))
        except ValueError as error:
            faults.append(FieldError(f"/{account}/Ntry/{number}", "entry-unreadable", str(error)))
    refuse(faults)
    if len(lines) > MOST_LINES:
        raise StatementRefused(f"The statement has more than {MOST_LINES} lines.")
    balances = {}
    for balance in _all(element, "Bal"):
        code = _text(balance, "Tp", "CdOrPrtry", "Cd")
        if code in {"OPBD", "PRCD", "CLBD"}:
            balances[code] = _signed(balance)
    return check_statement(
        Statement(
            bank_account=account,
            format="camt.053",
            lines=tuple(lines),
            opening=balances.get("OPBD", balances.get("PRCD")),
            closing=balances.get("CLBD"),
        )
    )


def _lines(entry: Element) -> Iterator[StatementLine]:
    # Version 2 has the status as text, later ones as a code below it.
    status = _text(entry, "Sts", "Cd") or _text(entry, "Sts")
    if status != "BOOK":
        return
    amount = _signed(entry)
    if amount == 0:
        return
    booked = _date(entry, "BookgDt") or _date(entry, "ValDt")
    if booked is None:
        raise ValueError("it has no booking date")
    reference = _text(entry, "AcctSvcrRef")
    extra = _text(entry, "AddtlNtryInf")
    transactions = [
        transaction
        for details in _all(entry, "NtryDtls")
        for transaction in _all(details, "TxDtls")
    ]
    if len(transactions) < 2:
        yield _line(transactions[0] if transactions else entry, booked, amount, reference, extra)
        return
    amounts = [_transaction_amount(transaction) for transaction in transactions]
    if any(part is None for part in amounts):
        # A batch whose parts are not told stays one line.
        yield _line(entry, booked, amount, reference, extra)
        return
    sign = 1 if amount > 0 else -1
    parts = [sign * part for part in amounts if part is not None]
    if sum_pounds(parts) != amount:
        raise ValueError(f"its transactions come to {sum_pounds(parts)}, not {amount}")
    for transaction, part in zip(transactions, parts, strict=True):
        own = _text(transaction, "Refs", "AcctSvcrRef") or reference
        yield _line(transaction, booked, part, own, extra)


def _line(
    element: Element, booked: date, amount: Decimal, reference: str, extra: str
) -> StatementLine:
    party = "Dbtr" if amount > 0 else "Cdtr"
    name = _text(element, "RltdPties", party, "Nm") or _text(
        element, "RltdPties", party, "Pty", "Nm"
    )
    account = _text(element, "RltdPties", f"{party}Acct", "Id", "IBAN") or _text(
        element, "RltdPties", f"{party}Acct", "Id", "Othr", "Id"
    )
    told = [*_texts(element, "RmtInf", "Ustrd"), *_texts(element, "RmtInf", "Strd")]
    end_to_end = _text(element, "Refs", "EndToEndId")
    return StatementLine(
        booked_on=booked,
        amount=amount,
        counterparty=name,
        counterparty_account=account,
        reference=" ".join(told) or ("" if end_to_end == "NOTPROVIDED" else end_to_end),
        details=" ".join(part for part in (end_to_end, extra) if part),
        bank_reference=reference,
    )


def _signed(element: Element) -> Decimal:
    amount = _pounds(_first(element, "Amt"))
    return -amount if _text(element, "CdtDbtInd") == "DBIT" else amount


def _transaction_amount(transaction: Element) -> Decimal | None:
    element = _first(transaction, "Amt")
    if element is None:
        element = _first(transaction, "AmtDtls", "TxAmt", "Amt")
    return None if element is None else _pounds(element)


def _pounds(element: Element | None) -> Decimal:
    if element is None or not element.text:
        raise ValueError("it has no amount")
    if element.get("Ccy") != "GBP":
        raise ValueError(f"its currency is {element.get('Ccy')}; paygo reads pounds alone")
    text = element.text.strip()
    # ISO 20022 allows five places; noughts beyond the penny say nothing.
    amount = read_amount(text.rstrip("0").rstrip(".") if "." in text else text)
    if amount < 0:
        raise ValueError("an amount in CAMT has no sign")
    return amount


def _date(element: Element, name: str) -> date | None:
    day = _text(element, name, "Dt")
    if day:
        return date.fromisoformat(day)
    instant = _text(element, name, "DtTm")
    if not instant:
        return None
    read = datetime.fromisoformat(instant)
    return read.date() if read.tzinfo is None else london_day(read)


def _name(element: Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _all(element: Element, name: str) -> list[Element]:
    return [child for child in element if _name(child) == name]


def _first(element: Element, *path: str) -> Element | None:
    found: Element | None = element
    for name in path:
        if found is None:
            return None
        found = next((child for child in found if _name(child) == name), None)
    return found


def _text(element: Element, *path: str) -> str:
    found = _first(element, *path)
    return "" if found is None or not found.text else " ".join(found.text.split())


def _texts(element: Element, *path: str) -> list[str]:
    """Return all text below every last element of the path."""
    parent = _first(element, *path[:-1])
    if parent is None:
        return []
    return [
        " ".join(" ".join(str(part) for part in child.itertext()).split())
        for child in _all(parent, path[-1])
    ]
