"""`paygo demo`: everything at once, with real trusts and a month of usage."""

import hashlib
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from sqlalchemy import text

from billing.cli.context import MONTH, bring_up, read_settings, start_logs
from billing.cli.listening import address
from billing.cli.serve import Parts, running
from billing.demo import catalogue, loading, month_end, output, posting, usage
from billing.demo import state as states
from billing.demo.month_end import Figures
from billing.demo.state import State
from billing.demo.usage import DEFAULT_SEED, Plan
from billing.invoices.supplier import supplier_of
from billing.money import show_pounds
from billing.runs.model import may_start_at
from metering.kit.clock import now
from metering.kit.config import BadSetting, Settings, signing_key
from metering.kit.db import Database
from metering.kit.ports import PortInUse, check_port
from metering.kit.postgres import database_url
from metering.periods import Month

_PORTS = 20


@click.command()
@click.option("--month", type=MONTH, help="London month to show; else the last one that is over.")
@click.option(
    "--events",
    type=click.IntRange(1_000, 100_000_000),
    help="Usage events to post, about.  [default: 250000]",
)
@click.option(
    "--trusts", type=click.IntRange(1, 300), help="Trusts to bill, at most.  [default: 200]"
)
@click.option("--seed", type=int, help=f"Another seed is other events.  [default: {DEFAULT_SEED}]")
@click.option(
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Folder for the invoices.",
)
@click.option("--serve/--no-serve", default=True, help="Leave the portal running, or end.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the portal.")
@click.option("--fresh", is_flag=True, help="Remove an earlier demonstration and start again.")
def demo(
    month: Month | None,
    events: int | None,
    trusts: int | None,
    seed: int | None,
    folder: Path,
    serve: bool,
    port: int | None,
    fresh: bool,
) -> None:
    """Show everything: six services, 200 trusts, a month's usage, its invoices, the portal.

    Starts a database of its own, or fills the empty one that DATABASE_URL
    names, posts the usage through the real HTTP API, closes the month, writes
    every invoice and leaves the portal running. Stopped anywhere, even by
    kill -9, the next run goes on and comes to the same totals. What it keeps
    is in PAYGO_DATA_DIR, or in paygo-demo beside the usual data folder.

    \b
    Examples:
      paygo demo
      paygo demo --no-serve --output /tmp/invoices
      paygo demo --events 5000000 --fresh
    """
    settings = _settings(port)
    # The bars are the news; a line for each request would tear them.
    start_logs(settings, level="warning")
    _interrupt_on_signals()
    if fresh:
        _check_own_database(settings)
        states.remove(settings.data_dir)
    kept = states.read(settings.data_dir)
    if kept is None:
        _check_empty(settings)
    plan = states.agreed_plan(
        kept,
        month=month,
        trust_count=trusts,
        event_count=events,
        seed=seed,
        default=Plan(_last_closable_month()),
    )
    _Demonstration(settings, kept or State(plan), output_folder=folder).run(serve=serve)


def _settings(port: int | None) -> Settings:
    """Return the settings of the demonstration: a folder and a free port of its own.

    Raises:
        PortInUse: the port that was asked for is taken.
    """
    settings = replace(read_settings(), log_level="warning")
    if not os.environ.get("PAYGO_DATA_DIR", "").strip():
        name = "paygo-demo"
        if settings.database_url is not None:
            # What is kept there belongs to one database.
            name += f"-{hashlib.sha256(settings.database_url.encode()).hexdigest()[:8]}"
        settings = replace(settings, data_dir=settings.data_dir.with_name(name))
    if port is not None:
        check_port(settings.host, port)
        return replace(settings, port=port)
    for candidate in range(settings.port, settings.port + _PORTS):
        try:
            check_port(settings.host, candidate)
        except PortInUse:
            continue
        return replace(settings, port=candidate)
    check_port(settings.host, settings.port)
    return settings


def _check_own_database(settings: Settings) -> None:
    if settings.database_url is not None:
        raise BadSetting(
            "--fresh removes only a database that paygo demo brought;"
            " make an empty one and name it in DATABASE_URL.",
            setting="DATABASE_URL",
        )


