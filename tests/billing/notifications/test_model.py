from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.notifications import model
from billing.notifications.model import AddressInvalid, KindUnknown, Owner, WebhookUrlInvalid

PAID: dict[str, Any] = {
    "invoice_id": "inv_1",
    "number": "PG-2627-000123",
    "total": Decimal("12.5"),
    "paid_on": date(2026, 4, 30),
}


def test_facts_become_json_with_amounts_and_dates_as_text() -> None:
    assert model.checked_facts("invoice.paid", PAID) == {
        "invoice_id": "inv_1",
        "number": "PG-2627-000123",
        "total": "12.50",
        "paid_on": "2026-04-30",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"note": "Mr Smith's scan"},
        {"total": 12.5},
        {"total": Decimal("12.505")},
        {"paid_on": datetime(2026, 4, 30, tzinfo=UTC)},
        {"number": "PG\r\nBcc: all@example.com"},
        {"number": None},
        {"number": "x" * 101},
    ],
    ids=str,
)
def test_a_fact_that_the_kind_does_not_declare_like_that_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"invoice\.paid"):
        model.checked_facts("invoice.paid", {**PAID, **change})


def test_an_unknown_kind_cannot_be_announced() -> None:
    with pytest.raises(ValueError, match="not a kind"):
        model.checked_facts("invoice.lost", {})


@pytest.mark.parametrize("kinds", [[], ["invoice.lost"], ["webhook.paused"], "invoice.paid"])
def test_a_webhook_is_told_of_webhook_kinds_only(kinds: object) -> None:
    with pytest.raises(KindUnknown):
        model.checked_kinds(kinds, channel="webhook")


def test_kinds_are_kept_sorted_and_once() -> None:
    chosen = ["invoice.paid", "invoice.issued", "invoice.paid"]
    assert model.checked_kinds(chosen, channel="email") == ["invoice.issued", "invoice.paid"]


@pytest.mark.parametrize("address", [" a.b+c@example.nhs.uk ", "o'neill@trust.example"])
def test_a_plain_address_is_taken(address: str) -> None:
    assert model.checked_address(address) == address.strip()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "a@b",
        "a@@b.example",
        "a b@c.example",
        "a@c.example, d@e.example",
        "A <a@c.example>",
        "a@c.example\r\nBcc: x@y.example",
        "a@c.example\n",
        ".a@c.example",
        "a..b@c.example",
        "a@-c.example",
        "ä@c.example",
        '"a b"@c.example',
        "a" * 65 + "@c.example",
        "a@" + "c" * 250 + ".example",
    ],
)
def test_anything_else_is_no_address(address: str) -> None:
    with pytest.raises(AddressInvalid):
        model.checked_address(address)


def test_a_webhook_address_is_taken_apart() -> None:
    assert model.webhook_url("https://hooks.example/a?b=c", allow_insecure=False) == (
        model.WebhookUrl("https", "hooks.example", 443, "/a?b=c")
    )
    assert model.webhook_url("http://[::1]:8080", allow_insecure=True) == (
        model.WebhookUrl("http", "::1", 8080, "/")
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/",
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "https:///path",
        "https://user:secret@hooks.example/",
        "https://good.example@evil.example/",
        "https://hooks.example/#part",
        "https://hooks.example\\@evil.example/",
        "https://hooks.example/a b",
        "https://hooks.example/\r\nHost: evil.example",
        "https://höoks.example/",
        "https://hooks.example:0/",
        "https://hooks.example:99999/",
        "https://[::1/",
        "https://hooks.example/" + "a" * 2_000,
    ],
)
def test_any_other_webhook_address_is_refused(url: str) -> None:
    with pytest.raises(WebhookUrlInvalid):
        model.webhook_url(url, allow_insecure=False)


def test_pauses_grow_for_days_and_then_end() -> None:
    pauses = [model.pause_before(tries) for tries in range(1, model.LAST_ATTEMPT)]
    lengths = [pause for pause in pauses if pause is not None]
    assert len(lengths) == len(pauses)
    assert lengths == sorted(lengths)
    assert timedelta(days=3) < sum(lengths, timedelta(0)) < timedelta(days=4)
    assert model.pause_before(model.LAST_ATTEMPT) is None


def test_a_receiver_may_ask_for_a_longer_pause_but_not_for_ever() -> None:
    assert model.pause_before(1, retry_after=timedelta(hours=1)) == timedelta(hours=1)
    assert model.pause_before(1, retry_after=timedelta(seconds=1)) == timedelta(seconds=30)
    assert model.pause_before(1, retry_after=timedelta(days=99)) == timedelta(hours=24)


def test_an_owner_is_an_account_or_a_source() -> None:
    with pytest.raises(ValueError, match="one account or"):
        Owner()
    with pytest.raises(ValueError, match="one account or"):
        Owner(account_id="acc_1", source_id=1)
