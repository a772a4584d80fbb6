"""Reading what the import page sends: the file, its mapping, and every fault by row."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from flask import request

from billing.payments.bank.camt import read_camt
from billing.payments.bank.csv_file import CsvMapping, read_csv_statement
from billing.payments.bank.finding import find_mapping
from billing.payments.bank.model import Statement, StatementUnreadable
from metering.kit.errors import FieldError, Refusal
from metering.kit.nhs_number import mask_nhs_numbers

PAGE_BYTES_MOST = 4 * 1024 * 1024
"""Files that are larger go in by `paygo payments import-statement`."""

FORM_BYTES_MOST = 2 * PAGE_BYTES_MOST
COLUMNS = tuple(field.name for field in fields(CsvMapping))
_WHOLE_MAPPING = frozenset({"amount", "paid_in", "paid_out"})


@dataclass(frozen=True)
class SentFile:
    """The file that is being imported; it stays with the form until it is right."""

    name: str
    content: bytes

    @property
    def kept(self) -> str:
        """The content as a hidden field keeps it."""
        return base64.b64encode(self.content).decode("ascii")


def allow_files() -> None:
    """Let the request in hand carry a statement; called before its form is read."""
    request.max_content_length = FORM_BYTES_MOST
    request.max_form_memory_size = FORM_BYTES_MOST


def sent_file() -> SentFile | None:
    """Return the file that was chosen, else the one that the form kept; None without either.

    Raises:
        StatementUnreadable: it is larger than a page takes.
    """
    chosen = request.files.get("file")
    if chosen is not None and chosen.filename:
        content: bytes = chosen.read(PAGE_BYTES_MOST + 1)
        if len(content) > PAGE_BYTES_MOST:
            raise StatementUnreadable(
                "The file is larger than 4 MB. Import it with the command "
                "paygo payments import-statement."
            )
        return SentFile(mask_nhs_numbers(chosen.filename[:200]), content)
    kept = request.form.get("kept", "")
    if not kept:
        return None
    try:
        name = mask_nhs_numbers(request.form.get("kept_name", "")[:200])
        return SentFile(name, base64.b64decode(kept))
    except binascii.Error:
        raise StatementUnreadable("The file was not kept whole. Choose it again.") from None


def is_camt(content: bytes) -> bool:
    """Say whether a file is XML; everything else is read as CSV."""
    return content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<"


def mapping_of(content: bytes, typed: Mapping[str, str]) -> CsvMapping:
    """Return the mapping that was typed, with what was left empty found in the file.

    Raises:
        StatementUnreadable: neither says where date and amount are.
    """
    said = {name: typed[name].strip() for name in COLUMNS if typed.get(name, "").strip()}
    if said.get("delimiter") == "tab":
        said["delimiter"] = "\t"
    if "date" in said and said.keys() & _WHOLE_MAPPING:
        return CsvMapping(**said)
    found = find_mapping(content)
    if said.keys() & _WHOLE_MAPPING:
        found = replace(
            found, **{name: said.get(name, "") for name in ("amount", "paid_in", "paid_out")}
        )
        said = {name: text for name, text in said.items() if name not in _WHOLE_MAPPING}
    return replace(found, **said)


def read_statements(
    content: bytes, *, bank_account: str, mapping: CsvMapping | None
) -> tuple[Statement, ...]:
    """Return the statements of a file; CAMT.053 where there is no mapping.

    Raises:
        StatementUnreadable, StatementRefused: see `read_camt` and `read_csv_statement`.
    """
    if mapping is None:
        return read_camt(content)
    return (read_csv_statement(content, bank_account=bank_account, mapping=mapping),)


def row_faults(refusal: Refusal) -> tuple[tuple[str, str], ...]:
    """Return (row, what is wrong) of each faulty row of a file."""
    return tuple((_row(fault), fault.detail) for fault in refusal.errors)


def _row(fault: FieldError) -> str:
    last = fault.pointer.rpartition("/")[2]
    if not last.isdigit():
        return "The file"
    return f"Entry {last}" if "/Ntry/" in fault.pointer else f"Row {last}"
