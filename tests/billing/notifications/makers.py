"""What the tests of notifications announce, and the ways out they give the job."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy.orm import Session

from billing.notifications import endpoints, operations
from billing.notifications.jobs import Outlets
from billing.notifications.model import Attachment, Owner
from billing.notifications.sealing import Vault

NOW = datetime(2026, 5, 5, 9, 0, tzinfo=UTC)
VAULT = Vault("a signing key for the tests of webhooks")
PDF = Attachment("PG-2627-000001.pdf", "application/pdf", b"%PDF-1.7 one page")
EDITOR = "usr_editor"


def find_pdf(_session: Session, _account_id: str, invoice_id: str, name: str) -> Attachment | None:
    """Return the PDF of every invoice but `inv_unmade`."""
    assert name == "pdf"
    return None if invoice_id == "inv_unmade" else PDF


def outlets(**facts: Any) -> Outlets:
    """Return ways out that may reach this machine."""
    said = {"relay": None, "vault": lambda: VAULT, "find_document": find_pdf, "allow_private": True}
    return Outlets(**{**said, **facts})


def issued(
    session: Session, *, account_id: str, invoice_id: str = "inv_1", now: datetime = NOW
) -> str:
    """Announce an issued invoice."""
    return operations.announce(
        session,
        kind="invoice.issued",
        account_id=account_id,
        subject_id=invoice_id,
        facts={
            "invoice_id": invoice_id,
            "number": "PG-2627-000001",
            "document": "invoice",
            "month": "2026-04",
            "total": Decimal("120.00"),
            "due_on": date(2026, 6, 4),
        },
        now=now,
    )


def paid(
    session: Session, *, account_id: str, invoice_id: str = "inv_1", now: datetime = NOW
) -> str:
    """Announce a paid invoice."""
    return operations.announce(
        session,
        kind="invoice.paid",
        account_id=account_id,
        subject_id=invoice_id,
        facts={
            "invoice_id": invoice_id,
            "number": "PG-2627-000001",
            "total": Decimal("120.00"),
            "paid_on": date(2026, 5, 5),
        },
        now=now,
    )


def endpoint(
    session: Session,
    *,
    account_id: str,
    url: str = "http://127.0.0.1:9/hook",
    kinds: tuple[str, ...] = ("invoice.issued", "invoice.paid"),
    now: datetime = NOW,
) -> endpoints.NewEndpoint:
    """Add a webhook endpoint to an account."""
    return endpoints.add_endpoint(
        session,
        owner=Owner(account_id=account_id),
        url=url,
        kinds=kinds,
        vault=VAULT,
        allow_private=True,
        principal=EDITOR,
        now=now,
    )
