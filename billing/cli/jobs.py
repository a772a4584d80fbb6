"""`paygo scheduler`, `paygo jobs` and `paygo run-job`."""

import click

from billing.cli.context import (
    PRINCIPAL,
    check_schema,
    chosen_role,
    die_with,
    opened_database,
    print_json,
    print_table,
    read_settings,
    show_instant,
    start_logs,
    stop_on_signals,
)
from billing.jobs import ALL_JOBS
from billing.scheduler import Scheduler
from metering.kit import clock, jobruns, traces
from metering.kit.db import Database
from metering.kit.errors import NotFound
from metering.kit.postgres import database_url
from metering.kit.roles import SCHEDULER


class JobUnknown(NotFound):
    """No job has that name; `paygo jobs` lists them."""

    code = "job-unknown"
    title = "No such job"


@click.command()
@die_with
def scheduler() -> None:
    """Run the scheduled jobs until stopped.

    Start as many as you like: one leads, and when it ends another takes over
    within seconds.

    \b
    Examples:
      paygo scheduler
      DATABASE_URL=postgresql://paygo@db/paygo paygo scheduler
    """
    stopping = stop_on_signals()
    settings = read_settings()
    start_logs(settings)
    with database_url(settings) as url:
        check_schema(url)
        role = chosen_role(settings, url, SCHEDULER)
        traces.start(settings, service="paygo scheduler")
        database = Database(url, application_name="paygo jobs", role=role)
        Scheduler(database, ALL_JOBS, clock=clock.now).run(stopping)
        database.dispose()


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def jobs(as_json: bool) -> None:
    """List the scheduled jobs, when they run and how they last went.

    \b
    Examples:
      paygo jobs
      paygo jobs --json
    """
    with opened_database() as database, database.snapshot() as session:
        last = jobruns.last_runs(session)
    if as_json:
        print_json(
            [
                {
                    "name": job.name,
                    "summary": job.summary,
                    "schedule": job.schedule,
                    "last_run": _document(last[job.name]) if job.name in last else None,
                }
                for job in ALL_JOBS
            ]
        )
        return
    rows = []
    for job in ALL_JOBS:
        run = last.get(job.name)
        rows.append(
            (
                job.name,
                job.schedule,
                show_instant(run.started_at) if run else "never",
                run.outcome if run else "",
                (run.error or _told(run)) if run else job.summary,
            )
        )
    print_table(("Job", "Schedule", "Last run (London)", "Outcome", "What it did"), rows)


@click.command("run-job")
@click.argument("name")
def run_job(name: str) -> None:
    """Run one job now, and record it as the scheduler does.

    \b
    Examples:
      paygo jobs                 (lists the names)
      paygo run-job roll-up
    """
    job = jobruns.check_names(ALL_JOBS).get(name)
    if job is None:
        raise JobUnknown(f"There is no job '{name}'; 'paygo jobs' lists them.")
    with opened_database() as database:
        run = jobruns.run_job(database, job, clock=clock.now, started_by=PRINCIPAL)
    if run.outcome != "succeeded":
        raise click.ClickException(f"The job {name} failed: {run.error}")
    click.echo(f"{name} took {run.seconds:.2f} s: {_told(run)}")


def _told(run: jobruns.JobRun) -> str:
    counts = [f"{name.replace('_', ' ')} {count}" for name, count in run.counts.items() if count]
    return ", ".join(counts) or "nothing was due"


def _document(run: jobruns.JobRun) -> dict[str, object]:
    return {
        "id": run.id,
        "started_at": run.started_at.isoformat(),
        "seconds": run.seconds,
        "outcome": run.outcome,
        "counts": dict(run.counts),
        "error": run.error,
        "started_by": run.started_by,
    }
