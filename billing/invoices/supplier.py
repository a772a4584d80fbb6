"""Who sends the invoices, and where they are paid; from the settings."""

from dataclasses import dataclass
from typing import Any

from billing.invoices.content import bank_from, party_from, plain_content
from billing.invoices.parties import BankAccount, Party
from metering.kit.config import Settings


@dataclass(frozen=True, kw_only=True)
class Supplier:
    """The sender of invoices as printed, and the bank account that is paid into."""

    party: Party
    bank: BankAccount

    def to_content(self) -> dict[str, Any]:
        """Return JSON that `read` reads back equal."""
        return {"party": plain_content(self.party), "bank": plain_content(self.bank)}

    @classmethod
    def read(cls, content: dict[str, Any]) -> "Supplier":
        """Read what `to_content` wrote."""
        return cls(party=party_from(content["party"]), bank=bank_from(content["bank"]))


def supplier_of(settings: Settings) -> Supplier:
    """Return the supplier that the settings name.

    Raises:
        ValueError: the name, address or VAT number cannot be printed on an invoice.
    """
    return Supplier(
        party=Party(
            name=settings.supplier_name,
            address=tuple(part.strip() for part in settings.supplier_address.split(";")),
            postcode=settings.supplier_postcode,
            ods_code=settings.supplier_ods_code,
            vat_number=settings.supplier_vat_number,
            email=settings.supplier_email,
        ),
        bank=BankAccount(
            account_name=settings.supplier_bank_account_name,
            sort_code=settings.supplier_sort_code,
            account_number=settings.supplier_account_number,
        ),
    )
