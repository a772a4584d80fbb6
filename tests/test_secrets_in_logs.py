"""Nothing secret is logged in a journey that uses every kind of secret there is."""

import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from billing.access.model import Grant, Role
from metering.kit.db import Database
from metering.kit.logs import configure_logs, get_logger
from tests import web
from tests.scenarios import story

KEY = "correct-horse-battery-staple-of-tests"
STRIPE, STRIPE_HOOK = "sk_test_" + "a1b2c3d4" * 3, "whsec_" + "e5f6a7b8" * 4
METRICS = "metrics-token-of-tests"
CHOSEN = "A passphrase nobody guesses 7"
WRONG = "guessed-wrongly-by-somebody"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What is logged, down to the last line for debugging."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logs(level="debug", form="json", stream=stream)
    yield stream
    root.handlers[:], root.level = handlers, level


def cookies(client: FlaskClient) -> list[str]:
    return [
        cookie.value
        for name in ("paygo_session", "paygo_form")
        if (cookie := client.get_cookie(name)) is not None
    ]


def test_a_journey_with_every_secret_logs_none(
    database: Database, tmp_path: Path, written: io.StringIO
) -> None:
    app = web.make_app(
        database,
        tmp_path,
        web.Clock(),
        PAYGO_SECRET_KEY=KEY,
        PAYGO_METRICS_TOKEN=METRICS,
        PAYGO_STRIPE_SECRET_KEY=STRIPE,
        PAYGO_STRIPE_WEBHOOK_SECRET=STRIPE_HOOK,
    )
    # What goes wrong is answered as people see it, and logged.
    app.testing = False
    app.config["PROPAGATE_EXCEPTIONS"] = False
    secrets = [KEY, STRIPE, STRIPE_HOOK, METRICS, CHOSEN, WRONG]
    story.service(database)
    account, _ = story.trusts(database, "RRK", "RA2")

    # Somebody is made, signs in wrongly and rightly, and chooses a password.
    root = web.signed_in(app, [Grant(Role.ADMINISTRATOR), Grant(Role.ANALYST)], email="r@x.uk")
    fields = {"name": "Grace Hopper", "email": "grace@x.uk", "role": "analyst"}
    made = web.send(root, "/users/new", fields, page="/users/new")
    temporary = made.text.split('<code class="nhsuk-code">')[1].split("<")[0]
    grace = app.test_client()
    for password in (WRONG, temporary):
        typed = {"email": "grace@x.uk", "password": password}
        web.send(grace, "/sign-in", typed, page="/sign-in")
    typed = {"current_password": temporary, "new_password": CHOSEN}
    assert web.send(grace, "/password", typed, page="/password").status_code == 303
    secrets += [temporary, *cookies(grace), *cookies(root), web.csrf_token(grace, "/profile")]

    # A key is issued, used, used wrongly; a webhook gets its secret.
    page = "/console/services/1/keys/new"
    shown = web.send(root, page, {"label": "Production"}, page=page).text
    key = re.findall(r"pgk_[A-Za-z0-9_-]{20,}", shown)[0]
    event = {"specversion": "1.0", "id": "1", "source": "imaging-archive"}
    for text in (key, f"{key}x", "pgk_nonsense"):
        for path in ("/api/v1/events", "/api/v1/manifests"):
            headers = {"Authorization": f"Bearer {text}", "Idempotency-Key": "same"}
            app.test_client().post(path, json=[event], headers=headers)
    editor = web.signed_in(app, [Grant(Role.FINANCE_EDITOR, account_id=account.id)], email="e@x.uk")
    hook = "/portal/RRK/notifications/webhooks/new"
    kinds = {"url": "https://x.example/in", "kinds": "invoice.issued"}
    answer = web.send(editor, hook, kinds, page=hook)
    secrets += [key, *re.findall(r"whsec_[A-Za-z0-9+/=]{20,}", answer.text), *cookies(editor)]

    # Prometheus asks, Stripe calls with a signature that is none, a page breaks.
    for header in (f"Bearer {METRICS}", f"Bearer {WRONG}"):
        app.test_client().get("/metrics", headers={"Authorization": header})
    signature = {"Stripe-Signature": f"t=1,v1={'ab' * 32}"}
    app.test_client().post("/webhooks/stripe", data=b"{}", headers=signature)

    def break_down() -> str:
        authorization = f"Bearer {key}"
        raise RuntimeError(f"no answer to {authorization} with {STRIPE}")

    app.view_functions["help.help_page"] = break_down
    assert root.get("/help").status_code == 500
    get_logger("test").info("settings", stripe_secret_key=STRIPE, headers={"Cookie": cookies(root)})

    log = written.getvalue()
    lines = [json.loads(line) for line in log.splitlines()]
    assert len(lines) > 25
    assert any("RuntimeError" in str(line.get("exception", "")) for line in lines)
    assert len(secrets) >= 14
    for secret in secrets:
        assert secret not in log, next(line for line in lines if secret in json.dumps(line))


def test_a_database_that_refuses_its_password_does_not_tell_it(
    tmp_path: Path, written: io.StringIO
) -> None:
    password = "-".join(("a", "password", "of", "the", "database"))
    nowhere = Database(f"postgresql://paygo:{password}@127.0.0.1:1/paygo")
    client = web.make_app(nowhere, tmp_path, web.Clock()).test_client()
    assert client.get("/readyz").status_code == 503
    assert client.get("/console/").status_code in {303, 503}
    assert client.get("/portal/").status_code in {303, 503}
    assert password not in written.getvalue()
    nowhere.dispose()
