"""`paygo bill-run`: a month end from the terminal."""

import click

from billing.cli.context import (
    MONTH,
    PRINCIPAL,
    opened_database,
    print_json,
    print_table,
    read_settings,
)
from billing.invoices.supplier import supplier_of
from billing.money import show_pounds
from billing.runs import operations, queries, work
from billing.runs.model import Review
from metering.kit.clock import now
from metering.kit.db import Database
from metering.kit.errors import NotFound
from metering.periods import Month

_month = click.argument("month", type=MONTH)
_who = click.option(
    "--as", "who", required=True, help="Who acts, for the audit trail: an email address."
)


_LOOKED_AT = 20
"""Accounts that `show` lists; the page of the month end has all."""


class NoRunOfMonth(NotFound):
    """Nobody started a bill run of that month."""

    code = "no-run-of-month"
    title = "The month has no bill run"


@click.group("bill-run")
def bill_run() -> None:
    """Run a month end: start, draft, show, approve, issue.

    Each step goes on where an earlier try stopped. Somebody other than who
    started the run approves it.
    """


@bill_run.command()
@_month
@_who
def start(month: Month, who: str) -> None:
    """Start the run of a London MONTH that is over.

    \b
    Example:
      paygo bill-run start 2026-10 --as ann@nhs.example
    """
    settings = read_settings()
    with opened_database() as database, database.transaction() as session:
        run = operations.start_run(
            session,
            month=month,
            supplier=supplier_of(settings),
            principal=_principal(who),
            now=now(),
            smallest_invoice=settings.smallest_invoice,
        )
    click.echo(f"The run of {month.name} is {run.status}: {run.id}")


@bill_run.command()
@_month
def draft(month: Month) -> None:
    """Rate the month, freeze its pools and draft every account's invoice.

    \b
    Example:
      paygo bill-run draft 2026-10
    """
    with opened_database() as database:
        counts = work.draft_run(database, run_id=run_id_of(database, month), now=now())
    click.echo(_told(counts))


@bill_run.command()
@_month
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(month: Month, as_json: bool) -> None:
    """Show how far the run is, its checks and its sums.

    \b
    Example:
      paygo bill-run show 2026-10
    """
    with opened_database() as database:
        run_id = run_id_of(database, month)
        with database.snapshot() as session:
            review = queries.review(session, run_id=run_id)
    if as_json:
        print_json(_document(review))
        return
    click.echo(
        f"{month.name} is {review.status}: net {show_pounds(review.net)},"
        f" VAT {show_pounds(review.vat)}, total {show_pounds(review.total)}; "
        + _told(review.counts)
    )
    print_table(
        ("Check", "Outcome", "Detail"),
        [(check.name, check.outcome.value, check.detail) for check in review.checks],
    )
    if review.services:
        print_table(
            ("Service", "Accounts>", "Net>", "Last month>", "Change>"),
            [
                (
                    item.name,
                    str(item.accounts),
                    show_pounds(item.net),
                    show_pounds(item.last_net),
                    show_pounds(item.change),
                )
                for item in review.services
            ],
        )
    if review.to_look_at:
        print_table(
            ("Before issue", "Accounts held>", "Accounts warned of>"),
            [(name, str(fails), str(warns)) for name, (fails, warns) in review.to_look_at.items()],
        )
    looked = [item for item in review.ranked if item.failing or item.is_outlier or item.reason]
    if looked:
        print_table(
            ("Look at", "Status", "Net>", "Last month>", "Why"),
            [
                (
                    f"{item.ods_code} {item.name}",
                    item.status,
                    show_pounds(item.net),
                    "" if item.last_net is None else show_pounds(item.last_net),
                    item.reason or ("outlier" if item.is_outlier else item.failing[0].detail),
                )
                for item in looked[:_LOOKED_AT]
            ],
        )


@bill_run.command()
@_month
@_who
def approve(month: Month, who: str) -> None:
    """Approve the drafts; somebody other than who started the run must.

    \b
    Example:
      paygo bill-run approve 2026-10 --as bob@nhs.example
    """
    with opened_database() as database:
        run_id = run_id_of(database, month)
        with database.transaction() as session:
            operations.approve_run(session, run_id=run_id, principal=_principal(who), now=now())
    click.echo(f"The run of {month.name} is approved.")


@bill_run.command()
@_month
@_who
def issue(month: Month, who: str) -> None:
    """Number, seal and issue the invoices of an approved run.

    \b
    Example:
      paygo bill-run issue 2026-10 --as bob@nhs.example
    """
    with opened_database() as database:
        counts = work.issue_run(
            database, run_id=run_id_of(database, month), principal=_principal(who), now=now()
        )
    click.echo(_told(counts))


def run_id_of(database: Database, month: Month) -> str:
    """Return the id of a month's run.

    Raises:
        NoRunOfMonth: it has none.
    """
    with database.snapshot() as session:
        run = queries.run_of(session, month=month)
    if run is None:
        raise NoRunOfMonth(
            f"{month.name} has no bill run; start it with 'paygo bill-run start {month}'."
        )
    return run.id


def _principal(who: str) -> str:
    return f"{PRINCIPAL}:{who}"


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "nothing to do"


def _document(review: Review) -> dict[str, object]:
    return {
        "run_id": review.run_id,
        "month": str(review.month),
        "status": review.status,
        "started_by": review.started_by,
        "approved_by": review.approved_by,
        "net": str(review.net),
        "vat": str(review.vat),
        "total": str(review.total),
        "accounts": review.counts,
        "checks": [check.to_json() for check in review.checks],
        "services": [
            {
                "service": item.code,
                "accounts": item.accounts,
                "net": str(item.net),
                "last_net": str(item.last_net),
            }
            for item in review.services
        ],
        "before_issue": {
            name: {"held": fails, "warned": warns}
            for name, (fails, warns) in review.to_look_at.items()
        },
        "outliers": [item.ods_code for item in review.outliers],
    }
