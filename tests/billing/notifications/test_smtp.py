from datetime import UTC, datetime
from pathlib import Path

import pytest

from billing.notifications import smtp
from billing.notifications.messages import Letter
from billing.notifications.model import AddressInvalid, Attachment, Result
from billing.notifications.smtp import Relay, relay_from
from metering.kit.config import BadSetting
from tests.billing.notifications.certificates import contexts
from tests.billing.notifications.receivers import Mailbox, free_port, mail_server

NOW = datetime(2026, 5, 5, 9, 0, tzinfo=UTC)
LETTER = Letter("Invoice £5", "Dear all\n.\nA line of one dot is above.\n", "<p>Dear all</p>\n")
PDF = Attachment("PG-2627-000001.pdf", "application/pdf", b"%PDF-1.7\n.\r\n\x00\xff")
TO = "finance@rrk.example"


def send(relay: Relay, *, recipient: str = TO, letter: Letter = LETTER, **facts: object) -> Result:
    message = smtp.compose(
        letter, relay=relay, recipient=recipient, delivery_id="dlv_1", attachment=PDF, now=NOW
    )
    return smtp.send(message, relay=relay, recipient=recipient, **facts)  # type: ignore[arg-type] # only `tls`


def test_an_email_arrives_whole(mailbox: Mailbox) -> None:
    result = send(mailbox.relay(sender_name="Paygo, national"))
    assert (result.outcome, result.status) == ("delivered", 250)
    (message,) = mailbox.messages
    assert mailbox.recipients == [TO]
    assert message["Subject"] == "Invoice £5"
    assert message["To"] == TO
    assert message["From"] == '"Paygo, national" <paygo@example.nhs.uk>'
    assert message["Message-ID"] == "<dlv_1@example.nhs.uk>"
    assert message["Auto-Submitted"] == "auto-generated"
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert plain.get_content().replace("\r\n", "\n") == LETTER.text
    assert html is not None
    assert html.get_content().replace("\r\n", "\n") == LETTER.html
    (attached,) = message.iter_attachments()
    assert attached.get_filename() == PDF.name
    assert attached.get_content_type() == "application/pdf"
    assert attached.get_content() == PDF.content


def test_a_subject_cannot_add_a_header(mailbox: Mailbox) -> None:
    letter = Letter("Paid\r\nBcc: thief@evil.example", "text\n", "<p>text</p>\n")
    assert send(mailbox.relay(), letter=letter).outcome == "delivered"
    (message,) = mailbox.messages
    assert message["Bcc"] is None
    assert message["Subject"] == "Paid  Bcc: thief@evil.example"
    assert mailbox.recipients == [TO]


def test_a_recipient_cannot_add_a_header_or_a_command(mailbox: Mailbox) -> None:
    with pytest.raises(AddressInvalid):
        send(mailbox.relay(), recipient="a@b.example>\r\nRCPT TO:<thief@evil.example")
    assert mailbox.messages == []


@pytest.mark.parametrize(
    ("where", "reply", "outcome", "relay_trouble"),
    [
        ("rcpt_replies", "550 No such person", "permanent", False),
        ("rcpt_replies", "450 Greylisted", "retry", False),
        ("data_replies", "554 Refused", "permanent", False),
        ("data_replies", "452 Disk full", "retry", False),
        ("mail_replies", "552 Too large", "permanent", False),
        ("mail_replies", "550 You may not send", "retry", True),
        ("mail_replies", "451 Later", "retry", True),
        ("rcpt_replies", "421 Closing", "retry", True),
    ],
)
def test_what_a_relay_says_decides_what_comes_next(
    mailbox: Mailbox, where: str, reply: str, outcome: str, *, relay_trouble: bool
) -> None:
    getattr(mailbox, where).append(reply)
    result = send(mailbox.relay())
    assert (result.outcome, result.relay_trouble) == (outcome, relay_trouble)
    assert result.status == int(reply[:3])
    assert reply[4:] in result.excerpt
    assert mailbox.messages == []