def _check_empty(settings: Settings) -> None:
    """Refuse to fill somebody's database: the one that DATABASE_URL names must have no table."""
    if settings.database_url is None:
        return
    database = Database(settings.database_url, application_name="paygo demo")
    try:
        with database.snapshot() as session:
            tables = session.scalar(
                text("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()")
            )
    finally:
        database.dispose()
    if tables:
        raise BadSetting(
            "The database that DATABASE_URL names is not empty, and paygo demo fills no"
            " database of somebody's; name an empty one, or unset DATABASE_URL.",
            setting="DATABASE_URL",
        )


def _last_closable_month() -> Month:
    """Return the last London month that is over and whose days of grace have passed."""
    month = Month.of(now()).previous
    return month if may_start_at(month) <= now() else month.previous


def _interrupt_on_signals() -> None:
    """Make SIGTERM and a closed terminal end the demonstration as Ctrl-C does, and once only."""

    def interrupt(*_: object) -> NoReturn:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


class _Demonstration:
    """One demonstration from an empty folder, or from wherever an earlier one stopped."""

    def __init__(self, settings: Settings, state: State, *, output_folder: Path) -> None:
        self._settings = settings
        self._state = state
        self._plan = state.plan
        self._services = catalogue.services()
        self._output = output_folder
        self._console = Console(stderr=True, highlight=False)
        self._started = time.monotonic()

    def run(self, *, serve: bool) -> None:
        """Show everything; return at the end, or at Ctrl-C while the portal runs."""
        settings = self._settings
        states.write(settings.data_dir, self._state)
        if settings.database_url is None:
            self._say(f"Starting PostgreSQL in {settings.data_dir}")
        elif settings.secret_key is None:
            # Kept in the folder, as for a database of our own: sessions outlive a restart.
            key = signing_key(replace(settings, database_url=None))
            settings = self._settings = replace(settings, secret_key=key)
        with database_url(settings) as url:
            bring_up(url)
            database = Database(url, application_name="paygo demo")
            try:
                self._load(database)
                with running(settings, url, with_scheduler=True) as parts:
                    self._post(parts)
                    self._say("Rolling up, rating, drafting, approving and issuing")
                    figures = self._close(database)
                    self._tell(figures)
                    if serve:
                        self._invite()
                        self._watch(parts)
            finally:
                database.dispose()
        if not figures.conserved:
            raise click.ClickException("The independent recomputation disagrees; see the table.")

    def _say(self, sentence: str) -> None:
        seconds = time.monotonic() - self._started
        self._console.print(f"[dim]{seconds:6.1f} s[/dim]  {sentence}", soft_wrap=True)

    def _bars(self) -> Progress:
        return Progress(
            TextColumn("          {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )

    def _keep(self, state: State) -> None:
        self._state = state
        states.write(self._settings.data_dir, state)

    def _load(self, database: Database) -> None:
        """Fill the catalogue through the operations that people use."""
        month = self._plan.month
        trusts = usage.chosen_trusts(self._plan)
        self._say(f"Loading NHS bodies, {len(self._services)} services, {len(trusts)} accounts")
        with database.transaction() as session:
            loading.register_bodies(session, now=now())
        for service in self._services:
            with database.transaction() as session:
                loading.register_service(session, service=service, now=now())
                loading.price_service(session, service=service, month=month, now=now())
            if service.code not in self._state.keys:
                with database.transaction() as session:
                    key = loading.issue_key(session, service=service, now=now())
                self._keep(replace(self._state, keys={**self._state.keys, service.code: key}))
        with database.transaction() as session:
            for body in trusts:
                loading.open_account(
                    session, body=body, services=self._services, month=month, now=now()
                )
        for person in loading.people(self._plan):
            passwords = self._state.passwords
            if person.email not in passwords:
                # Kept before the person is made: a password that is lost opens nothing.
                password = next(iter(passwords.values()), None) or loading.make_password()
                self._keep(replace(self._state, passwords={**passwords, person.email: password}))
            with database.transaction() as session:
                loading.make_person(
                    session,
                    person=person,
                    password=self._state.passwords[person.email],
                    now=now(),
                )

    def _post(self, parts: Parts) -> None:
        """Post the month through the HTTP API with the SDK, one service after another."""
        with self._bars() as bars:
            for service in self._services:
                total = usage.count_of(self._plan, service, services=self._services)
                task = bars.add_task(f"{service.name:34}", total=total)
                if service.code in self._state.posted:
                    bars.update(task, completed=total)
                    continue

                def progress(taken: int, task: TaskID = task) -> None:
                    bars.update(task, completed=taken)
                    parts.revive()

                posting.post_month(
                    self._plan,
                    service,
                    services=self._services,
                    url=address(self._settings),
                    key=self._state.keys[service.code],
                    spool=self._settings.data_dir / "spool",
                    progress=progress,
                )
                self._keep(self._state.with_posted(service.code))

    def _close(self, database: Database) -> Figures:
        """Close the month as two people do it, write the invoices and check them."""
        month_end.work_off(database, "roll-up", left=month_end.waiting_batches, clock=now)
        with database.snapshot() as session:
            ids = loading.ids_of_people(session)
        run_id = month_end.close_month(
            database,
            month=self._plan.month,
            supplier=supplier_of(self._settings),
            starter=ids["analyst@demo.example"],
            approver=ids["approver@demo.example"],
            clock=now,
        )
        total = month_end.waiting_documents(database)
        self._say("Typesetting the invoices")
        with self._bars() as bars:
            task = bars.add_task(f"{'PDF, CSV and e-invoice':34}", total=total)
            month_end.work_off(
                database,
                "make-documents",
                left=month_end.waiting_documents,
                clock=now,
                tell=lambda left: bars.update(task, completed=total - left),
            )
        output.write_documents(database, run_id=run_id, folder=self._output)
        self._say("Recomputing everything from the raw events, in SQL alone")
        figures = month_end.figures(database, month=self._plan.month, run_id=run_id)
        output.write_summary(self._output, plan=self._plan, figures=figures)
        return figures

    def _tell(self, figures: Figures) -> None:
        table = Table(
            title=f"{self._plan.month.name}, paid for as used",
            title_justify="left",
            title_style="bold",
            show_header=False,
            box=None,
        )
        table.add_column()
        table.add_column(justify="right")
        verdict = "agrees to the penny" if figures.conserved else "DISAGREES"
        for name, value in (
            ("Trusts billed", f"{figures.trusts_billed:,}"),
            ("Events taken", f"{figures.events:,}"),
            ("Net", show_pounds(figures.net)),
            ("VAT", show_pounds(figures.vat)),
            ("Total", show_pounds(figures.total)),
            ("Saved by the national pool", show_pounds(figures.pool_saving)),
            ("Recomputed from raw events", show_pounds(figures.recomputed_net)),
            ("Conservation", verdict),
        ):
            table.add_row(name, value)
        self._console.print()
        Console(highlight=False).print(table)
        for check in figures.checks:
            if not check.agrees:
                self._console.print(f"  {check}", style="red")
        self._say(f"Invoices and summary.json are in {self._output}")

    def _invite(self) -> None:
        place = address(self._settings)
        people = Table(box=None, show_header=False, pad_edge=False)
        for person in loading.people(self._plan):
            password = self._state.passwords[person.email]
            people.add_row(person.email, password, person.shows)
        self._console.print(f"\n[bold]The portal is at {place}[/bold]  Sign in as")
        self._console.print(people)
        self._console.print(
            f"\nOther commands see the same data with"
            f" PAYGO_DATA_DIR={self._settings.data_dir}\nCtrl-C ends everything.",
            soft_wrap=True,
        )

    @staticmethod
    def _watch(parts: Parts) -> None:
        try:
            while True:
                parts.revive()
                time.sleep(0.25)
        except KeyboardInterrupt:
            # The way out that was offered; leaving it is no failure.
            return
