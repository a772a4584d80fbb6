"""The list of commands, and how each of them may fail.

Exit status: 0 done, 1 refused (one plain sentence on standard error), 2 wrong
usage, 130 interrupted. A command's module is imported only when it is used, so
that `paygo --help` is quick.
"""

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import NoReturn

import click
from sqlalchemy.exc import OperationalError

from metering.kit.errors import Refusal

# In the order of the help: what a stranger needs first.
COMMANDS: Mapping[str, str] = {
    "demo": "billing.cli.demo:demo",
    "serve": "billing.cli.serve:serve",
    "web": "billing.cli.serve:web",
    "scheduler": "billing.cli.jobs:scheduler",
    "migrate": "billing.cli.database:migrate",
    "archive": "billing.cli.archive:archive",
    "distribute": "billing.cli.distribution:distribute",
    "settings": "billing.cli.database:settings",
    "jobs": "billing.cli.jobs:jobs",
    "run-job": "billing.cli.jobs:run_job",
    "key": "billing.cli.sources:key",
    "user": "billing.cli.users:user",
    "events": "billing.cli.events:events",
    "readings": "billing.cli.readings:readings",
    "tariff": "billing.cli.tariffs:tariff",
    "estimate": "billing.cli.tariffs:estimate",
    "forecast": "billing.cli.planning:forecast",
    "accrual": "billing.cli.planning:accrual",
    "bill-run": "billing.cli.runs:bill_run",
    "documents": "billing.cli.documents:documents",
    "balances": "billing.cli.balances:balances",
    "payments": "billing.cli.payments:payments",
    "reconcile": "billing.cli.checks:reconcile",
    "verify": "billing.cli.checks:verify",
    "probe": "billing.cli.probe:probe",
    "backup": "billing.cli.backups:backup",
    "restore": "billing.cli.backups:restore",
}


class _Commands(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Settings are environment variables; 'paygo settings' lists them.",
)
@click.version_option(package_name="paygo", prog_name="paygo")
def paygo() -> None:
    """Meter and bill pay-as-you-go use of nationally hosted services.

    'paygo demo' shows everything with real trusts and a month of usage.
    """


def main() -> NoReturn:
    """Run the command line and exit with its status."""
    try:
        sys.exit(paygo.main(standalone_mode=False) or 0)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        refuse(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except Refusal as refusal:
        lines = [
            f"  {error.pointer or '/'}: {error.detail}"
            for error in refusal.errors
            if error.detail not in refusal.detail
        ]
        refuse("\n".join([refusal.detail, *lines]))
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()
        refuse(f"The database cannot be used: {reason[0] if reason else error}")
    except BrokenPipeError:
        # Whoever read our output, `head` for instance, has had enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.filename is None:
            raise
        refuse(f"{error.filename} cannot be used: {error.strerror}.")


def refuse(sentence: str) -> NoReturn:
    """Say why on standard error and exit with status 1."""
    click.echo(sentence, err=True)
    sys.exit(1)
