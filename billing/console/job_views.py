"""Jobs: what runs by itself, how it went, and running one now."""

import threading
from dataclasses import dataclass

from flask import Response, flash, render_template, request, url_for

from billing.access.guards import current_principal, roles
from billing.access.model import Role
from billing.console.blueprint import blueprint
from billing.console.context import console
from billing.console.lists import Field, Sheet
from billing.console.people import Names, names_of
from billing.documents.words import plural
from billing.forms import Form
from billing.listing import Cell
from billing.web import go
from metering.kit import audit, jobruns
from metering.kit.errors import NotFound
from metering.kit.guards import guarded
from metering.kit.jobruns import Job, JobAlreadyRunning, JobRun
from metering.kit.roles import SCHEDULER
from metering.kit.web import edge
from metering.periods import show_moment

RUNS_SHOWN = 500
# Most jobs end within this; the page of a longer one says that it runs.
_WAIT_SECONDS = 3

RUNS_JOBS = roles(Role.ANALYST, Role.ADMINISTRATOR)
OUTCOME_COLOURS = {
    "running": "yellow",
    "succeeded": "green",
    "failed": "red",
    "abandoned": "orange",
}


class JobUnknown(NotFound):
    """No job has that name."""

    code = "no-such-job"
    title = "No such job"


@dataclass(frozen=True)
class JobLine:
    """A job and its latest run."""

    job: Job
    last: JobRun | None


def _clock_text(run: JobRun | None) -> str:
    if run is None:
        return "Never"
    return show_moment(run.started_at, seconds=True)


def _outcome(run: JobRun | None) -> Cell:
    if run is None:
        return Cell("Not yet", colour="grey")
    return Cell(run.outcome.capitalize(), colour=OUTCOME_COLOURS[run.outcome])


def _took(run: JobRun | None) -> str:
    if run is None or run.seconds is None:
        return ""
    tenths = int(run.seconds * 10)
    return f"{tenths // 10}.{tenths % 10} s" if tenths < 600 else f"{tenths // 600} min"


def _counts(run: JobRun) -> str:
    said = [f"{name} {count:,}" for name, count in run.counts.items() if count]
    return ", ".join(said) or ("" if run.error else "Nothing to do")


def jobs_sheet() -> Sheet[JobLine]:
    """Return the list of jobs."""
    return Sheet(
        name="jobs",
        caption="Jobs",
        sort="job",
        empty="No job is known to this server.",
        fields=(
            Field(
                "Job",
                lambda line: line.job.name,
                lambda line: Cell(line.job.name, href=url_for("console.job", name=line.job.name)),
                key="job",
            ),
            Field("What it does", lambda line: line.job.summary),
            Field("When", lambda line: line.job.schedule.capitalize().replace("london", "London")),
            Field(
                "Last run",
                lambda line: None if line.last is None else line.last.started_at,
                lambda line: Cell(_clock_text(line.last)),
                key="last",
            ),
            Field(
                "Outcome",
                lambda line: None if line.last is None else line.last.outcome,
                lambda line: _outcome(line.last),
                key="outcome",
            ),
        ),
    )


def runs_sheet(name: str, names: Names) -> Sheet[JobRun]:
    """Return the list of a job's runs."""
    return Sheet(
        name=f"runs-of-{name}",
        caption="Runs",
        empty="It has not run yet. The scheduler runs it when it is due; or run it now.",
        fields=(
            Field("Started", lambda run: run.started_at, lambda run: Cell(_clock_text(run))),
            Field("Outcome", lambda run: run.outcome, _outcome),
            Field("Took", _took, numeric=True),
            Field("What it did", _counts),
            Field("Trouble", lambda run: run.error or ""),
            Field("Started by", lambda run: names.of(run.started_by)),
        ),
    )


@blueprint.get("/jobs")
def jobs() -> Response | str:
    """List the jobs with their latest runs."""
    with edge().database.snapshot() as session:
        last = jobruns.last_runs(session)
    lines = [JobLine(job, last.get(name)) for name, job in console().jobs.items()]
    sheet = jobs_sheet()
    return render_template("console/jobs.html", listing=sheet.listing(lines))


def _job(name: str) -> Job:
    found = console().jobs.get(name)
    if found is None:
        raise JobUnknown(f"There is no job {name}.")
    return found


@blueprint.get("/jobs/<name>")
def job(name: str) -> Response | str:
    """Show one job and its history."""
    found = _job(name)
    outcome = request.args.get("outcome", "")
    with edge().database.snapshot() as session:
        runs = jobruns.recent_runs(session, job=name, limit=RUNS_SHOWN)
        names = names_of(session, principals=[run.started_by for run in runs])
    kept = [run for run in runs if outcome in {"", run.outcome}]
    sheet = runs_sheet(name, names)
    return render_template(
        "console/job.html",
        job=found,
        listing=sheet.listing(
            kept,
            query={"outcome": outcome},
            empty="No run ended like that. Clear the filter to see all.",
        ),
        filters=Form({"outcome": outcome}),
        outcomes=[("", "All"), *((one, one.capitalize()) for one in OUTCOME_COLOURS)],
        may_run=not current_principal().roles.isdisjoint({Role.ANALYST, Role.ADMINISTRATOR}),
    )


@blueprint.post("/jobs/<name>/run")
@guarded(RUNS_JOBS)
def run_now(name: str) -> Response:
    """Run a job now, in a thread of its own; it is recorded like any run."""
    found = _job(name)
    principal, here = current_principal().id, edge()
    with here.database.transaction() as session:
        audit.record(
            session,
            now=here.clock(),
            principal=principal,
            action="run job",
            object_kind="job",
            object_id=name,
        )
    came: list[JobRun | JobAlreadyRunning] = []

    def work() -> None:
        try:
            came.append(
                jobruns.run_job(
                    here.database.acting_as(SCHEDULER),
                    found,
                    clock=here.clock,
                    started_by=principal,
                )
            )
        except JobAlreadyRunning as refusal:
            came.append(refusal)

    thread = threading.Thread(target=work, name=f"job {name}", daemon=True)
    thread.start()
    thread.join(_WAIT_SECONDS)
    if not came:
        flash("The job runs. Load this page again to see how it went.")
    elif isinstance(came[0], JobAlreadyRunning):
        flash(came[0].detail)
    elif came[0].outcome == "succeeded":
        counted = sum(came[0].counts.values())
        done = f"It counted {plural(counted, 'thing')}." if counted else "There was nothing to do."
        flash(f"The job ran. {done}", "success")
    else:
        flash(f"The job {came[0].outcome}: {came[0].error}")
    return go(url_for("console.job", name=name))
