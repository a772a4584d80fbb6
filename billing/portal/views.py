"""Pages of the portal. Another trust's object is "not found" here."""

from flask import Blueprint, Flask, render_template

from billing.access.guards import permitted
from billing.access.model import Permission
from billing.web import add_navigation
from metering.kit.guards import guard_blueprint

blueprint = Blueprint("portal", __name__, template_folder="templates", url_prefix="/portal")
guard_blueprint(blueprint, permitted(Permission.SEE_ACCOUNT))


@blueprint.get("/")
def home() -> str:
    """Show the start page of trust finance."""
    return render_template("portal/home.html")


def register(app: Flask) -> None:
    """Add the portal to `app`."""
    app.register_blueprint(blueprint)
    add_navigation(app, area="portal", label="Home", endpoint="portal.home")
