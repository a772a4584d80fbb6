"""What the pages of access show."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from billing.access.model import Grant, Role
from billing.access.queries import UserSummary
from billing.forms import Form
from billing.listing import Act, Asked, Cell, Column, Listing

USERS = "users"
ROLE_CHOICES = (("", "Choose a role"), *((role.value, role.label) for role in Role))


@dataclass(frozen=True)
class SignInPage:
    """The sign-in page.

    Attributes:
        form: as typed.
        next: where to go afterwards, a path of ours.
        ended: the session was ended, rather than never begun.
        provider: name on the button of the identity provider, None where there is none.
    """

    form: Form
    next: str | None
    ended: bool
    provider: str | None


@dataclass(frozen=True)
class HeldRole:
    """A role as a page lists it, and the key by which a form names it."""

    label: str
    scope: str
    key: str


@dataclass(frozen=True)
class UserPage:
    """One user."""

    user: UserSummary
    held: Listing
    is_self: bool
    accounts: Sequence[tuple[str, str]]
    sources: Sequence[tuple[str, str]]
    form: Form = field(default_factory=Form)


def choices(found: Sequence[tuple[str, str]] | Sequence[tuple[int, str]]) -> list[tuple[str, str]]:
    """Return a list box's options, the empty one first."""
    return [("", "Not for one"), *((str(key), name) for key, name in found)]


def grant_key(grant: Grant) -> str:
    """Return a grant as a form names it."""
    source = "" if grant.source_id is None else grant.source_id
    return f"{grant.role}|{grant.account_id or ''}|{source}"


def held_roles(
    grants: frozenset[Grant],
    *,
    accounts: Sequence[tuple[str, str]],
    sources: Sequence[tuple[int, str]],
) -> tuple[HeldRole, ...]:
    """Return grants in the order of roles, each with what it is for in words."""
    account_names, source_names = dict(accounts), dict(sources)
    order = list(Role)

    def scope(grant: Grant) -> str:
        if grant.account_id is not None:
            return account_names.get(grant.account_id, grant.account_id)
        if grant.source_id is not None:
            return source_names.get(grant.source_id, str(grant.source_id))
        return "Everything"

    held = sorted(grants, key=lambda grant: (order.index(grant.role), scope(grant)))
    return tuple(HeldRole(grant.role.label, scope(grant), grant_key(grant)) for grant in held)


def role_words(user: UserSummary) -> str:
    """Return the roles of a user in words."""
    return ", ".join(role.label for role in Role if role in user.principal.roles) or "None"


def roles_listing(
    held: Sequence[HeldRole], *, whose: str, path: str, remove_href: str | None = None
) -> Listing:
    """Return the roles of a user; `remove_href` takes one away, None where that may not be."""
    return Listing(
        name="roles",
        caption=whose,
        caption_hidden=True,
        columns=(
            Column("Role"),
            Column("For"),
            *((Column("Action", acts=True),) if remove_href else ()),
        ),
        rows=tuple(
            (
                Cell(role.label),
                Cell(role.scope),
                *((_removal(role, remove_href),) if remove_href else ()),
            )
            for role in held
        ),
        path=path,
        empty="There is no role, so nothing can be seen. An administrator gives one.",
    )


def _removal(role: HeldRole, href: str) -> Cell:
    hidden = f"{role.label} for {role.scope}"
    return Cell("", acts=(Act("Remove", href, hidden, {"grant": role.key}),))


def users_listing(
    found: Sequence[UserSummary], *, total: int, asked: Asked, search: str, path: str
) -> Listing:
    """Return the list of users."""
    query = {"search": search} if search else {}
    order = {"sort": asked.sort, "direction": asked.direction}
    rows = tuple(
        (
            Cell(user.principal.name, href=f"{path}/{user.principal.id}"),
            Cell(user.principal.email),
            Cell(role_words(user)),
            Cell("Closed", colour="grey") if user.disabled else Cell("Open", colour="green"),
        )
        for user in found
    )
    return Listing(
        name=USERS,
        caption="Users",
        caption_hidden=True,
        columns=(
            Column("Name", "name"),
            Column("Email address", "email"),
            Column("Roles"),
            Column("Access", "access"),
        ),
        rows=rows,
        path=path,
        query=query,
        sort=asked.sort,
        direction=asked.direction,
        page=asked.page,
        download=f"{path}?{urlencode({**query, **order, 'download': USERS})}" if found else None,
        total=total,
        empty="No user has that name or email address." if search else "There are no users yet.",
    )
