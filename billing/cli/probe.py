"""`paygo probe`: synthetic usage from posted event to drafted invoice, to the penny.

It works in a database of its own on the same server, made for it and dropped after it. So
nothing of it can reach a real bill, a number, a reading or the audit trail, and nobody waits
for its locks; and it still goes the whole way: migrations, the API with a key, roll-up,
rating with a shared pool, a bill run. Whether the live web server answers as it should is
asked besides, where its address is given.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import click
import psycopg
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from billing.accounts import operations as accounts
from billing.cli.context import print_json, print_table, read_settings, start_logs
from billing.cli.probing_live import faults
from billing.invoices import queries as invoices
from billing.invoices.supplier import supplier_of
from billing.runs import operations as runs
from billing.runs import work
from billing.runs.reconciling import reconcile_month
from billing.tariffs import operations as tariffs
from metering import jobs as metering_jobs
from metering.app import create_app
from metering.kit import clock, migrate
from metering.kit.config import Settings
from metering.kit.db import Database, sqlalchemy_url
from metering.kit.errors import Unavailable
from metering.kit.postgres import database_url
from metering.meters import operations as meters
from metering.organisations import operations as organisations
from metering.periods import Month
from metering.sources import operations as sources

_SERVICE, _METER = "probe", "probe-terabytes"
_TARIFF: Mapping[str, Any] = {
    "tariff": _SERVICE,
    "version": "1",
    "vat": "standard",
    "prices": [
        {
            "meter": _METER,
            "model": "graduated",
            "scope": "pool",
            "tiers": [
                {"up_to": "1", "unit_price": "100.00"},
                {"up_to": "50", "unit_price": "80.00"},
                {"up_to": None, "unit_price": "60.00"},
            ],
        }
    ],
}
_USED = (("PROBEA", "10"), ("PROBEA", "20"), ("PROBEB", "35"), ("PROBEC", "30"))


class Amounts(NamedTuple):
    """Pounds of one invoice."""

    net: Decimal
    vat: Decimal
    total: Decimal


# By hand: 1 at 100, 49 at 80 and 45 at 60 are 6,720.00 for 95, shared by 30, 35 and 30; the
# odd penny goes to the first code. VAT at 20% of each net.
EXPECTED: Mapping[str, Amounts] = {
    "PROBEA": Amounts(Decimal("2122.11"), Decimal("424.42"), Decimal("2546.53")),
    "PROBEB": Amounts(Decimal("2475.79"), Decimal("495.16"), Decimal("2970.95")),
    "PROBEC": Amounts(Decimal("2122.10"), Decimal("424.42"), Decimal("2546.52")),
}


class ProbeImpossible(Unavailable):
    """The database role may not make the database that the probe works in."""

    code = "probe-impossible"
    title = "The probe has no place to work"


@click.command()
@click.option(
    "--url",
    metavar="URL",
    help="Also ask the paygo that is reached there: is it ready, does it refuse strangers?",
)
@click.option(
    "--key",
    envvar="PAYGO_KEY",
    show_envvar=True,
    help="A service's key: with it the paygo at --url is also sent an empty list of events.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def probe(url: str | None, key: str | None, as_json: bool) -> None:
    """Send synthetic usage from event to drafted invoice, and compare each penny.

    It works in a database of its own on the same server, dropped afterwards: nothing of it
    can appear on a real bill. Status 1 when any amount or sum differs, or where the running
    paygo at --url does not answer as it should.

    \b
    Examples:
      paygo probe
      paygo probe --json
      paygo probe --url https://paygo.example.nhs.uk
    """
    settings = read_settings()
    start_logs(settings, level="warning")
    with database_url(settings) as place, _place(place) as database:
        found, differences = run_probe(database, settings=settings, now=clock.now())
    if url is not None:
        differences += faults(url, key=key)
    rows = [(code, expected, found.get(code)) for code, expected in EXPECTED.items()]
    if as_json:
        print_json(
            {
                "holds": not differences,
                "invoices": {code: got._asdict() if got else None for code, _, got in rows},
                "differences": differences,
            }
        )
    else:
        print_table(
            ("Trust", "Expected>", "Invoiced>"),
            [(code, str(want.total), str(got.total) if got else "-") for code, want, got in rows],
        )
    if differences:
        raise click.ClickException("; ".join(differences))
    if not as_json:
        click.echo("Every penny is as expected, from posted event to drafted invoice.")
        if url is not None:
            what = "is ready and refuses strangers" if key is None else "is ready and takes usage"
            click.echo(f"The paygo at {url} {what}.")


@contextmanager
def _place(url: str) -> Iterator[Database]:
    """Yield a migrated database on the same server; drop it afterwards."""
    libpq = url.replace("postgresql+psycopg://", "postgresql://", 1)
    name = f"paygo_probe_{secrets.token_hex(4)}"
    with psycopg.connect(libpq, autocommit=True) as server:
        try:
            server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except InsufficientPrivilege as error:
            raise ProbeImpossible(
                "The database role may not create databases; run the probe with one that may, "
                "or have an administrator grant it CREATEDB."
            ) from error
        made = make_url(sqlalchemy_url(url)).set(database=name)
        database = Database(made.render_as_string(hide_password=False), pool_size=2)
        try:
            migrate.upgrade(database.url)
            yield database
        finally:
            database.dispose()
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def run_probe(
    database: Database, *, settings: Settings, now: datetime
) -> tuple[dict[str, Amounts], list[str]]:
    """Do a month's work with synthetic usage in an empty, migrated database.

    Returns:
        what each trust would be invoiced, and every difference in words.
    """
    # Two months back, so that its run may start whatever day of the month it is today.
    month = Month.of(now).shift(-2)
    with database.transaction() as session:
        key = _catalogue(session, month=month, now=now)
    differences = list(_post(database, settings, key=key, month=month, now=now))
    metering_jobs.roll_up(database, now=now)
    with database.transaction() as session:
        run_id = runs.start_run(
            session, month=month, supplier=supplier_of(settings), principal="probe", now=now
        ).id
    work.draft_run(database, run_id=run_id, now=now)
    with database.snapshot() as session:
        drafted = [
            invoices.read(row)
            for row in invoices.invoices(session, run_id=run_id, statuses=("draft",))
        ]
        conserved = reconcile_month(session, month=month)
    found = {each.buyer.ods_code: Amounts(each.net, each.vat, each.total) for each in drafted}
    for code in sorted(EXPECTED.keys() | found.keys()):
        if found.get(code) != EXPECTED.get(code):
            differences.append(f"{code} would be invoiced {found.get(code)}")
    differences.extend(
        f"{row.organisation}: {difference}" for row in conserved for difference in row.differences
    )
    return found, differences


def _catalogue(session: Session, *, month: Month, now: datetime) -> str:
    """Register the service, its price and the trusts; return the service's key."""
    sources.register(session, code=_SERVICE, name="Probe", now=now)
    meters.register(
        session,
        source_code=_SERVICE,
        code=_METER,
        name="Terabytes",
        event_type="uk.nhs.probe",
        aggregation="sum",
        quantity_field="terabytes",
        unit="TB",
        now=now,
    )
    tariffs.create_tariff(
        session, code=_SERVICE, source=_SERVICE, name="Probe", principal="probe", now=now
    )
    version = tariffs.draft_version(
        session,
        document={**_TARIFF, "effective_from": month.first_day.isoformat()},
        principal="probe",
        now=now,
    )
    tariffs.submit_version(session, version_id=version.id, principal="probe", now=now)
    tariffs.approve_version(
        session, version_id=version.id, principal="probe approver", now=now, reason="Probe"
    )
    for code in EXPECTED:
        organisations.register(
            session, ods_code=code, name=f"Synthetic {code}", kind="acute", now=now
        )
        account = accounts.open_account(
            session,
            organisation=code,
            name=f"Synthetic {code}",
            address=["1 Example Place"],
            postcode="LS1 4AP",
            email="probe@example.nhs.uk",
            principal="probe",
            now=now,
        )
        accounts.make_agreement(
            session,
            account_id=account.id,
            tariff_code=_SERVICE,
            starts_on=month.first_day,
            principal="probe",
            now=now,
            reason="Probe",
        )
    return sources.issue_key(
        session, source_code=_SERVICE, label="probe", created_by="probe", now=now
    ).text


def _post(
    database: Database, settings: Settings, *, key: str, month: Month, now: datetime
) -> Iterator[str]:
    """Post the usage over the API, the first event twice; yield what is not as expected."""
    client = create_app(settings, database, clock=lambda: now).test_client()
    at = month.period.start + timedelta(days=9, hours=12)
    events = [
        {
            "specversion": "1.0",
            "id": f"probe-{number}",
            "source": _SERVICE,
            "type": "uk.nhs.probe",
            "subject": code,
            "time": at.isoformat(),
            "data": {"terabytes": terabytes},
        }
        for number, (code, terabytes) in enumerate(_USED)
    ]
    for body, fate, count in ((events, "accepted", len(events)), (events[:1], "duplicate", 1)):
        answer = client.post(
            "/api/v1/events",
            json=body,
            headers={
                "Authorization": f"Bearer {key}",
                "Content-Type": "application/cloudevents-batch+json",
            },
        )
        receipt = answer.get_json(silent=True) or {}
        if answer.status_code >= 400 or receipt.get(fate) != count:
            yield f"the API answered {answer.status_code} with {receipt}"
