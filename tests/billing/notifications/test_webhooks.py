import socket
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from billing.notifications import webhooks
from billing.notifications.model import Result
from billing.notifications.sealing import SecretUnreadable, Vault, new_secret
from billing.notifications.webhooks import Outgoing, is_public
from tests.billing.notifications.certificates import contexts
from tests.billing.notifications.receivers import Hook, free_port, web_server

SECRET = new_secret()
BODY = webhooks.body_of(
    kind="invoice.paid", announced_at=datetime(2026, 5, 5, tzinfo=UTC), facts={"number": "PG-1"}
)


def send(url: str, *, secrets: tuple[str, ...] = (SECRET,), **facts: Any) -> Result:
    said = {"now": datetime.now(UTC), "allow_private": True, "seconds": 2, **facts}
    return webhooks.send(Outgoing("dlv_1", url, BODY, secrets), **said)


def test_a_receiver_can_verify_what_it_gets(hook: Hook) -> None:
    result = send(hook.url)
    assert (result.outcome, result.status) == ("delivered", 204)
    (taken,) = hook.taken
    assert taken.path == "/hook?from=paygo"
    assert taken.headers["Host"] == f"127.0.0.1:{hook.port}"
    assert taken.headers["webhook-id"] == "dlv_1"
    assert Webhook(SECRET).verify(taken.body, taken.headers) == {
        "type": "invoice.paid",
        "timestamp": "2026-05-05T00:00:00+00:00",
        "data": {"number": "PG-1"},
    }
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(taken.body, taken.headers)


def test_while_a_secret_is_rotated_both_verify(hook: Hook) -> None:
    newer = new_secret()
    send(hook.url, secrets=(newer, SECRET))
    (taken,) = hook.taken
    for secret in (newer, SECRET):
        assert Webhook(secret).verify(taken.body, taken.headers)["type"] == "invoice.paid"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "delivered"), (299, "delivered"), (400, "retry"), (404, "retry"), (500, "retry"),
     (410, "gone"), (304, "retry")],
)  # fmt: skip
def test_the_status_decides(hook: Hook, status: int, outcome: str) -> None:
    hook.answers = [status]
    result = send(hook.url)
    assert (result.outcome, result.status) == (outcome, status)


def test_a_redirect_is_not_followed(hook: Hook) -> None:
    hook.answers = [(302, {"Location": f"http://127.0.0.1:{hook.port}/inside"}, b"")]
    assert send(hook.url).outcome == "retry"
    assert [taken.path for taken in hook.taken] == ["/hook?from=paygo"]


@pytest.mark.parametrize(
    ("said", "pause"),
    [
        ("120", timedelta(seconds=120)),
        ("Tue, 05 May 2026 10:00:00 GMT", timedelta(hours=1)),
        ("Tue, 05 May 2026 08:00:00 GMT", timedelta(0)),
        ("soon", None),
        ("-5", None),
    ],
)
def test_a_busy_receiver_may_say_when(hook: Hook, said: str, pause: timedelta | None) -> None:
    hook.answers = [(503, {"Retry-After": said}, b"")]
    result = send(hook.url, now=datetime(2026, 5, 5, 9, 0, tzinfo=UTC))
    assert result.retry_after == pause


def test_an_answer_is_shown_in_part_and_without_controls(hook: Hook) -> None:
    hook.answers = [(500, {}, b"\x1b[31mno\r\n\xff" + b"a" * 100_000)]
    result = send(hook.url)
    assert result.excerpt.startswith("[31mno  \ufffdaaa")
    assert len(result.excerpt) <= 500


def test_a_receiver_that_drips_is_cut_off_in_time(hook: Hook) -> None:
    hook.drip = True
    begun = time.monotonic()
    result = send(hook.url, seconds=0.6)
    assert time.monotonic() - begun < 1.5
    assert (result.outcome, result.status) == ("retry", None)
    assert result.excerpt == "There was no answer within 0.6 seconds."


