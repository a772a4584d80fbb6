"""The proxy that the operator's guide gives, as nginx itself runs it."""

import datetime as dt
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from flask import Flask
from sqlalchemy import select

from billing.access import operations
from billing.access.tables import SignInAttemptRow
from billing.console.money_imports import FORM_BYTES_MOST
from billing.console.payment_api import _MOST_BYTES as STATEMENT_BYTES_MOST
from metering.events.decoding import BODY_BYTES_MAX
from metering.kit import clock
from metering.kit.db import Database
from tests import web
from tests.billing.cli.test_serve import free_port
from tests.metering import make as usage
from tests.processes import listening, wait_for

CONFIGURATION = Path(__file__).resolve().parents[1] / "deploy/nginx/paygo.conf"
NAME = "paygo.example.nhs.uk"
EMAIL = "ada@example.nhs.uk"
NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")

needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not here")


@dataclass(frozen=True)
class Proxied:
    """An application behind the proxy: its https address, its http address, who signed it."""

    url: str
    plain: str
    authority: str


def test_it_lets_through_the_largest_that_paygo_takes() -> None:
    said = re.search(r"client_max_body_size (\d+)m;", CONFIGURATION.read_text())
    assert said is not None
    most = max(BODY_BYTES_MAX, FORM_BYTES_MOST, STATEMENT_BYTES_MOST)
    assert int(said[1]) * 1024 * 1024 > most


@needs_nginx
def test_people_sign_in_over_tls_and_are_known_by_their_own_address(
    proxied: Proxied, app: Flask, database: Database
) -> None:
    with database.transaction() as session:
        made = operations.create_user(
            session, now=web.START, email=EMAIL, name="Ada Lovelace", grants=[], by="test"
        )
    people = requests.Session()
    page = people.get(f"{proxied.url}/sign-in", timeout=30, verify=proxied.authority)
    assert page.headers["Strict-Transport-Security"].startswith("max-age=")
    assert all(cookie.secure for cookie in people.cookies)
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token is not None
    answer = people.post(
        f"{proxied.url}/sign-in",
        data={"email": EMAIL, "password": made.temporary_password, "csrf_token": token[1]},
        headers={"Referer": f"{proxied.url}/sign-in", "X-Forwarded-For": "203.0.113.9"},
        timeout=30,
        verify=proxied.authority,
        allow_redirects=False,
    )
    assert answer.status_code == 303
    assert any(cookie.name.endswith("paygo_session") for cookie in people.cookies)
    assert all(cookie.secure for cookie in people.cookies)
    with database.snapshot() as session:
        assert session.scalars(select(SignInAttemptRow.remote_address)).all() == ["127.0.0.1"]


@needs_nginx
def test_whoever_comes_without_tls_is_sent_on(proxied: Proxied) -> None:
    answer = requests.get(f"{proxied.plain}/sign-in?next=/help", timeout=30, allow_redirects=False)
    assert answer.status_code == 308
    assert answer.headers["Location"] == "https://127.0.0.1/sign-in?next=/help"


@needs_nginx
@pytest.mark.parametrize(("size", "status"), [(BODY_BYTES_MAX, 200), (BODY_BYTES_MAX + 1, 413)])
def test_a_large_post_of_usage_comes_through_and_a_larger_one_is_told_why(
    proxied: Proxied, database: Database, size: int, status: int
) -> None:
    usage.catalogue(database, now=clock.now())
    answer = requests.post(
        f"{proxied.url}/api/v1/events",
        data=b"[]".ljust(size),
        headers={
            "Authorization": f"Bearer {usage.key(database, now=clock.now())}",
            "Content-Type": "application/cloudevents-batch+json",
        },
        verify=proxied.authority,
        timeout=30,
    )
    assert answer.status_code == status, answer.text
    if status == 413:
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.fixture
def behind(app: Flask) -> Iterator[str]:
    """The address of the application itself."""
    with listening(app) as url:
        yield url


@pytest.fixture
def proxied(behind: str, tmp_path: Path) -> Iterator[Proxied]:
    """Run nginx with the guide's configuration in front of the application."""
    assert NGINX is not None
    certificate, key = _certificate(tmp_path)
    plain, secure = free_port(), free_port()
    said = CONFIGURATION.read_text()
    for before, after in {
        "127.0.0.1:8080": behind.removeprefix("http://"),
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl": f"listen 127.0.0.1:{secure} ssl",
        f"server_name {NAME};": "server_name 127.0.0.1;",
        "/etc/ssl/paygo.pem": str(certificate),
        "/etc/ssl/private/paygo.key": str(key),
    }.items():
        assert before in said
        said = said.replace(before, after)
    places = "".join(
        f"{name}_temp_path {tmp_path / name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = tmp_path / "nginx.conf"
    whole.write_text(
        f"user root; pid {tmp_path / 'nginx.pid'}; daemon off; error_log stderr;\n"
        f"events {{}}\nhttp {{ access_log off; {places}\n{said}\n}}\n"
    )
    nginx = subprocess.Popen([NGINX, "-c", str(whole), "-e", "stderr"])
    try:
        wait_for(lambda: _listens(secure), seconds=20)
        yield Proxied(f"https://127.0.0.1:{secure}", f"http://127.0.0.1:{plain}", str(certificate))
    finally:
        nginx.terminate()
        nginx.wait(20)


@pytest.fixture
def app(database: Database, tmp_path: Path, clock: web.Clock) -> Flask:
    return web.make_app(
        database,
        tmp_path,
        clock,
        PAYGO_PUBLIC_URL=f"https://{NAME}",
        PAYGO_TRUSTED_PROXIES="1",
    )


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    begins = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + dt.timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, secret


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
