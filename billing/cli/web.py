"""`paygo web`: the web server alone."""

from functools import partial

import click

from billing import app as billing_app
from billing.cli.context import check_schema, chosen_role, die_with, read_settings, start_logs
from billing.cli.listening import host_option, listening, port_option
from billing.jobs import ALL_JOBS
from billing.server import run_web
from metering import app as metering_app
from metering.kit.config import BadSetting
from metering.kit.roles import INGEST, WEB


@click.command()
@host_option
@port_option
@click.option("--metering-api", is_flag=True, help="Serve the metering API alone, no pages.")
@die_with
def web(host: str | None, port: int | None, metering_api: bool) -> None:
    """Run the web server alone, on the database that DATABASE_URL names.

    \b
    Examples:
      DATABASE_URL=postgresql://paygo@db/paygo PAYGO_SECRET_KEY=… paygo web
      DATABASE_URL=postgresql://paygo@db/paygo paygo web --metering-api
    """
    settings = listening(read_settings(), host=host, port=port)
    if settings.database_url is None:
        raise BadSetting(
            "paygo web needs DATABASE_URL; 'paygo serve' brings a database of its own.",
            setting="DATABASE_URL",
        )
    start_logs(settings)
    check_schema(settings.database_url)
    whole = partial(billing_app.create_app, jobs=ALL_JOBS)
    make_app = metering_app.create_app if metering_api else whole
    role = chosen_role(settings, settings.database_url, INGEST if metering_api else WEB)
    run_web(settings, settings.database_url, make_app=make_app, role=role)
