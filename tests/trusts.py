"""Three trusts with two months of usage, April invoiced: what pages are tried on.

It is made once a run, through the same operations that people use, and nobody changes it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from billing import jobs
from billing.access.model import Grant, Role
from billing.budgets.operations import set_budget
from billing.charges import operations as charging
from billing.invoices import queries as invoices
from billing.invoices.credit_notes import credit_invoice
from metering.kit.db import Database
from metering.sources.queries import by_code
from tests import busy, databases, make, web
from tests.scenarios import story

NOW = datetime(2026, 5, 20, 10, 0, tzinfo=UTC)
ODS, OTHER_ODS, THIRD_ODS = "RWE", "RR8", "RJ1"
NAMES = {
    ODS: "University Hospitals of Leicester NHS Trust",
    OTHER_ODS: "Leeds Teaching Hospitals NHS Trust",
    THIRD_ODS: "Guy’s and St Thomas’ NHS Foundation Trust",
}
_POOLED = make.price(
    model="graduated",
    scope="pool",
    tiers=[
        {"up_to": "100", "unit_price": "0.50"},
        {"up_to": "2000", "unit_price": "0.40"},
        {"up_to": None, "unit_price": "0.30"},
    ],
)


@dataclass(frozen=True)
class Shown:
    """The application on a filled database.

    Attributes:
        account_ids: by ODS code.
        invoice_ids, numbers: of April's invoices, by ODS code.
        credit_note_id: of the first trust.
    """

    app: Flask
    account_ids: dict[str, str]
    invoice_ids: dict[str, str]
    numbers: dict[str, str]
    credit_note_id: str
    database: Database
    browsers: dict[tuple[Grant, ...], FlaskClient] = field(default_factory=dict)

    def browser(self, *grants: Grant) -> FlaskClient:
        """Return a browser signed in with these roles; the same one for the same roles."""
        if grants not in self.browsers:
            email = f"person{len(self.browsers)}@example.nhs.uk"
            self.browsers[grants] = web.signed_in(self.app, grants, email=email)
        return self.browsers[grants]

    def source_id(self, session: Session) -> int:
        """Return the id of the archive as a source, for its owner's role."""
        return by_code(session, code="imaging-archive").id

    def finance(self, code: str = ODS, role: Role = Role.FINANCE_VIEWER) -> FlaskClient:
        """Return a browser of a trust's finance team."""
        return self.browser(Grant(role, account_id=self.account_ids[code]))


def use(database: Database, *, names: Mapping[str, str] = NAMES) -> dict[str, str]:
    """Register the services and trusts, and have them used; return account ids by ODS code."""
    account_ids = {}
    with database.transaction() as session:
        make.source(session)
        make.source(session, code="patient-messaging")
        make.meter(
            session,
            dimensions={
                "modality": {"label": "modality", "values": None},
                "site": {"label": "site", "values": None},
            },
        )
        make.meter(session, code="texts-sent", source="patient-messaging", unit="text messages")
        flat = make.price(meter=None, model="flat", amount="250.00")
        make.tariff(session, _POOLED, flat)
        make.tariff(
            session,
            make.price(
                meter="texts-sent",
                unit_price="0.0227",
                included={"quantity": "500", "per": "month"},
            ),
            code="patient-messaging",
        )
        for code, name in names.items():
            account = make.account(session, code=code, name=name)
            account_ids[code] = account.id
            make.agreement(session, account=account)
            make.agreement(session, account=account, tariff="patient-messaging")
        for number, code in enumerate(NAMES):
            for month, days in ((4, 30), (5, 19)):
                for day in range(1 + number, days + 1, 3):
                    _use_a_day(session, code, month, day)
    return account_ids


def _use_a_day(session: Session, code: str, month: int, day: int) -> None:
    for hour, modality, site in ((8, "CT", "Royal"), (8, "MR", "Royal"), (13, "CT", "General")):
        make.usage(
            session,
            code=code,
            quantity=str(10 + day + hour),
            at=datetime(2026, month, day, hour, day, tzinfo=UTC),
            dimensions={"modality": modality, "site": site},
        )
    make.usage(
        session,
        code=code,
        quantity=str(100 * month + day),
        at=date(2026, month, day),
        meter="texts-sent",
    )


def _refuse(client: FlaskClient, key: str) -> None:
    """Post two events that are refused, for two reasons."""
    event = {
        "specversion": "1.0",
        "id": "unknown-trust",
        "source": "imaging-archive",
        "type": "uk.nhs.studies-archived",
        "subject": "R0X",
        "time": "2026-05-19T10:00:00+01:00",
        "data": {"quantity": "2", "modality": "CT"},
    }
    headers = {"Authorization": f"Bearer {key}"}
    for sent in (event, {**event, "id": "no-quantity", "subject": ODS, "data": {}}):
        answer = client.post("/api/v1/events", json=sent, headers=headers)
        assert answer.get_json()["rejected"] == 1, answer.text


@contextmanager
def shown(
    server_url: str, template_name: str, folder: Path, *, names: Mapping[str, str] = NAMES
) -> Iterator[Shown]:
    """Yield the application on a filled database of its own."""
    with databases.cloned_database(server_url, template_name) as url:
        database = Database(url)
        account_ids = use(database, names=names)
        story.month_end(database, story.APRIL)
        with database.transaction() as session:
            charging.rate_charges(session, month=story.MAY, now=NOW)
            issued = invoices.invoices(session, month=story.APRIL)
            ids = {row.account_id: row.id for row in issued}
            numbers = {row.account_id: row.number or "" for row in issued}
            credit_note = credit_invoice(
                session,
                account_id=account_ids[ODS],
                invoice_id=ids[account_ids[ODS]],
                reason="Some studies were reported twice",
                basis="concession",
                principal=story.APPROVER,
                now=NOW,
                lines={2: None},
            )
            set_budget(
                session,
                account_id=account_ids[ODS],
                per="financial-year",
                amount=Decimal("6000.00"),
                principal="usr_editor",
                now=NOW,
            )
        jobs.make_documents(database, now=NOW)
        jobs.forecast(database, now=NOW)
        app = web.make_app(database, folder, web.Clock(NOW))
        with database.transaction() as session:
            key = busy.fill(
                session,
                account_id=account_ids[THIRD_ODS],
                invoice_id=ids[account_ids[THIRD_ODS]],
                secret_key=app.config["SECRET_KEY"],
                now=NOW,
            )
        _refuse(app.test_client(), key)
        yield Shown(
            app,
            account_ids,
            {code: ids[account_id] for code, account_id in account_ids.items()},
            {code: numbers[account_id] for code, account_id in account_ids.items()},
            credit_note.id,
            database,
        )
        database.dispose()
