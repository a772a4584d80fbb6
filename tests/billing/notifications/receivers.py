"""Receivers on this machine: a mail relay and a web server that answer as they are told."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from billing.notifications.smtp import Relay


@dataclass
class Mailbox:
    """What a relay took; the lists of replies are used up from the front, then all is well."""

    port: int = 0
    messages: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    rcpt_replies: list[str] = field(default_factory=list)
    mail_replies: list[str] = field(default_factory=list)
    data_replies: list[str] = field(default_factory=list)
    seconds_to_answer: float = 0

    def relay(self, **facts: Any) -> Relay:
        said = {"security": "none", "sender": "paygo@example.nhs.uk", **facts}
        return Relay(host="127.0.0.1", port=self.port, **said)

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if self.mail_replies:
            return self.mail_replies.pop(0)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if self.seconds_to_answer:
            time.sleep(self.seconds_to_answer)
        if self.rcpt_replies:
            return self.rcpt_replies.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        if self.data_replies:
            reply = self.data_replies.pop(0)
            if not reply.startswith("250"):
                return reply
        message = message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        self.recipients += envelope.rcpt_tos
        return "250 Taken"


class _Relay(Controller):
    """A controller that keeps its server's certificate and sign-in."""

    def __init__(self, handler: Mailbox, **facts: Any) -> None:
        self.facts = facts
        super().__init__(handler, hostname="127.0.0.1", port=free_port())

    def factory(self) -> SMTP:
        return SMTP(self.handler, **self.facts)


@contextmanager
def mail_server(
    *, tls: ssl.SSLContext | None = None, password: str | None = None
) -> Iterator[Mailbox]:
    """Run a relay; with `tls` it wants STARTTLS, with a password sign-in as `paygo`."""
    mailbox = Mailbox()
    facts: dict[str, Any] = {}
    if tls is not None:
        facts = {"tls_context": tls, "require_starttls": True}
    if password is not None:

        def check(_server: Any, _session: Any, _envelope: Any, _how: str, said: Any) -> AuthResult:
            right = said.login == b"paygo" and said.password == password.encode()
            return AuthResult(success=right, handled=False)

        facts |= {"authenticator": check, "auth_required": True}
    controller = _Relay(mailbox, **facts)
    controller.start()
    mailbox.port = controller.port
    try:
        yield mailbox
    finally:
        controller.stop()


@dataclass
class Taken:
    """One request that the web server got."""

    path: str
    headers: dict[str, str]
    body: str


@dataclass
class Hook:
    """A webhook receiver. `answers` are used up from the front, then 204 for ever.

    An answer is a status, or (status, headers, body).
    """

    port: int = 0
    scheme: str = "http"
    taken: list[Taken] = field(default_factory=list)
    answers: list[int | tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    drip: bool = False

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook?from=paygo"


@contextmanager
def web_server(*, tls: ssl.SSLContext | None = None) -> Iterator[Hook]:
    """Run a webhook receiver on a free port."""
    hook = Hook(scheme="http" if tls is None else "https")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            hook.taken.append(Taken(self.path, dict(self.headers.items()), body))
            if hook.drip:
                self._drip()
                return
            answer = hook.answers.pop(0) if hook.answers else 204
            status, headers, content = answer if isinstance(answer, tuple) else (answer, {}, b"")
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            hook.taken.append(Taken(self.path, dict(self.headers.items()), ""))
            self.send_response(200)
            self.end_headers()

        def _drip(self) -> None:
            # A byte now and then: each one starts a socket's own time limit again.
            try:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                for _ in range(600):
                    self.wfile.write(b"a")
                    time.sleep(0.05)
            except OSError:
                pass

        def log_message(self, *_: object) -> None:
            """Keep the tests' output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    hook.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    """Return a port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
