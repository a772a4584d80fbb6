"""What the pages of access show."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from billing.access.model import Grant, Role
from billing.access.queries import UserSummary
from billing.forms import Form
from billing.listing import Cell, Column, Listing

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
    held: tuple[HeldRole, ...]
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


def users_listing(
    found: Sequence[UserSummary], *, total: int, page: int, search: str, path: str
) -> Listing:
    """Return the list of users."""
    rows = tuple(
        (
            Cell(user.principal.name, href=f"{path}/{user.principal.id}"),
            Cell(user.principal.email),
            Cell(", ".join(role.label for role in Role if role in user.principal.roles) or "None"),
            Cell("Closed", colour="grey") if user.disabled else Cell("Open", colour="green"),
        )
        for user in found
    )
    return Listing(
        caption="Users",
        caption_hidden=True,
        columns=(Column("Name"), Column("Email address"), Column("Roles"), Column("Access")),
        rows=rows,
        path=path,
        query={"search": search} if search else {},
        page=page,
        total=total,
        empty="No user has that name or email address." if search else "There are no users yet.",
    )