def test_a_body_cut_short_does_not_undo_the_status(hook: Hook) -> None:
    hook.answers = [(200, {"Content-Length": "5000"}, b"thanks")]
    assert send(hook.url, seconds=0.5).outcome == "delivered"


def test_a_receiver_that_is_down_is_tried_again() -> None:
    result = send(f"http://127.0.0.1:{free_port()}/")
    assert (result.outcome, result.excerpt) == (
        "retry",
        "The connection failed: ConnectionRefusedError.",
    )


def test_what_is_no_http_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(2)
        port = listener.getsockname()[1]

        def resolve(_host: str, _port: int) -> Sequence[str]:
            return ["127.0.0.1"]

        result = send(f"http://quiet.example:{port}/", resolve=resolve, seconds=0.4)
    assert result.outcome == "retry"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
        "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.2.1", "198.18.0.1", "224.0.0.1",
        "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1",
        "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:db8::1",
    ],
)  # fmt: skip
def test_addresses_that_only_we_could_reach_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_no_way_of_writing_our_own_address_gets_through(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr(socket, "create_connection", _never)
    result = send(f"https://{host}/", allow_private=False)
    assert (result.outcome, result.status) == ("retry", None)
    assert "not public" in result.excerpt or "not be looked up" in result.excerpt


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "create_connection", _never)
    result = send(
        "https://mixed.example/",
        allow_private=False,
        resolve=lambda _host, _port: ["8.8.8.8", "10.0.0.1"],
    )
    assert "not public" in result.excerpt


def test_a_name_that_changes_its_address_after_the_check_gains_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter([["8.8.8.8"], ["127.0.0.1"]])
    connected: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], **_: object) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    send("https://rebinds.example/", allow_private=False, resolve=lambda *_: next(answers))
    assert connected == [("8.8.8.8", 443)]
    assert next(answers) == ["127.0.0.1"]


def test_http_needs_to_be_allowed(hook: Hook) -> None:
    assert "https://" in send(hook.url, allow_private=False).excerpt
    assert hook.taken == []


def test_a_name_that_takes_long_to_look_up_is_given_up() -> None:
    def resolve(_host: str, _port: int) -> Sequence[str]:
        time.sleep(1)
        return ["127.0.0.1"]

    result = send("https://slow.example/", resolve=resolve, seconds=0.2)
    assert result.excerpt == "The host's name could not be looked up in time."
    assert result.milliseconds < 900


def test_the_second_address_is_tried_when_the_first_does_not_answer(hook: Hook) -> None:
    result = send(
        f"http://both.example:{hook.port}/", resolve=lambda *_: ["127.0.0.77", "127.0.0.1"]
    )
    assert result.outcome == "delivered"
    assert hook.taken[0].headers["Host"] == f"both.example:{hook.port}"


def test_the_certificate_must_be_the_hosts(tmp_path: Path) -> None:
    server, client = contexts(tmp_path, host="hooks.example")
    with web_server(tls=server) as hook:

        def resolve(_host: str, _port: int) -> Sequence[str]:
            return ["127.0.0.1"]

        def to(host: str, **facts: Any) -> Result:
            return send(f"https://{host}:{hook.port}/", resolve=resolve, **facts)

        assert to("hooks.example", tls=client).outcome == "delivered"
        assert "certificate cannot be trusted" in to("other.example", tls=client).excerpt
        assert "certificate cannot be trusted" in to("hooks.example").excerpt
        assert len(hook.taken) == 1


def test_a_sealed_secret_opens_under_the_same_key_only() -> None:
    sealed = Vault("k" * 40).seal(SECRET)
    assert SECRET not in sealed
    assert Vault("k" * 40).open(sealed) == SECRET
    with pytest.raises(SecretUnreadable):
        Vault("l" * 40).open(sealed)


def _never(*_: object, **__: object) -> socket.socket:
    raise AssertionError("a connection was made")
