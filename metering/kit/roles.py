"""The roles that paygo works under: no log-in rights, and only what their work needs.

`PORTAL` narrows a transaction to a trust's rows. Each process works under a role of its own
besides: `WEB`, `INGEST` or `SCHEDULER`; whoever migrates owns the tables. Roles belong to the
server and not to one database, so migrations and restored backups both make sure of them first.
What the portal may do is in the migrations, what a process may do in `billing.grants`.
"""

from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from metering.kit.errors import Unavailable

PORTAL = "paygo_portal"
"""Pages of a trust: its own rows and no others."""
WEB = "paygo_web"
"""Pages and their API."""
INGEST = "paygo_ingest"
"""The metering API: usage comes in, and nothing about money is to be seen."""
SCHEDULER = "paygo_scheduler"
"""The jobs."""
ROLES = (PORTAL,)
"""Roles that migrations need."""
PROCESSES = (WEB, INGEST, SCHEDULER)
"""Roles that a process works under, where they are there.

They see every row (BYPASSRLS), which their tables' grants bound: row-level security is about
one trust's people. Without it PostgreSQL would refuse them COPY, and COPY is how events,
charges and lines are stored. To make such a role takes a superuser, or since PostgreSQL 16
whoever has BYPASSRLS too.
"""

_EXISTS = text("SELECT 1 FROM pg_roles WHERE rolname = :role")
# Two databases of one server may be migrated at once, and both would make the role.
_CREATE = """
DO $$ BEGIN
    CREATE ROLE {role} NOLOGIN NOINHERIT{attributes};
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""


class RolesMissing(Unavailable):
    """The database role may neither make nor take on the roles that row-level security needs."""

    code = "roles-missing"
    title = "Database roles are missing"


def make_roles(connection: Connection) -> None:
    """Make the roles unless they are there, and let the present role take them on.

    Raises:
        RolesMissing: it may not; the sentence says what an administrator must run.
    """
    privilege, options = _privilege(connection)
    me = connection.scalar(text("SELECT quote_ident(current_user)"))
    for role in ROLES:
        try:
            with connection.begin_nested():
                if connection.scalar(_EXISTS, {"role": role}) is None:
                    connection.exec_driver_sql(_CREATE.format(role=role, attributes=""))
                if not connection.scalar(
                    text("SELECT pg_has_role(current_user, :role, :privilege)"),
                    {"role": role, "privilege": privilege},
                ):
                    connection.exec_driver_sql(f"GRANT {role} TO {me}{options}")
        except ProgrammingError as error:
            raise RolesMissing(
                f"The database role {me} may not make or take on {role}; have an administrator "
                + "run: "
                + " ".join(f"CREATE ROLE {name} NOLOGIN; GRANT {name} TO {me};" for name in ROLES)
            ) from error


def usable(connection: Connection, role: str) -> bool:
    """Return whether whoever signed in may take on a process's role, and it sees every row."""
    return bool(
        connection.scalar(
            text(
                "SELECT rolbypassrls AND pg_has_role(session_user, oid, :privilege)"
                " FROM pg_roles WHERE rolname = :role"
            ),
            {"role": role, "privilege": _privilege(connection)[0]},
        )
    )


def make_process_roles(connection: Connection) -> Sequence[str]:
    """Make the processes' roles where that is allowed; return those that can be used.

    What may not be made is left out: paygo then works as whoever signs in.
    """
    me = connection.scalar(text("SELECT quote_ident(current_user)"))
    for role in PROCESSES:
        if usable(connection, role):
            continue
        # Without BYPASSRLS nobody works under it, but a backup's grants can be read.
        for attributes in (" BYPASSRLS", ""):
            if connection.scalar(_EXISTS, {"role": role}) is None:
                with suppress(ProgrammingError), connection.begin_nested():
                    connection.exec_driver_sql(_CREATE.format(role=role, attributes=attributes))
        with suppress(ProgrammingError), connection.begin_nested():
            connection.exec_driver_sql(f"GRANT {role} TO {me}{_privilege(connection)[1]}")
    return [role for role in PROCESSES if usable(connection, role)]


def process_role_statements() -> Sequence[str]:
    """Return what an administrator runs once to make the processes' roles."""
    return [f"CREATE ROLE {role} NOLOGIN NOINHERIT BYPASSRLS;" for role in PROCESSES]


def _privilege(connection: Connection) -> tuple[str, str]:
    # Whoever makes a role since PostgreSQL 16 may grant it, but not yet take it on.
    newer = connection.dialect.server_version_info or (0,)
    return ("SET", " WITH INHERIT FALSE, SET TRUE") if newer >= (16,) else ("MEMBER", "")
