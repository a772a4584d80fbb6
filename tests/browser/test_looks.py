"""How every page looks: WCAG 2.2 AA by axe-core, and nothing wider than its window.

Each kind of page that can be reached by links is opened once as whom it is for, unfolded, and
looked at on a desktop and a phone, on one filled database behind one server. A page that is
added is looked at without being named here.
"""

from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page
from sqlalchemy import text

from billing.access.model import Grant, Role
from tests.browser.conftest import DESKTOP, Site, enter, looks_of
from tests.crawling import one_of_each
from tests.trusts import NAMES, ODS, THIRD_ODS, Shown

pytestmark = pytest.mark.browser

# Looked at as whom they are for; the API's description has a test of its own.
ELSEWHERE = ("portal.", "help.", "api_docs.", "api-docs.")
# What answers a GET and is walked nowhere here: beginnings of endpoints, and why.
NOT_WALKED = {
    "access.home": "leads on",
    "api-docs.": "JSON",
    "api_docs.": "in test_api_docs_looks",
    "console.balance": "in test_newer_journeys: balances are agreed in December and March",
    "console.balance_file": "PDF",
    "console.bundle_file": "zip",
    "console.export_version": "YAML",
    "health.": "JSON",
    "invoice_lines.": "JSON",
    "monitoring.": "for Prometheus",
    "payment_api.": "JSON",
    "portal.balance_file": "PDF",
    "portal.bundle_file": "zip",
    "portal.document": "PDF and others",
    "portal.events_csv": "CSV",
    "portal.invoices_csv": "CSV",
    "portal.statement_csv": "CSV",
    "portal.usage_csv": "CSV",
    "source.": "JSON",
    "static": "files",
    "usage.": "JSON",
}
CENTRAL = (Role.ANALYST, Role.APPROVER, Role.AUDITOR, Role.ADMINISTRATOR)
# Same page, other look; `one_of_each` opens one of each.
NOWHERE = "/nowhere"
PUBLIC = ("/sign-in", "/sign-in?ended=1", "/signed-out", "/problems/not-found", NOWHERE)
TRUST = (
    "usage?meter=studies-archived&month=2026-04&split=modality",
    "usage?meter=studies-archived&view=month",
    "usage?meter=studies-archived&view=hour&day=2026-04-03",
    "usage/events?meter=studies-archived&day=2026-04-03",
    "invoices?status=overdue",
    "prices/imaging-archive?q0=1000",
)
DRAFT, MATCHED = "status = 'draft'", "identified = amount"
MISTYPED = "prices/imaging-archive?q0=many"
CONSOLE = (
    "?month=2026-04",
    "quarantine?state=dismissed",
    "month-ends/2026-04",
    "reconciliation?month=2026-04",
    "money/bank?state=all",
    "money/ledger/journal?first-day=1&first-month=5&first-year=2026",
    "money/ledger/settlement?month=2026-05",
    "money/stripe?show=webhooks",
    "audit?since-day=40&since-month=1&since-year=2026",
)
# Sent empty, each of these says what is missing and changes nothing.
FORMS = {
    "trust": (
        "budgets/new",
        "cost-centres",
        "notifications/emails/new",
        "notifications/webhooks/new",
    ),
    "central": (
        "/console/accounts/new",
        "/console/accounts/{account}/agreements/new",
        "/console/accounts/{account}/orders/new",
        "/console/accounts/{account}/local/new",
        "/console/accounts/{account}/vat/new",
        "/console/accounts/{account}/merge",
        "/console/organisations/new",
        "/console/organisations/import",
        "/console/services/new",
        "/console/services/1/keys/new",
        "/console/services/1/meters/new",
        "/console/tariffs/import",
        "/users/new",
    ),
}


@pytest.fixture
def page(browser: Browser, stage: Site) -> Page:
    """A browser that complains about nothing but what the test looks for."""
    context = browser.new_context(viewport={"width": DESKTOP, "height": 900})
    context.set_default_timeout(30_000)
    return context.new_page()


def check(faults: list[str]) -> None:
    assert not faults, "\n" + "\n".join(faults)


def wrong(page: Page, stage: Site, addresses: list[str]) -> list[str]:
    """Return what is wrong with how pages look, one sentence for each fault."""
    found = []
    for address in addresses:
        page.goto(stage.url + address)
        found += [f"{address}: {fault}" for fault in looks_of(page)]
    return found


def wrong_when_empty(page: Page, stage: Site, addresses: list[str]) -> list[str]:
    """Return what is wrong with how forms look that were sent with nothing in them."""
    found = []
    for address in addresses:
        page.goto(stage.url + address)
        page.evaluate(
            """document.querySelectorAll('main form[method=post] :is(input[type=text], textarea)')
                .forEach(field => { field.value = '' })"""
        )
        page.locator("main form[method=post] button[type=submit]").first.click()
        if page.get_by_role("alert").count() == 0:
            found.append(f"{address}: sent empty, it says nothing")
        found += [f"{address}, sent empty: {fault}" for fault in looks_of(page)]
    return found


