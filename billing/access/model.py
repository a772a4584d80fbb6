"""Roles, what each may do, and the principal who has them. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from metering.kit.errors import FieldError, Invalid

IDLE_LIMIT = timedelta(minutes=30)
ABSOLUTE_LIMIT = timedelta(hours=12)
ATTEMPT_WINDOW = timedelta(minutes=15)
FAILURES_OF_EMAIL = 5
# Many people of one trust share an address, so it is allowed far more.
FAILURES_OF_ADDRESS = 100
TEMPORARY_PASSWORD_LIFE = timedelta(days=7)
PASSWORD_LEAST, PASSWORD_MOST = 12, 128

_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
# NCSC: long beats complicated, and what everybody chooses is worth nothing.
_COMMON = (
    "password",
    "passw0rd",
    "qwerty",
    "letmein",
    "welcome",
    "123456",
    "abcdef",
    "iloveyou",
    "changeme",
    "nhsnhs",
)


class Role(StrEnum):
    """What somebody is to paygo."""

    SERVICE_OWNER = "service-owner"
    FINANCE_VIEWER = "finance-viewer"
    FINANCE_EDITOR = "finance-editor"
    ANALYST = "analyst"
    APPROVER = "approver"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"

    @property
    def label(self) -> str:
        """The role as pages say it."""
        return _LABELS[self]

    @property
    def scope(self) -> str:
        """What the role is for one of: `account`, `source`, or `everything`."""
        if self in TRUST_ROLES:
            return "account"
        return "source" if self is Role.SERVICE_OWNER else "everything"


_LABELS = {
    Role.SERVICE_OWNER: "Service owner",
    Role.FINANCE_VIEWER: "Trust finance viewer",
    Role.FINANCE_EDITOR: "Trust finance editor",
    Role.ANALYST: "Central analyst",
    Role.APPROVER: "Central approver",
    Role.AUDITOR: "Auditor",
    Role.ADMINISTRATOR: "Administrator",
}

TRUST_ROLES = frozenset({Role.FINANCE_VIEWER, Role.FINANCE_EDITOR})
CENTRAL_ROLES = frozenset({Role.ANALYST, Role.APPROVER, Role.AUDITOR, Role.ADMINISTRATOR})


class Permission(StrEnum):
    """One thing that some roles may do."""

    SEE_ACCOUNT = "see account"
    CHANGE_ACCOUNT = "change account"
    SEE_SOURCE = "see source"
    SEE_EVERYTHING = "see everything"
    PREPARE = "prepare"
    APPROVE = "approve"
    SEE_AUDIT = "see audit"
    ADMINISTER = "administer"


# `prepare`: draft tariffs, agreements, runs, corrections. `approve`: let them take effect;
# that nobody approves what they prepared is a rule of the object, not of the role.
PERMISSIONS: Mapping[Permission, frozenset[Role]] = {
    Permission.SEE_ACCOUNT: TRUST_ROLES | CENTRAL_ROLES,
    Permission.CHANGE_ACCOUNT: frozenset({Role.FINANCE_EDITOR}),
    Permission.SEE_SOURCE: frozenset({Role.SERVICE_OWNER}) | CENTRAL_ROLES,
    Permission.SEE_EVERYTHING: CENTRAL_ROLES,
    Permission.PREPARE: frozenset({Role.ANALYST}),
    Permission.APPROVE: frozenset({Role.APPROVER}),
    Permission.SEE_AUDIT: frozenset({Role.AUDITOR, Role.ADMINISTRATOR}),
    Permission.ADMINISTER: frozenset({Role.ADMINISTRATOR}),
}


class GrantDoesNotFit(Invalid):
    """A role was granted for the wrong kind of thing: finance roles are for one account, service
    owners for one source, central roles for everything."""

    code = "grant-does-not-fit"
    title = "The role does not fit what it is for"


@dataclass(frozen=True)
class Grant:
    """One role, and for which account or source.

    Raises:
        GrantDoesNotFit: see the class.
    """

    role: Role
    account_id: str | None = None
    source_id: int | None = None

    def __post_init__(self) -> None:
        wanted = self.role.scope
        for scope, word, given in (
            ("account", "account", self.account_id is not None),
            ("source", "service", self.source_id is not None),
        ):
            if given == (wanted == scope):
                continue
            detail = (
                f"{self.role.label} is not a role for one {word}."
                if given
                else f"Choose the {word} that this role is for."
            )
            raise GrantDoesNotFit(detail, errors=(FieldError(f"/{scope}", "scope", detail),))


@dataclass(frozen=True)
class Principal:
    """Whoever acts.

    Attributes:
        id: user id.
        name: as pages show it.
        email: lower case.
        grants: every role held.
        must_change_password: nothing else is open until they have.
        has_password: signs in here rather than by OpenID Connect.
        organisation_ids: of `account_ids`, by which their usage is known; known of whoever
            has a session.
    """

    id: str
    name: str
    email: str
    grants: frozenset[Grant] = frozenset()
    must_change_password: bool = False
    has_password: bool = True
    organisation_ids: frozenset[int] = frozenset()

    @property
    def roles(self) -> frozenset[Role]:
        """Roles held for anything."""
        return frozenset(grant.role for grant in self.grants)

    @property
    def account_ids(self) -> frozenset[str]:
        """Accounts for which a finance role is held; central roles see all and list none."""
        return frozenset(grant.account_id for grant in self.grants if grant.account_id is not None)

    @property
    def source_ids(self) -> frozenset[int]:
        """Sources owned."""
        return frozenset(grant.source_id for grant in self.grants if grant.source_id is not None)

    def may(
        self, permission: Permission, *, account_id: str | None = None, source_id: int | None = None
    ) -> bool:
        """Return whether a role allows it, for this account or source where one is named."""
        return any(
            grant.role in PERMISSIONS[permission]
            and (account_id is None or grant.account_id in {None, account_id})
            and (source_id is None or grant.source_id in {None, source_id})
            for grant in self.grants
        )


class UnfitPassword(Invalid):
    """A new password is too short, too long, too common or too much like the person's name."""

    code = "unfit-password"
    title = "The password cannot be used"


