"""Pages where an administrator gives and takes access."""

from typing import Any

from flask import Blueprint, Flask, Response, flash, render_template, request, url_for

from billing.access import operations, queries
from billing.access.guards import current_principal, permitted
from billing.access.model import Grant, Permission
from billing.access.pages import (
    ROLE_CHOICES,
    USERS,
    UserPage,
    choices,
    grant_key,
    held_roles,
    role_words,
    roles_listing,
    users_listing,
)
from billing.access.schemas import GrantForm, NewUserForm
from billing.forms import Form, read_form
from billing.listing import read_asked
from billing.sheets import listed, send_file
from billing.web import add_navigation, go
from metering.kit.errors import Refusal
from metering.kit.guards import guard_blueprint
from metering.kit.web import edge

blueprint = Blueprint("users", __name__, template_folder="templates", url_prefix="/users")
guard_blueprint(blueprint, permitted(Permission.ADMINISTER))

_PAGE_SIZE = 50
_FILE_ROWS_MOST = 100_000


def _grant(sent: dict[str, Any]) -> Grant:
    return Grant(sent["role"], account_id=sent.get("account"), source_id=sent.get("source"))


@blueprint.get("")
def index() -> str:
    """List the users."""
    search = request.args.get("search", "").strip()[:100]
    asked = read_asked(request.args, keys=queries.USER_SORT_KEYS, sort="name")
    wants_file = request.args.get("download") == USERS
    with edge().database.snapshot() as session:
        found, total = queries.users(
            session,
            search=search,
            sort=asked.sort,
            descending=asked.direction == "descending",
            page=1 if wants_file else asked.page,
            size=_FILE_ROWS_MOST if wants_file else _PAGE_SIZE,
        )
    if wants_file:
        send_file(
            USERS,
            ("Name", "Email address", "Roles", "Access", "Added"),
            (
                (
                    user.principal.name,
                    user.principal.email,
                    role_words(user),
                    "Closed" if user.disabled else "Open",
                    user.created_at,
                )
                for user in found
            ),
        )
    listing = users_listing(
        found, total=total, asked=asked, search=search, path=url_for("users.index")
    )
    return render_template("access/users.html", listing=listing, search=search)


@blueprint.get("/new")
def new() -> str:
    """Show the form that makes a user."""
    return _new_page(Form())


def _new_page(form: Form) -> str:
    with edge().database.snapshot() as session:
        accounts, sources = queries.grant_choices(session)
    return render_template(
        "access/new_user.html",
        form=form,
        role_choices=ROLE_CHOICES,
        accounts=choices(accounts),
        sources=choices(sources),
    )


@blueprint.post("/new")
def create() -> str | tuple[str, int]:
    """Make a user and show their temporary password, once."""
    form, sent = read_form(NewUserForm(), request.form)
    if sent is None:
        return _new_page(form), 422
    try:
        grant = _grant(sent)
        with edge().database.transaction() as session:
            made = operations.create_user(
                session,
                now=edge().clock(),
                email=sent["email"],
                name=sent["name"],
                grants=[grant],
                by=current_principal().id,
            )
    except Refusal as refusal:
        return _new_page(form.with_refusal(refusal)), 422
    return render_template("access/temporary_password.html", made=made, name=sent["name"])


@blueprint.get("/<user_id>")
def show(user_id: str) -> str:
    """Show one user."""
    return _user_page(user_id, Form())


def _user_page(user_id: str, form: Form) -> str:
    with edge().database.snapshot() as session:
        found = queries.user(session, user_id=user_id)
        accounts, sources = queries.grant_choices(session)
    is_self = found.principal.id == current_principal().id
    page = UserPage(
        user=found,
        held=listed(
            roles_listing(
                held_roles(found.principal.grants, accounts=accounts, sources=sources),
                whose=f"Roles of {found.principal.name}",
                path=request.path,
                remove_href=None
                if is_self
                else url_for("users.remove_role", user_id=found.principal.id),
            )
        ),
        is_self=is_self,
        accounts=choices(accounts),
        sources=choices(sources),
        form=form,
    )
    return render_template("access/user.html", page=page, form=form, role_choices=ROLE_CHOICES)


@blueprint.post("/<user_id>/roles")
def add_role(user_id: str) -> Response | tuple[str, int]:
    """Give a user one more role."""
    form, sent = read_form(GrantForm(), request.form)
    if sent is None:
        return _user_page(user_id, form), 422
    try:
        grant = _grant(sent)
        _change_grants(user_id, add={grant}, take=set())
    except Refusal as refusal:
        return _user_page(user_id, form.with_refusal(refusal)), 422
    flash("The role has been given. They must sign in again to use it.", "success")
    return go(url_for("users.show", user_id=user_id))


@blueprint.post("/<user_id>/roles/remove")
def remove_role(user_id: str) -> Response:
    """Take one role from a user."""
    key = request.form.get("grant", "")
    with edge().database.snapshot() as session:
        held = queries.user(session, user_id=user_id).principal.grants
    _change_grants(user_id, add=set(), take={grant for grant in held if grant_key(grant) == key})
    flash("The role has been taken away.", "success")
    return go(url_for("users.show", user_id=user_id))


def _change_grants(user_id: str, *, add: set[Grant], take: set[Grant]) -> None:
    with edge().database.transaction() as session:
        held = queries.user(session, user_id=user_id).principal.grants
        operations.set_grants(
            session,
            now=edge().clock(),
            user_id=user_id,
            grants=(held | add) - take,
            by=current_principal().id,
        )


@blueprint.post("/<user_id>/password")
def reset_password(user_id: str) -> str:
    """Give a user a new temporary password and show it, once."""
    with edge().database.transaction() as session:
        made = operations.reset_password(
            session, now=edge().clock(), user_id=user_id, by=current_principal().id
        )
        found = queries.user(session, user_id=user_id)
    return render_template("access/temporary_password.html", made=made, name=found.principal.name)


@blueprint.post("/<user_id>/access")
def change_access(user_id: str) -> Response:
    """Close or open a user's access."""
    disabled = request.form.get("access") == "closed"
    with edge().database.transaction() as session:
        operations.set_disabled(
            session,
            now=edge().clock(),
            user_id=user_id,
            disabled=disabled,
            by=current_principal().id,
        )
    flash("Their access is closed." if disabled else "Their access is open.", "success")
    return go(url_for("users.show", user_id=user_id))


def register(app: Flask) -> None:
    """Add the pages about users to `app`."""
    app.register_blueprint(blueprint)
    add_navigation(app, area="console", label="Users", endpoint="users.index")
