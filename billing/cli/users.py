"""`paygo user`: who may sign in."""

import click

from billing.access import operations, queries
from billing.access.model import Grant, Role
from billing.accounts.queries import payer_by_ods_code
from billing.cli.context import PRINCIPAL, opened_database, print_json, print_table
from metering.kit.clock import now
from metering.kit.errors import NotFound
from metering.sources.queries import by_code


class UserUnknown(NotFound):
    """Nobody signs in with that email address."""

    code = "user-unknown"
    title = "No such user"


@click.group()
def user() -> None:
    """Add and list the people who may sign in."""


@user.command()
@click.argument("email")
@click.option("--name", required=True, help="The person's name, as pages show it.")
@click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    type=click.Choice([role.value for role in Role]),
    help="What they may do; repeat for several.",
)
@click.option("--trust", help="ODS code of the trust that finance roles are for.")
@click.option("--service", help="Code of the hosted service that a service owner is for.")
def add(
    email: str, name: str, roles: tuple[str, ...], trust: str | None, service: str | None
) -> None:
    """Make a user and print the temporary password: it is shown only this once.

    \b
    Examples:
      paygo user add ann@nhs.example --name "Ann Archer" --role analyst
      paygo user add tom@nhs.example --name "Tom Till" --role finance-viewer --trust RRK
    """
    with opened_database() as database, database.transaction() as session:
        grants = []
        for word in roles:
            role = Role(word)
            account_id = source_id = None
            if role.scope == "account" and trust is not None:
                account_id = payer_by_ods_code(session, ods_code=trust).account.id
            if role.scope == "source" and service is not None:
                source_id = by_code(session, code=service).id
            grants.append(Grant(role, account_id=account_id, source_id=source_id))
        made = operations.create_user(
            session, now=now(), email=email, name=name, grants=grants, by=PRINCIPAL
        )
    click.echo(made.temporary_password)
    click.echo(f"{email} must change it at the first sign-in.", err=True)


@user.command("reset-password")
@click.argument("email")
def reset_password(email: str) -> None:
    """Give a user a new temporary password, print it and end their sessions.

    \b
    Example:
      paygo user reset-password ann@nhs.example
    """
    with opened_database() as database, database.transaction() as session:
        found, _ = queries.users(session, search=email)
        wanted = [one for one in found if one.principal.email == email.strip().lower()]
        if not wanted:
            raise UserUnknown(f"Nobody signs in with {email}.")
        made = operations.reset_password(
            session, now=now(), user_id=wanted[0].principal.id, by=PRINCIPAL
        )
    click.echo(made.temporary_password)


@user.command("list")
@click.option("--search", default="", help="Part of a name or email address.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_users(search: str, as_json: bool) -> None:
    """List the people who may sign in, by name.

    \b
    Example:
      paygo user list --search archer
    """
    with opened_database() as database, database.snapshot() as session:
        found, total = queries.users(session, search=search, size=1000)
    rows = [
        (
            one.principal.name,
            one.principal.email,
            ", ".join(sorted(role.value for role in one.principal.roles)),
            "closed" if one.disabled else "open",
        )
        for one in found
    ]
    columns = ("Name", "Email", "Roles", "Access")
    if as_json:
        print_json([dict(zip(map(str.lower, columns), row, strict=True)) for row in rows])
        return
    print_table(columns, rows)
    if total > len(rows):
        click.echo(f"{total - len(rows)} more; narrow it with --search.", err=True)
