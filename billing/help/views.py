"""Public pages about paygo itself."""

import inspect

from flask import Blueprint, Flask, render_template, url_for

from billing.help.pages import ProblemPage
from billing.listing import Cell, Column, Listing
from billing.sheets import listed
from metering.kit.errors import NotFound
from metering.kit.guards import PUBLIC, guard_blueprint
from metering.kit.problems import every_refusal, status_of

blueprint = Blueprint("help", __name__, template_folder="templates")
guard_blueprint(blueprint, PUBLIC)


class NoSuchProblem(NotFound):
    """There is no problem with that code."""

    code = "no-such-problem"
    title = "No such problem"


def _problems() -> dict[str, ProblemPage]:
    return {
        code: ProblemPage(
            code=code,
            title=kind.title,
            status=int(status_of(kind)),
            meaning=" ".join((inspect.getdoc(kind) or kind.title).split()),
        )
        for code, kind in every_refusal().items()
    }


@blueprint.get("/help")
def help_page() -> str:
    """Show help."""
    return render_template("help/help.html")


@blueprint.get("/accessibility")
def accessibility() -> str:
    """Show the accessibility statement."""
    return render_template("help/accessibility.html")


@blueprint.get("/privacy")
def privacy() -> str:
    """Show the privacy notice."""
    return render_template("help/privacy.html")


@blueprint.get("/cookies")
def cookies() -> str:
    """Show what is kept in the browser."""
    return render_template("help/cookies.html")


@blueprint.get("/problems")
def problems() -> str:
    """List every problem that the API and the pages report."""
    path = url_for("help.problems")
    whole = Listing(
        name="problems",
        caption="Problems by code",
        caption_hidden=True,
        columns=(Column("Code"), Column("Status", numeric=True), Column("Title")),
        rows=tuple(
            (
                Cell(found.code, href=url_for("help.problem", code=found.code)),
                Cell(str(found.status), value=found.status),
                Cell(found.title),
            )
            for found in _problems().values()
        ),
        path=path,
        # Looked up by code from a program's log, so all of them stand on one page.
        page_size=1_000,
    )
    return render_template("help/problems.html", listing=listed(whole))


@blueprint.get("/problems/<code>")
def problem(code: str) -> str:
    """Say what one problem means; `type` of a problem document leads here.

    Raises:
        NoSuchProblem: no problem has that code.
    """
    found = _problems().get(code)
    if found is None:
        raise NoSuchProblem(f"There is no problem with the code {code}.")
    return render_template("help/problem_type.html", found=found)


def register(app: Flask) -> None:
    """Add the public pages to `app`."""
    app.register_blueprint(blueprint)
