"""What the console needs from the application's start: settings and the jobs table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import Flask, current_app

from billing.access.guards import principal_or_none
from billing.access.model import Permission
from billing.console.blueprint import blueprint
from metering.kit.config import Settings
from metering.kit.jobruns import Job, check_names


@dataclass(frozen=True)
class Console:
    """Given once, when the application is made.

    Attributes:
        jobs: the jobs table, by name.
    """

    settings: Settings
    jobs: Mapping[str, Job]


def install_console(app: Flask, *, settings: Settings, jobs: Sequence[Job]) -> None:
    """Give the console of `app` the settings and the jobs table."""
    app.extensions["paygo_console"] = Console(settings, check_names(jobs))


def console() -> Console:
    """Return what the application in hand was made with."""
    found = current_app.extensions["paygo_console"]
    assert isinstance(found, Console)
    return found


@blueprint.context_processor
def permissions() -> dict[str, bool]:
    """Say to every page of the console what its reader may do, so that it offers no more."""
    principal = principal_or_none()
    return {
        "may_prepare": principal is not None and principal.may(Permission.PREPARE),
        "may_approve": principal is not None and principal.may(Permission.APPROVE),
        "may_administer": principal is not None and principal.may(Permission.ADMINISTER),
        "sees_everything": principal is not None and principal.may(Permission.SEE_EVERYTHING),
    }
