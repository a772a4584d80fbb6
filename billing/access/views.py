"""Pages to sign in and out, and to see and change one's own access."""

from flask import (
    Blueprint,
    Flask,
    Response,
    current_app,
    flash,
    render_template,
    request,
    url_for,
)
from flask import session as browser_state

from billing.access import session_operations
from billing.access.browser import admit, session_token, set_up_cookie, take_cookie_back
from billing.access.guards import (
    SIGNED_IN,
    SIGNED_IN_AT_ALL,
    PasswordChangeNeeded,
    current_principal,
    principal_or_none,
)
from billing.access.model import safe_next
from billing.access.oidc import provider_name
from billing.access.pages import SignInPage, held_roles, roles_listing
from billing.access.queries import grant_choices
from billing.access.schemas import PasswordForm, SignInForm
from billing.forms import Form, read_form
from billing.sheets import listed
from billing.web import AREAS, go, navigation
from metering.kit.errors import Refusal
from metering.kit.guards import PUBLIC, guard_blueprint, guarded
from metering.kit.logs import get_logger
from metering.kit.web import edge

blueprint = Blueprint("access", __name__, template_folder="templates")
guard_blueprint(blueprint, SIGNED_IN)
_log = get_logger(__name__)


@blueprint.get("/")
def home() -> Response | str:
    """Lead to the first page that whoever is signed in may see."""
    links = navigation()
    for area in AREAS:
        if links.get(area):
            return go(links[area][0].href)
    return render_template("access/nothing.html")


@blueprint.get("/sign-in")
@guarded(PUBLIC)
def sign_in() -> Response | str:
    """Show the sign-in page."""
    return _sign_in_page(Form())


def _sign_in_page(form: Form) -> Response | str:
    page = SignInPage(
        form=form,
        next=safe_next(request.values.get("next")),
        ended="ended" in request.args and not form.errors,
        provider=provider_name(current_app),
    )
    return render_template("access/sign_in.html", page=page, form=form)


@blueprint.post("/sign-in")
@guarded(PUBLIC)
def sign_in_sent() -> Response | tuple[Response | str, int]:
    """Check the password and open a session."""
    form, sent = read_form(SignInForm(), request.form)
    if sent is None:
        return _sign_in_page(form), 422
    with edge().database.transaction() as session:
        outcome = session_operations.sign_in(
            session,
            now=edge().clock(),
            email=sent["email"],
            password=sent["password"],
            remote_address=request.remote_addr,
        )
    if outcome.refusal is not None:
        _log.info("sign-in refused", code=outcome.refusal.code)
        status = 429 if isinstance(outcome.refusal, session_operations.TooManySignIns) else 422
        shown = form.with_error(outcome.refusal.detail, name="email")
        return _sign_in_page(shown), status
    return admit(outcome.token, then=safe_next(request.form.get("next")))


@blueprint.post("/sign-out")
@guarded(PUBLIC)
def sign_out() -> Response:
    """End the session, if there is one."""
    token = session_token()
    if token:
        with edge().database.transaction() as session:
            session_operations.end_session(session, now=edge().clock(), token=token)
    browser_state.clear()
    response = go(url_for("access.signed_out"))
    take_cookie_back(response)
    return response


@blueprint.get("/signed-out")
@guarded(PUBLIC)
def signed_out() -> str:
    """Say that one is signed out."""
    return render_template("access/signed_out.html")


@blueprint.get("/profile")
def profile() -> str:
    """Show one's own details and roles."""
    principal = current_principal()
    with edge().database.snapshot() as session:
        accounts, sources = grant_choices(session)
    held = roles_listing(
        held_roles(principal.grants, accounts=accounts, sources=sources),
        whose="Your roles",
        path=url_for("access.profile"),
    )
    return render_template("access/profile.html", me=principal, held=listed(held))


@blueprint.get("/password")
@guarded(SIGNED_IN_AT_ALL)
def change_password() -> str:
    """Show the form to change one's password."""
    return render_template("access/password.html", form=Form(), me=current_principal())


@blueprint.post("/password")
@guarded(SIGNED_IN_AT_ALL)
def change_password_sent() -> Response | tuple[str, int]:
    """Change one's password; every other browser is signed out."""
    me = current_principal()
    form, sent = read_form(PasswordForm(), request.form)
    if sent is not None:
        try:
            with edge().database.transaction() as session:
                token = session_operations.change_password(
                    session,
                    now=edge().clock(),
                    user_id=me.id,
                    current=sent["current_password"],
                    new=sent["new_password"],
                )
        except Refusal as refusal:
            form = form.with_refusal(refusal)
        else:
            response = admit(token, then=None)
            flash("Your password has been changed.", "success")
            return response
    return render_template("access/password.html", form=form, me=me), 422


def register(app: Flask, *, secure: bool) -> None:
    """Add access to `app`.

    Args:
        app: the application.
        secure: session cookies are for https alone.
    """
    set_up_cookie(app, secure=secure)
    session_operations.hash_of_nobody()
    app.jinja_env.globals["principal"] = principal_or_none

    def lead_to_password(_refusal: PasswordChangeNeeded) -> Response:
        return go(url_for("access.change_password"))

    app.register_error_handler(PasswordChangeNeeded, lead_to_password)
    app.register_blueprint(blueprint)
