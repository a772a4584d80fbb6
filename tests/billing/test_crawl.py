"""Everybody follows every link: no dead one, no fault, nothing of another trust."""

import pytest

from billing.access.model import Grant, Role
from tests import tables
from tests.crawling import crawl
from tests.trusts import NAMES, ODS, OTHER_ODS, THIRD_ODS, Shown

# Central roles see the same pages; what they may do differs, and that is near their start.
OTHER_CENTRAL = [Role.ANALYST, Role.APPROVER, Role.AUDITOR]


@pytest.mark.parametrize("role", [Role.FINANCE_VIEWER, Role.FINANCE_EDITOR])
def test_trust_finance_finds_only_its_own(shown: Shown, role: Role) -> None:
    pages = crawl(shown.finance(ODS, role), ["/"])
    reached = {address.split("?")[0] for address in pages}
    for path in ("", "usage", "invoices", "statement", "prices", "usage/events", "notifications"):
        assert f"/portal/{ODS}/{path}" in reached
    assert f"/portal/{ODS}/invoices/{shown.invoice_ids[ODS]}/documents/pdf" in reached
    assert not [*tables.faults(pages)], "\n".join(tables.faults(pages))
    for code in (OTHER_ODS, THIRD_ODS):
        secrets = (
            NAMES[code],
            shown.account_ids[code],
            shown.invoice_ids[code],
            shown.numbers[code],
            f"/portal/{code}",
        )
        for address, text in pages.items():
            assert not any(secret in text for secret in secrets), address


def test_who_has_two_accounts_sees_both_and_no_third(shown: Shown) -> None:
    browser = shown.browser(
        Grant(Role.FINANCE_VIEWER, account_id=shown.account_ids[ODS]),
        Grant(Role.FINANCE_VIEWER, account_id=shown.account_ids[OTHER_ODS]),
    )
    pages = crawl(browser, ["/portal/"])
    assert {f"/portal/{ODS}/", f"/portal/{OTHER_ODS}/"} <= set(pages)
    assert not any(NAMES[THIRD_ODS] in text for text in pages.values())


def test_an_administrator_who_may_do_everything_finds_no_dead_link(shown: Shown) -> None:
    # With the others' roles too: an administrator alone is shown no form of theirs.
    browser = shown.browser(*(Grant(role) for role in (Role.ADMINISTRATOR, *OTHER_CENTRAL)))
    pages = crawl(browser, ["/", f"/portal/{OTHER_ODS}/"], most=1_000)
    reached = {address.split("?")[0] for address in pages}
    assert f"/portal/{OTHER_ODS}/notifications" in reached
    assert f"/console/accounts/{shown.account_ids[ODS]}/local/new" in reached
    assert "/console/audit" in reached
    assert not [*tables.faults(pages)], "\n".join(tables.faults(pages))
    assert len(list(tables.files_of(pages))) > 40


@pytest.mark.parametrize("role", OTHER_CENTRAL)
def test_the_central_team_finds_no_dead_link_near_the_start(shown: Shown, role: Role) -> None:
    pages = crawl(shown.browser(Grant(role)), ["/"], most=1_000, depth=2)
    assert f"/console/accounts/{shown.account_ids[ODS]}" in pages


def test_a_service_owner_has_no_portal(shown: Shown) -> None:
    with shown.database.snapshot() as session:
        source_id = shown.source_id(session)
    browser = shown.browser(Grant(Role.SERVICE_OWNER, source_id=source_id))
    assert browser.get(f"/portal/{ODS}/").status_code == 403
    crawl(browser, ["/"])


def test_every_page_of_an_account_is_closed_to_other_trusts(shown: Shown) -> None:
    """Every route with an account in its address, also those that no page links to."""
    values = {
        "code": ODS,
        "invoice_id": shown.invoice_ids[ODS],
        "name": "pdf",
        "source_code": "imaging-archive",
        "month": "2026-04",
        "key": "00000000-0000-0000-0000-000000000000",
        "tariff_code": "imaging-archive",
    }
    stranger = shown.finance(OTHER_ODS, Role.FINANCE_EDITOR)
    adapter = shown.app.url_map.bind("localhost")
    tried = 0
    for rule in shown.app.url_map.iter_rules():
        if not (rule.endpoint.startswith("portal.") and "code" in rule.arguments):
            continue
        wanted = {name: values.get(name, "nonsense") for name in rule.arguments}
        path = adapter.build(rule.endpoint, wanted, force_external=False)
        if "GET" in (rule.methods or ()):
            assert stranger.get(path).status_code == 404, path
            tried += 1
    assert tried >= 14
