"""Who is signed in, and the guards that ask for it.

guard_blueprint(blueprint, roles(Role.ANALYST, Role.AUDITOR))   # a whole blueprint
@guarded(permitted(Permission.APPROVE))                         # one view
"""

from datetime import timedelta

from flask import g

from billing.access import queries, session_operations
from billing.access.browser import session_token
from billing.access.model import Permission, Principal, Role
from metering.kit.db import Scope
from metering.kit.errors import Forbidden, Unauthenticated
from metering.kit.guards import Guard
from metering.kit.roles import PORTAL
from metering.kit.web import edge

# Written at most once a minute, so that reading pages does not write a row each time.
_TOUCH_AFTER = timedelta(minutes=1)


class RoleNeeded(Forbidden):
    """Signed in, but without a role that may do this."""

    code = "role-needed"
    title = "Your role does not allow this"


class PasswordChangeNeeded(Forbidden):
    """A temporary password opens nothing but the page to change it."""

    code = "password-change-needed"
    title = "Change your temporary password first"


def current_principal() -> Principal:
    """Return who is signed in; looked up once a request.

    Raises:
        NotSignedIn: the browser has no session.
        SessionEnded: it has one that is over.
    """
    known = g.get("principal")
    if isinstance(known, Principal):
        return known
    token = session_token()
    if not token:
        raise queries.NotSignedIn("Sign in to continue.")
    now, database = edge().clock(), edge().database
    g.principal_sought = True
    with database.snapshot() as session:
        live = queries.live_session(session, token=token, now=now)
    if now - live.last_seen_at >= _TOUCH_AFTER:
        with database.transaction() as session:
            session_operations.touch_session(session, now=now, token=token)
    g.principal = live.principal
    return live.principal


def principal_or_none() -> Principal | None:
    """Return who is signed in, None where nobody is: for what a page shows around its content.

    Where the database did not answer when it was asked before, it is not asked again: the page
    that says so needs no name on it.
    """
    if "principal" not in g and g.get("principal_sought", False):
        return None
    try:
        return current_principal()
    except Unauthenticated:
        return None


def scope_of(principal: Principal) -> Scope | None:
    """Return what the database lets whoever acts see of trusts; None is everything.

    Give it to `database.snapshot` or `database.transaction` in every view for trusts.
    """
    if principal.may(Permission.SEE_EVERYTHING):
        return None
    return Scope(
        PORTAL,
        {
            "paygo.accounts": ",".join(sorted(principal.account_ids)),
            "paygo.subjects": ",".join(map(str, sorted(principal.organisation_ids))),
        },
    )


def _signed_in() -> Principal:
    found = current_principal()
    if found.must_change_password:
        raise PasswordChangeNeeded("Change your temporary password to continue.")
    return found


def _check_signed_in() -> None:
    _signed_in()


def _check_signed_in_at_all() -> None:
    current_principal()


SIGNED_IN = Guard("signed_in", _check_signed_in)
# The page that changes a temporary password, and signing out.
SIGNED_IN_AT_ALL = Guard("signed_in, with a temporary password too", _check_signed_in_at_all)


def roles(*allowed: Role) -> Guard:
    """Return the guard that lets holders of any of these roles pass."""

    def check() -> None:
        if _signed_in().roles.isdisjoint(allowed):
            raise RoleNeeded("Your role does not allow this.")

    return Guard(f"roles({', '.join(sorted(allowed))})", check)


def permitted(permission: Permission) -> Guard:
    """Return the guard that lets whoever holds a role with this permission pass.

    For one account or source, the operation asks again with its id.
    """

    def check() -> None:
        if not _signed_in().may(permission):
            raise RoleNeeded("Your role does not allow this.")

    return Guard(f"permitted({permission})", check)