class UnfitEmail(Invalid):
    """The text is not an email address."""

    code = "unfit-email"
    title = "The email address cannot be used"


def clean_email(raw: str) -> str:
    """Return an email address as paygo keeps it: trimmed, lower case.

    Raises:
        UnfitEmail: it is none.
    """
    email = raw.strip().lower()
    if not _EMAIL.fullmatch(email) or len(email) > 254:
        detail = "Enter an email address in the correct format, like name@example.nhs.uk."
        raise UnfitEmail(detail, errors=(FieldError("/email", "format", detail),))
    return email


def check_new_password(password: str, *, email: str, name: str) -> None:
    """Check a new password by the NCSC's advice: long, uncommon, nothing about the person.

    Raises:
        UnfitPassword: with one sentence that says what to do.
    """
    low = password.lower()
    own = re.split(r"[\W_]+", f"{email.partition('@')[0]} {name}".lower())
    if len(password) < PASSWORD_LEAST:
        detail = f"Your new password must be at least {PASSWORD_LEAST} characters long."
    elif len(password) > PASSWORD_MOST:
        detail = f"Your new password must be at most {PASSWORD_MOST} characters long."
    elif len(set(low)) < 5 or any(common in low for common in _COMMON):
        detail = "Your new password is easy to guess. Try three words that do not belong together."
    elif any(len(part) > 3 and part in low for part in own):
        detail = "Your new password must not contain your name or email address."
    else:
        return
    raise UnfitPassword(detail, errors=(FieldError("/new_password", "unfit", detail),))


def session_is_live(*, started_at: datetime, last_seen_at: datetime, now: datetime) -> bool:
    """Return whether a session is neither idle (30 minutes) nor old (12 hours)."""
    return now - last_seen_at < IDLE_LIMIT and now - started_at < ABSOLUTE_LIMIT


def safe_next(raw: str | None) -> str | None:
    """Return a path of ours to go to after signing in, None for anything else.

    Browsers read a backslash as a slash and drop tabs and line ends, so that
    `/\\evil.test` and `/<tab>/evil.test` lead elsewhere; none of these is a path of ours.

    >>> safe_next("/portal/invoices?page=2"), safe_next("//evil.test"), safe_next("https://x.test")
    ('/portal/invoices?page=2', None, None)
    """
    if not raw or not raw.startswith("/") or raw.startswith("//"):
        return None
    if "\\" in raw or any(ord(character) <= 32 or ord(character) == 127 for character in raw):
        return None
    return raw


@dataclass(frozen=True)
class ClaimNames:
    """Where an identity provider says what we need.

    Attributes:
        roles: claim with the role names, a list or one text.
        organisations: claim with ODS codes, for finance roles.
        sources: claim with codes of hosted services, for service owners.
        role_names: the provider's names for our roles; ours are always understood.
    """

    roles: str = "roles"
    organisations: str = "organisations"
    sources: str = "services"
    role_names: Mapping[str, Role] | None = None


@dataclass(frozen=True)
class Identity:
    """Who an identity provider says somebody is.

    Attributes:
        subject: `iss` and `sub` together, unique for ever.
        roles: None where the provider says nothing of roles and paygo's own count.
    """

    subject: str
    email: str
    email_verified: bool
    name: str
    roles: frozenset[Role] | None
    organisations: frozenset[str]
    sources: frozenset[str]


class UnusableIdentity(Invalid):
    """The identity provider sent no subject or no email address."""

    code = "unusable-identity"
    title = "The identity provider did not say who you are"


def _texts(value: Any) -> frozenset[str]:
    if isinstance(value, str):
        return frozenset(part for part in re.split(r"[\s,]+", value) if part)
    if isinstance(value, list | tuple):
        return frozenset(str(part) for part in value if part)
    return frozenset()


def identity_of(claims: Mapping[str, Any], *, issuer: str, names: ClaimNames) -> Identity:
    """Read the claims of an ID token.

    Raises:
        UnusableIdentity: there is no subject or no email address.
    """
    subject, email = claims.get("sub"), claims.get("email")
    if not isinstance(subject, str) or not subject or not isinstance(email, str):
        raise UnusableIdentity("The identity provider did not give your email address.")
    known = {role.value: role for role in Role} | dict(names.role_names or {})
    roles: frozenset[Role] | None = None
    if names.roles in claims:
        # A role that is not ours (the provider serves other systems too) gives nothing.
        roles = frozenset(known[text] for text in _texts(claims[names.roles]) if text in known)
    return Identity(
        subject=f"{issuer}|{subject}",
        email=clean_email(email),
        email_verified=claims.get("email_verified") is True,
        name=str(claims.get("name") or email),
        roles=roles,
        organisations=frozenset(code.upper() for code in _texts(claims.get(names.organisations))),
        sources=_texts(claims.get(names.sources)),
    )


def grants_of(
    identity: Identity, *, accounts: Iterable[str], sources: Iterable[int]
) -> frozenset[Grant]:
    """Return what an identity's roles come to, for the accounts and sources it names."""
    accounts, sources = tuple(accounts), tuple(sources)
    found: set[Grant] = set()
    for role in identity.roles or ():
        if role.scope == "account":
            found.update(Grant(role, account_id=account) for account in accounts)
        elif role.scope == "source":
            found.update(Grant(role, source_id=source) for source in sources)
        else:
            found.add(Grant(role))
    return frozenset(found)
