"""Making tariffs and drafting versions as files; every fault is told, with its line."""

from flask import Response, flash, render_template, request, url_for
from marshmallow import Schema

from billing.access.guards import current_principal
from billing.console.blueprint import PREPARES, blueprint
from billing.console.forms import FormPage, Input, text
from billing.console.overview_queries import sources_without_tariff
from billing.console.tariff_places import Problem, problems
from billing.console.tariff_views import in_force_now
from billing.forms import Form, read_form
from billing.tariffs import operations, queries
from billing.tariffs.files import MAXIMUM_CHARACTERS, dump_document
from billing.web import go
from metering.kit.errors import FieldError, Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge

Answer = Response | str | tuple[str, int]


class NewTariffForm(Schema):
    """A new tariff."""

    source = text("Choose a service")
    name = text("Enter the tariff's name")
    code = text("Enter a code", longest=100)


@blueprint.route("/tariffs/new", methods=["GET", "POST"])
@guarded(PREPARES)
def new_tariff() -> Answer:
    """Begin the tariff of a hosted service."""
    form = Form({"source": request.args.get("source", "")})
    if request.method == "POST":
        form, sent = read_form(NewTariffForm(), request.form)
        if sent is not None:
            try:
                with edge().database.transaction() as session:
                    operations.create_tariff(
                        session,
                        code=sent["code"],
                        source=sent["source"],
                        name=sent["name"],
                        principal=current_principal().id,
                        now=edge().clock(),
                    )
                flash("The tariff is made. Draft its first version now.", "success")
                return go(url_for("console.draft_version", code=sent["code"]))
            except Refusal as refusal:
                form = form.with_error(refusal.detail, name="code")
    with edge().database.snapshot() as session:
        sources = sources_without_tariff(session)
    page = FormPage(
        "Make a tariff",
        form,
        (
            Input("source", "Service", "choice", options=(("", "Choose one"), *sources)),
            Input("name", "Name", hint="As trusts see it"),
            Input(
                "code", "Code", hint="Lower-case words with hyphens, for example imaging-archive"
            ),
        ),
        "Make the tariff",
        (("Tariffs", url_for("console.tariffs")),),
    )
    shown = render_template("console/form.html", page=page)
    return (shown, 422) if form.errors else shown


def starting_text(code: str, name: str) -> str:
    """Return what the first version of a tariff starts from."""
    return dump_document(
        {
            "tariff": code,
            "version": "2026-04",
            "name": name,
            "effective_from": "2026-04-01",
            "vat": "standard",
            "prices": [
                {
                    "meter": "code-of-a-meter",
                    "model": "graduated",
                    "scope": "pool",
                    "tiers": [
                        {"up_to": "1000", "unit_price": "0.50"},
                        {"up_to": None, "unit_price": "0.35"},
                    ],
                }
            ],
        }
    )


@blueprint.route("/tariffs/<code>/draft", methods=["GET", "POST"])
@guarded(PREPARES)
def draft_version(code: str) -> Answer:
    """Write a version as a file: a new one, or a draft that is there (`?start=ID`)."""
    with edge().database.snapshot() as session:
        owner = queries.tariff(session, code=code)
        start = request.args.get("start")
        if start is not None:
            content = operations.export_tariff(session, version_id=start)
        else:
            held = in_force_now(session, code=code)
            content = (
                starting_text(code, owner.name)
                if held is None
                else operations.export_tariff(session, version_id=held[0].id)
            )
    words = (
        "Change what you want and save; it stays a draft until it is submitted and somebody else "
        "approves it. A new version needs a name and a first day of its own."
    )
    return _editor(
        f"Draft of {owner.name}" if start else f"New version of {owner.name}",
        content,
        words=words,
        crumbs=(
            ("Tariffs", url_for("console.tariffs")),
            (owner.name, url_for("console.tariff", code=code)),
        ),
        upload=False,
    )


@blueprint.route("/tariffs/import", methods=["GET", "POST"])
@guarded(PREPARES)
def import_version() -> Answer:
    """Import a tariff file as a draft version."""
    words = (
        "Choose a tariff file (YAML or JSON), or paste it. It becomes a draft version of the "
        "tariff that it names."
    )
    return _editor(
        "Import a tariff file",
        "",
        words=words,
        crumbs=(("Tariffs", url_for("console.tariffs")),),
        upload=True,
    )


def _editor(
    title: str,
    content: str,
    *,
    words: str,
    crumbs: tuple[tuple[str, str], ...],
    upload: bool,
) -> Answer:
    form = Form({"content": content})
    found: tuple[Problem, ...] = ()
    if request.method == "POST":
        typed = _sent_text()
        form = Form({"content": typed})
        try:
            if not typed.strip():
                form = form.with_error("Choose a file or paste its text", name="content")
            else:
                with edge().database.transaction() as session:
                    row = operations.import_tariff(
                        session, text=typed, principal=current_principal().id, now=edge().clock()
                    )
                flash("The draft is saved. Look at it, then submit it for approval.", "success")
                return go(url_for("console.version", version_id=row.id))
        except Refusal as refusal:
            faults = refusal.errors or (FieldError("", refusal.code, refusal.detail),)
            found = problems(typed, faults)
            form = form.with_error(f"The tariff is not saved. {refusal.detail}", name="content")
    shown = _editor_page(title, form, found, words=words, crumbs=crumbs, upload=upload)
    return (shown, 422) if form.errors else shown


def _editor_page(
    title: str,
    form: Form,
    found: tuple[Problem, ...],
    *,
    words: str,
    crumbs: tuple[tuple[str, str], ...],
    upload: bool,
) -> str:
    return render_template(
        "console/tariff_editor.html",
        title=title,
        form=form,
        problems=found,
        words=words,
        crumbs=crumbs,
        upload=upload,
    )


def _sent_text() -> str:
    """Return the tariff text that was sent: the file where one was chosen, else what was typed."""
    sent = request.files.get("file")
    if sent is not None and sent.filename:
        raw: bytes = sent.read(4 * MAXIMUM_CHARACTERS)
        return raw.decode("utf-8-sig", errors="replace").replace("\r\n", "\n")
    return request.form.get("content", "").replace("\r\n", "\n")