def unwalked(shown: Shown, addresses: Iterable[str], *, ours: Callable[[str], bool]) -> list[str]:
    """Return the endpoints of a kind that give pages and are at none of the addresses."""
    rules = shown.app.url_map.bind("localhost")
    walked = {rules.match(urlsplit(each).path, method="GET")[0] for each in addresses}
    return sorted(
        {
            f"{rule.endpoint} is walked nowhere: {rule.rule}"
            for rule in shown.app.url_map.iter_rules()
            if "GET" in (rule.methods or ())
            and rule.endpoint not in walked
            and not rule.endpoint.startswith(tuple(NOT_WALKED))
            and ours(rule.endpoint)
        }
    )


def id_of(shown: Shown, table: str, where: str = "true") -> str:
    """Return the id of something that no link of a page leads to for everybody."""
    with shown.database.snapshot() as session:
        return str(session.scalar(text(f"SELECT id FROM {table} WHERE {where} LIMIT 1")))


def test_public_pages(page: Page, stage: Site, shown: Shown) -> None:
    enter(page, stage, None)
    each = one_of_each(shown.app.test_client(), ["/help"])
    seen = [*each.values(), *PUBLIC]
    known = [address for address in seen if address != NOWHERE]
    others = ("portal.", "console.", "users.", "access.")
    check(unwalked(shown, known, ours=lambda name: not name.startswith(others)))
    check(wrong(page, stage, seen))
    page.context.close()


def test_pages_of_trust_finance(page: Page, stage: Site, shown: Shown) -> None:
    editor = shown.finance(THIRD_ODS, Role.FINANCE_EDITOR)
    root = f"/portal/{THIRD_ODS}/"
    more = [root + path for path in TRUST]
    more += [root + f"bundles/{id_of(shown, 'bundles', 'account_id IS NOT NULL')}"]
    each = one_of_each(editor, [root, *more])
    elsewhere = [f"/portal/{ODS}/budgets/{id_of(shown, 'budgets')}", "/portal/"]
    forms = [root + path for path in FORMS["trust"]]
    seen = [*each.values(), *more, *elsewhere, *forms]
    check(unwalked(shown, seen, ours=lambda name: name.startswith("portal.")))
    enter(page, stage, editor)
    check(wrong(page, stage, sorted({*each.values(), *more, root + MISTYPED})))
    check(wrong_when_empty(page, stage, [root + path for path in FORMS["trust"]]))
    two = (Grant(Role.FINANCE_EDITOR, account_id=shown.account_ids[code]) for code in NAMES)
    enter(page, stage, shown.browser(*two))
    credit_note = f"/portal/{ODS}/invoices/{shown.credit_note_id}"
    check(wrong(page, stage, [credit_note, *elsewhere]))
    page.context.close()


@pytest.fixture
def central(shown: Shown) -> FlaskClient:
    return shown.browser(*(Grant(role) for role in CENTRAL))


def test_pages_of_the_central_team(
    page: Page, stage: Site, shown: Shown, central: FlaskClient
) -> None:
    more = [f"/console/{path}" for path in CONSOLE]
    more += [
        f"/console/tariffs/versions/{id_of(shown, 'tariff_versions', DRAFT)}",
        f"/console/money/debt/accounts/{shown.account_ids[THIRD_ODS]}",
        f"/console/money/debt/accounts/{shown.account_ids[ODS]}",
        f"/console/money/bank/lines/{id_of(shown, 'bank_lines', MATCHED)}",
    ]
    each = one_of_each(central, ["/console/", "/users", "/console/quarantine", *more])
    ours = {name: path for name, path in each.items() if not name.startswith(ELSEWHERE)}
    assert {"console.organisation", "console.edit_meter", "console.rotate_key"} <= set(ours)
    assert {"console.bundle", "console.dispute", "console.balances"} <= set(ours)
    assert {"console.bank_line", "console.payment", "console.refused_event"} <= set(ours)
    account = shown.account_ids[THIRD_ODS]
    forms = [path.format(account=account) for path in FORMS["central"]]
    mine = ("console.", "users.", "access.")
    forms += [address for address in PUBLIC if address != NOWHERE]
    check(unwalked(shown, [*ours.values(), *more, *forms], ours=lambda name: name.startswith(mine)))
    enter(page, stage, central)
    check(wrong(page, stage, sorted({*ours.values(), *more})))
    page.context.close()


def test_forms_of_the_central_team_sent_empty(
    page: Page, stage: Site, shown: Shown, central: FlaskClient
) -> None:
    enter(page, stage, central)
    account = shown.account_ids[THIRD_ODS]
    addresses = [path.format(account=account) for path in FORMS["central"]]
    check(wrong_when_empty(page, stage, addresses))
    page.context.close()
