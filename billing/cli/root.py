"""The list of commands, and how each of them may fail.

Exit status: 0 done, 1 refused (one plain sentence on standard error), 2 wrong
usage, 130 interrupted. A command's module is imported only when it is used, so
that `paygo --help` is quick.
"""

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple, NoReturn

import click
from sqlalchemy.exc import OperationalError

from metering.kit.errors import Refusal


class Listed(NamedTuple):
    """Where a command is (`module:name`), and what `paygo --help` says of it, in a line."""

    place: str
    says: str


# In the order of the help: what a stranger needs first.
COMMANDS: Mapping[str, Listed] = {
    "demo": Listed("billing.cli.demo:demo", "Show everything: 200 trusts, a month, its invoices."),
    "serve": Listed("billing.cli.serve:serve", "Run paygo, with a database of its own if need be."),
    "web": Listed("billing.cli.web:web", "Run the web server alone."),
    "scheduler": Listed("billing.cli.jobs:scheduler", "Run the scheduled jobs until stopped."),
    "migrate": Listed("billing.cli.database:migrate", "Bring the database to this version."),
    "archive": Listed("billing.cli.archive:archive", "Move an old month's raw events to a file."),
    "distribute": Listed("billing.cli.distribution:distribute", "Spread tables over a cluster."),
    "settings": Listed("billing.cli.database:settings", "List every setting and what it is now."),
    "jobs": Listed("billing.cli.jobs:jobs", "List the scheduled jobs and how they last went."),
    "run-job": Listed("billing.cli.jobs:run_job", "Run one job now."),
    "key": Listed("billing.cli.sources:key", "Issue, list and revoke keys of hosted services."),
    "user": Listed("billing.cli.users:user", "Add and list the people who may sign in."),
    "events": Listed("billing.cli.events:events", "Send usage events."),
    "readings": Listed("billing.cli.readings:readings", "Look after the daily readings."),
    "tariff": Listed("billing.cli.tariffs:tariff", "Check, compare, simulate and list tariffs."),
    "estimate": Listed("billing.cli.tariffs:estimate", "Price supposed usage, with the working."),
    "forecast": Listed("billing.cli.planning:forecast", "Show what this month will come to."),
    "accrual": Listed("billing.cli.planning:accrual", "Show what was used and not invoiced."),
    "bill-run": Listed("billing.cli.runs:bill_run", "Run a month end, step by step."),
    "documents": Listed("billing.cli.documents:documents", "Fetch documents of issued invoices."),
    "balances": Listed("billing.cli.balances:balances", "Show balances for agreement."),
    "payments": Listed("billing.cli.payments:payments", "Import bank statements; show the ledger."),
    "reconcile": Listed("billing.cli.checks:reconcile", "Check that nothing of a month was lost."),
    "verify": Listed("billing.cli.checks:verify", "Check every seal, number, sum and working."),
    "probe": Listed("billing.cli.probe:probe", "Try it all with synthetic usage, to the penny."),
    "backup": Listed("billing.cli.backups:backup", "Write the whole database to a file."),
    "restore": Listed("billing.cli.backups:restore", "Read such a file back, and prove it."),
}


class _Commands(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        listed = COMMANDS.get(cmd_name)
        if listed is None:
            return None
        module, _, name = listed.place.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, listed.says) for name, listed in COMMANDS.items()])


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
