"""How every page looks: WCAG 2.2 AA by axe-core, and nothing wider than its window.

Each kind of page that can be reached by links is opened once as whom it is for, unfolded, and
looked at on a desktop and a phone, on one filled database behind one server. A page that is
added is looked at without being named here.
"""

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page

from billing.access.model import Grant, Role
from tests.browser.conftest import DESKTOP, Site, enter, looks_of
from tests.crawling import one_of_each
from tests.trusts import ODS, THIRD_ODS, Shown

pytestmark = pytest.mark.browser

# Looked at as whom they are for; the API's description is Swagger UI's own page.
ELSEWHERE = ("portal.", "help.", "api_docs.", "api-docs.")
CENTRAL = (Role.ANALYST, Role.APPROVER, Role.AUDITOR, Role.ADMINISTRATOR)
# Same page, other look; `one_of_each` opens one of each.
PUBLIC = ("/sign-in", "/sign-in?ended=1", "/signed-out", "/problems/not-found", "/nowhere")
TRUST = (
    "usage?meter=studies-archived&month=2026-04&split=modality",
    "usage?meter=studies-archived&view=month",
    "usage?meter=studies-archived&view=hour&day=2026-04-03",
    "usage/events?meter=studies-archived&day=2026-04-03",
    "invoices?status=overdue",
    "prices/imaging-archive?q0=1000",
)
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


def test_public_pages(page: Page, stage: Site, shown: Shown) -> None:
    enter(page, stage, None)
    each = one_of_each(shown.app.test_client(), ["/help"])
    check(wrong(page, stage, [*each.values(), *PUBLIC]))
    page.context.close()


def test_pages_of_trust_finance(page: Page, stage: Site, shown: Shown) -> None:
    editor = shown.finance(THIRD_ODS, Role.FINANCE_EDITOR)
    root = f"/portal/{THIRD_ODS}/"
    more = [root + path for path in TRUST]
    each = one_of_each(editor, [root, *more])
    assert {"portal.dispute", "portal.webhook", "portal.event", "portal.calculator"} <= set(each)
    enter(page, stage, editor)
    check(wrong(page, stage, sorted({*each.values(), *more, root + MISTYPED})))
    check(wrong_when_empty(page, stage, [root + path for path in FORMS["trust"]]))
    enter(page, stage, shown.finance(ODS))
    credit_note = f"/portal/{ODS}/invoices/{shown.credit_note_id}"
    check(wrong(page, stage, [credit_note]))
    page.context.close()


@pytest.fixture
def central(shown: Shown) -> FlaskClient:
    return shown.browser(*(Grant(role) for role in CENTRAL))


def test_pages_of_the_central_team(
    page: Page, stage: Site, shown: Shown, central: FlaskClient
) -> None:
    more = [f"/console/{path}" for path in CONSOLE]
    each = one_of_each(central, ["/console/", "/users", "/console/quarantine", *more])
    ours = {name: path for name, path in each.items() if not name.startswith(ELSEWHERE)}
    assert {"console.organisation", "console.edit_meter", "console.rotate_key"} <= set(ours)
    assert {"console.bundle", "console.dispute", "console.balances"} <= set(ours)
    assert {"console.bank_line", "console.payment", "console.refused_event"} <= set(ours)
    assert len(ours) > 70
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