def test_a_relay_that_is_down_is_trouble_with_the_relay() -> None:
    relay = Relay("127.0.0.1", free_port(), "none", "paygo@example.nhs.uk")
    result = send(relay)
    assert (result.outcome, result.relay_trouble, result.status) == ("retry", True, None)


def test_a_relay_that_is_slow_is_left(mailbox: Mailbox) -> None:
    mailbox.seconds_to_answer = 1
    result = send(mailbox.relay(seconds=0.3))
    assert result.outcome == "retry"
    assert result.excerpt == "The relay did not answer in 0.3 s."
    assert result.milliseconds < 1_000


def test_starttls_and_sign_in_protect_the_conversation(tmp_path: Path) -> None:
    server, client = contexts(tmp_path, host="localhost")
    with mail_server(tls=server, password="open sesame") as mailbox:
        relay = Relay(
            "localhost",
            mailbox.port,
            "starttls",
            "paygo@example.nhs.uk",
            user="paygo",
            password="open sesame",
        )
        assert send(relay, tls=client).outcome == "delivered"
        assert len(mailbox.messages) == 1


def test_a_refused_password_is_trouble_with_the_relay(tmp_path: Path) -> None:
    server, client = contexts(tmp_path, host="localhost")
    with mail_server(tls=server, password="open sesame") as mailbox:
        relay = Relay(
            "localhost", mailbox.port, "starttls", "p@example.nhs.uk", user="paygo", password="no"
        )
        result = send(relay, tls=client)
    assert (result.outcome, result.status, result.relay_trouble) == ("retry", 535, True)


def test_without_starttls_nothing_is_sent(mailbox: Mailbox) -> None:
    result = send(mailbox.relay(security="starttls"))
    assert (result.outcome, result.relay_trouble) == ("retry", True)
    assert mailbox.messages == []


def test_a_certificate_that_nobody_trusts_stops_the_email(tmp_path: Path) -> None:
    server, _ = contexts(tmp_path, host="localhost")
    with mail_server(tls=server) as mailbox:
        result = send(Relay("localhost", mailbox.port, "starttls", "paygo@example.nhs.uk"))
        assert (result.outcome, result.relay_trouble) == ("retry", True)
        assert mailbox.messages == []


def test_the_settings_name_a_relay() -> None:
    relay = relay_from("smtp://me:p%40ss@mail.example:2525", "Pay Go <paygo@example.nhs.uk>")
    assert relay == Relay(
        "mail.example",
        2525,
        "starttls",
        "paygo@example.nhs.uk",
        sender_name="Pay Go",
        user="me",
        password="p@ss",
    )
    assert "p@ss" not in repr(relay)
    implicit = relay_from("smtps://mail.example", "paygo@example.nhs.uk")
    assert implicit is not None
    assert (implicit.port, implicit.security, implicit.sender_name) == (465, "tls", "paygo")
    assert relay_from(None, None) is None


@pytest.mark.parametrize(
    ("url", "sender", "names"),
    [
        ("smtp://mail.example", None, "PAYGO_MAIL_FROM"),
        (None, "paygo@example.nhs.uk", "PAYGO_SMTP_URL"),
        ("mail.example", "paygo@example.nhs.uk", "PAYGO_SMTP_URL"),
        ("https://mail.example", "paygo@example.nhs.uk", "PAYGO_SMTP_URL"),
        ("smtp://mail.example:port", "paygo@example.nhs.uk", "PAYGO_SMTP_URL"),
        ("smtp+plain://me:pass@mail.example", "paygo@example.nhs.uk", "PAYGO_SMTP_URL"),
        ("smtp://mail.example", "nobody", "PAYGO_MAIL_FROM"),
    ],
)
def test_settings_that_name_no_relay_are_refused(
    url: str | None, sender: str | None, names: str
) -> None:
    with pytest.raises(BadSetting, match=names) as refused:
        relay_from(url, sender)
    assert "pass@" not in refused.value.detail
