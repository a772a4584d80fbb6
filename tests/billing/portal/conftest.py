"""A trust with invoices, and browsers of the people who may look at it."""

from dataclasses import dataclass

import pytest
from flask import Flask
from flask.testing import FlaskClient

from billing.access.model import Grant, Role
from metering.kit.db import Database
from tests import make, web
from tests.billing.portal import invoicing

ODS, OTHER_ODS = "RWE", "RR8"


@dataclass(frozen=True)
class Trusts:
    """Two trusts: ids of their accounts, and an invoice of each."""

    account_id: str
    invoice_id: str
    other_account_id: str
    other_invoice_id: str


@pytest.fixture
def trusts(database: Database) -> Trusts:
    """Two trusts with an invoice each; the first also has a credit note."""
    with database.transaction() as session:
        ours = make.account(session, code=ODS, name="University Hospitals of Leicester NHS Trust")
        theirs = make.account(session, code=OTHER_ODS, name="Leeds Teaching Hospitals NHS Trust")
        invoice_id = invoicing.issue(session, account=ours)
        invoicing.issue(
            session,
            account=ours,
            number="PC-2627-000004",
            credits=invoice_id,
            of=[invoicing.plain_line("120.00", "240", "0.50")],
        )
        other = invoicing.issue(session, account=theirs, number="PG-2627-000777")
    return Trusts(ours.id, invoice_id, theirs.id, other)


@pytest.fixture
def finance(app: Flask, trusts: Trusts) -> FlaskClient:
    """A browser of the first trust's finance viewer."""
    return web.signed_in(app, [Grant(Role.FINANCE_VIEWER, account_id=trusts.account_id)])
