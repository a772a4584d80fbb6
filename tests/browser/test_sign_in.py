"""Signing in with a real browser, at the width of a phone and of a desktop screen."""

import pytest
from playwright.sync_api import Page, expect

from billing.access import operations
from billing.access.model import Grant, Role
from metering.kit.web import edge
from tests.browser.conftest import Site, faults_of, looks_of

pytestmark = pytest.mark.browser


def temporary_password(site: Site) -> str:
    with site.app.app_context():
        now = edge().clock()
        with edge().database.transaction() as session:
            return operations.create_user(
                session,
                now=now,
                email="ada@example.nhs.uk",
                name="Ada Lovelace",
                grants=[Grant(Role.ANALYST)],
                by="test",
            ).temporary_password


def test_an_error_is_summed_up_said_inline_and_keeps_what_was_typed(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/sign-in")
    page.get_by_label("Email address").fill("ada@example.nhs.uk")
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_title("Error: Sign in – Paygo")
    expect(page.get_by_role("alert")).to_contain_text("Enter your password")
    expect(page.get_by_label("Email address")).to_have_value("ada@example.nhs.uk")
    assert looks_of(page) == []
    page.get_by_role("link", name="Enter your password").click()
    expect(page.locator("#password")).to_be_focused()


def test_the_first_sign_in_asks_for_a_password_of_ones_own(page: Page, site: Site) -> None:
    password = temporary_password(site)
    page.goto(f"{site.url}/console/")
    page.get_by_label("Email address").fill("Ada@example.nhs.uk")
    page.locator("#password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("h1")).to_have_text("Choose your own password")
    assert faults_of(page) == []
    page.locator("#current_password").fill(password)
    page.locator("#new_password").fill("velvet thunder marmalade")
    page.get_by_role("button", name="Save new password").click()
    expect(page.locator("h1")).to_have_text("National overview")
    expect(page.get_by_role("alert")).to_contain_text("Your password has been changed.")
    page.goto(f"{site.url}/profile")
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("h1")).to_have_text("You are signed out")
    page.goto(f"{site.url}/console/")
    expect(page.locator("h1")).to_have_text("Sign in to Paygo")


def test_signing_in_works_without_javascript_and_skips_to_the_content(
    site: Site, page: Page
) -> None:
    password = temporary_password(site)
    browser = page.context.browser
    assert browser is not None
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(f"{site.url}/sign-in")
    plain.keyboard.press("Tab")
    assert plain.locator(":focus").inner_text() == "Skip to main content"
    plain.get_by_label("Email address").fill("ada@example.nhs.uk")
    plain.locator("#password").fill(password)
    plain.get_by_role("button", name="Sign in").click()
    expect(plain.locator("h1")).to_have_text("Choose your own password")
    context.close()
