"""The console's blueprint: whoever sees everything reads; each change names its own guard."""

from flask import Blueprint

from billing.access.guards import permitted
from billing.access.model import Permission
from metering.kit.guards import guard_blueprint

blueprint = Blueprint("console", __name__, template_folder="templates", url_prefix="/console")
guard_blueprint(blueprint, permitted(Permission.SEE_EVERYTHING))

PREPARES = permitted(Permission.PREPARE)
APPROVES = permitted(Permission.APPROVE)
