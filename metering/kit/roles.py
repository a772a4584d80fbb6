"""The roles that a transaction may take on: no log-in rights, and only what their work needs.

Roles belong to the server and not to one database, so migrations and restored
backups both make sure of them first. What each may do is in the migrations.
"""

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from metering.kit.errors import Unavailable

PORTAL = "paygo_portal"
"""Pages of a trust: its own rows and no others."""
ROLES = (PORTAL,)

_EXISTS = text("SELECT 1 FROM pg_roles WHERE rolname = :role")
# Two databases of one server may be migrated at once, and both would make the role.
_CREATE = """
DO $$ BEGIN
    CREATE ROLE {role} NOLOGIN NOINHERIT;
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
    # Whoever makes a role since PostgreSQL 16 may grant it, but not yet take it on.
    newer = connection.dialect.server_version_info or (0,)
    privilege, options = (
        ("SET", " WITH INHERIT FALSE, SET TRUE") if newer >= (16,) else ("MEMBER", "")
    )
    me = connection.scalar(text("SELECT quote_ident(current_user)"))
    for role in ROLES:
        try:
            with connection.begin_nested():
                if connection.scalar(_EXISTS, {"role": role}) is None:
                    connection.exec_driver_sql(_CREATE.format(role=role))
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
