"""Who sends an invoice, who gets it and where it is paid; pure."""

import re
from dataclasses import dataclass

_GLN = re.compile(r"[0-9]{13}")
_VAT_NUMBER = re.compile(r"[A-Z]{2}[0-9A-Z]{2,13}")


def is_gln(text: str) -> bool:
    """Say whether `text` is a GS1 Global Location Number (modulus 10, weights 1 and 3)."""
    return bool(_GLN.fullmatch(text)) and (
        sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(text)) % 10 == 0
    )


@dataclass(frozen=True, kw_only=True)
class Party:
    """The supplier or the buyer, as printed.

    Attributes:
        name: legal name.
        address: lines of the address without the postcode, at least one.
        postcode: for example `LS1 4AP`.
        country: ISO 3166-1 alpha-2.
        ods_code: the body's NHS Organisation Data Service code.
        vat_number: with its country prefix, `GB123456789`, or None when not registered.
        email: where finance can be reached, or None.
        gln: GS1 Global Location Number, 13 digits, by which NHS bodies are found on Peppol.
        in_nhs_vat_division: belongs to the NHS divisional VAT registration, inside which
            supplies are outside the scope of VAT.
    """

    name: str
    address: tuple[str, ...]
    postcode: str
    ods_code: str
    country: str = "GB"
    vat_number: str | None = None
    email: str | None = None
    gln: str | None = None
    in_nhs_vat_division: bool = False

    def __post_init__(self) -> None:
        if not self.name.strip() or not any(part.strip() for part in self.address):
            raise ValueError("a party needs a name and an address (VAT Regulations 1995, reg. 14)")
        if self.vat_number is not None and not _VAT_NUMBER.fullmatch(self.vat_number):
            raise ValueError(f"write a VAT number as GB654965435, not '{self.vat_number}'")
        if self.gln is not None and not is_gln(self.gln):
            raise ValueError(f"'{self.gln}' is not a GLN: 13 digits, the last a check digit")


@dataclass(frozen=True, kw_only=True)
class BankAccount:
    """Where a payment goes, from the supplier's settings.

    Attributes:
        sort_code: as printed, `60-70-80`.
    """

    account_name: str
    sort_code: str
    account_number: str
    bank_name: str | None = None
    iban: str | None = None
    bic: str | None = None
