"""Receivers for the tests of notifications."""

from collections.abc import Iterator

import pytest

from tests.billing.notifications.receivers import Hook, Mailbox, mail_server, web_server


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A mail relay on this machine."""
    with mail_server() as running:
        yield running


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A webhook receiver on this machine."""
    with web_server() as running:
        yield running
