"""Pages of the console."""

from flask import Blueprint, Flask, render_template

from billing.access.guards import permitted
from billing.access.model import Permission
from billing.web import add_navigation
from metering.kit.guards import guard_blueprint

blueprint = Blueprint("console", __name__, template_folder="templates", url_prefix="/console")
guard_blueprint(blueprint, permitted(Permission.SEE_EVERYTHING))


@blueprint.get("/")
def home() -> str:
    """Show the start page of the central team."""
    return render_template("console/home.html")


def register(app: Flask) -> None:
    """Add the console to `app`."""
    app.register_blueprint(blueprint)
    add_navigation(app, area="console", label="Home", endpoint="console.home")
