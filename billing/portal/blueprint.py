"""The portal's blueprint: every page of it is for whoever may see the account."""

from flask import Blueprint

from billing.access.guards import permitted
from billing.access.model import Permission
from metering.kit.guards import guard_blueprint

blueprint = Blueprint("portal", __name__, template_folder="templates", url_prefix="/portal")
guard_blueprint(blueprint, permitted(Permission.SEE_ACCOUNT))
