"""Settings: every environment variable that paygo reads, declared once.

Each setting has a name, a default, a parser and a sentence of help, so that
`paygo settings` and the documentation list what the program really reads. A
setting is read at start-up; nothing else in paygo looks at the environment.
"""

import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import Any

from metering.kit.errors import Invalid

Environ = Mapping[str, str]


class BadSetting(Invalid):
    """An environment variable has a value that paygo cannot use."""

    code = "bad-setting"
    title = "A setting has a bad value"


@dataclass(frozen=True)
class Setting:
    """The declaration of one environment variable.

    Attributes:
        name: the environment variable.
        help: one sentence for the person who sets it.
        parse: text to value; raises ValueError with the words that follow
            "NAME must be".
        default: the text used when the variable is unset or empty, or None.
        secret: whether listings must hide the value.
    """

    name: str
    help: str
    parse: Callable[[str], Any]
    default: str | None
    default_from: Callable[[Environ], str] | None = None
    secret: bool = False

    def default_text(self, environ: Environ) -> str | None:
        """Return the text that stands for an unset variable, None when it has no value."""
        return self.default if self.default_from is None else self.default_from(environ)

    def value(self, environ: Environ) -> Any:
        """Return the parsed value from `environ`.

        Raises:
            BadSetting: the text cannot be parsed; the sentence names the variable.
        """
        raw = environ.get(self.name, "").strip() or self.default_text(environ)
        if raw is None:
            return None
        try:
            return self.parse(raw)
        except ValueError as error:
            shown = "" if self.secret else f", not {raw!r}"
            raise BadSetting(f"{self.name} must be {error}{shown}.", setting=self.name) from None


def _text(raw: str) -> str:
    return raw


def _absolute_path(raw: str) -> Path:
    path = Path(raw).expanduser()
    if not path.is_absolute():
        raise ValueError("an absolute path")
    return path


def _database_url(raw: str) -> str:
    if not raw.startswith(("postgres://", "postgresql://", "postgresql+psycopg://")):
        raise ValueError("a postgresql:// URL")
    return raw


def _secret_key(raw: str) -> str:
    if len(raw) < 32:
        raise ValueError("at least 32 characters long")
    return raw


def _token(raw: str) -> str:
    if len(raw) < 16 or not raw.isascii() or any(part.isspace() for part in raw):
        raise ValueError("at least 16 characters long, without spaces")
    return raw


def _whole_number(least: int, most: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not (raw.isascii() and raw.isdigit() and least <= int(raw) <= most):
            raise ValueError(f"a whole number from {least} to {most}")
        return int(raw)

    return parse


def _pounds(raw: str) -> Decimal:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{2})?", raw):
        raise ValueError("pounds and pence, for example 25.00")
    return Decimal(raw).quantize(Decimal("0.01"))


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw.lower() not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return raw.lower()

    return parse


def _web_url(raw: str) -> str:
    if not raw.startswith(("https://", "http://")):
        raise ValueError("an https:// or http:// address")
    return raw.rstrip("/")


def _yes_or_no(raw: str) -> bool:
    if raw.lower() not in ("yes", "no"):
        raise ValueError("yes or no")
    return raw.lower() == "yes"


def _pairs(raw: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in raw.split(","))):
        name, equals, word = part.rpartition("=")
        if not (equals and name.strip() and word.strip()):
            raise ValueError("pairs like Name=word, with commas between")
        pairs[name.strip()] = word.strip()
    return pairs


def _default_data_dir(environ: Environ) -> str:
    home = environ.get("HOME") or str(Path("~").expanduser())
    return str(Path(environ.get("XDG_DATA_HOME") or Path(home) / ".local" / "share") / "paygo")


def _default_archive_dir(environ: Environ) -> str:
    return str(Path(environ.get("PAYGO_DATA_DIR") or _default_data_dir(environ)) / "archive")


def _setting(
    name: str,
    parse: Callable[[str], Any],
    *,
    help: str,
    default: str | None = None,
    default_from: Callable[[Environ], str] | None = None,
    secret: bool = False,
) -> Any:
    declared = Setting(name, help, parse, default, default_from, secret)
    return field(metadata={"setting": declared})


@dataclass(frozen=True)
class Settings:
    """What the environment says; built once at the edge with `from_environment`.

    A new setting is one more field here, and nothing else.
    """

    database_url: str | None = _setting(
        "DATABASE_URL",
        _database_url,
        secret=True,
        help="PostgreSQL 15 to 18 to use instead of the embedded server.",
    )
    database_roles: str = _setting(
        "PAYGO_DATABASE_ROLES",
        _one_of("auto", "required", "off"),
        default="auto",
        help="Whether each process works under a database role with few rights: auto where"
        " there are roles, required to refuse to start without, off.",
    )
    data_dir: Path = _setting(  # noqa: RUF009 - it returns a dataclasses.field
        "PAYGO_DATA_DIR",
        _absolute_path,
        default_from=_default_data_dir,
        help="Folder of the embedded database and of the generated secret key.",
    )
    host: str = _setting(
        "PAYGO_HOST", _text, default="127.0.0.1", help="Address that the web server listens on."
    )
    port: int = _setting(
        "PAYGO_PORT",
        _whole_number(1, 65535),
        default="8080",
        help="Port that the web server listens on.",
    )
    web_workers: int = _setting(
        "PAYGO_WEB_WORKERS",
        _whole_number(1, 64),
        default="2",
        help="Number of web server processes.",
    )
    secret_key: str | None = _setting(
        "PAYGO_SECRET_KEY",
        _secret_key,
        secret=True,
        help="Key that signs sessions and forms; with the embedded database one is made and kept.",
    )
    public_url: str | None = _setting(
        "PAYGO_PUBLIC_URL",
        _web_url,
        help="Address by which people reach paygo; https makes cookies secure and sends HSTS.",
    )
    trusted_proxies: int = _setting(
        "PAYGO_TRUSTED_PROXIES",
        _whole_number(0, 5),
        default="0",
        help="Number of proxies in front whose X-Forwarded headers are believed.",
    )
    oidc_issuer: str | None = _setting(
        "PAYGO_OIDC_ISSUER",
        _web_url,
        help="Address of the OpenID Connect provider to sign in by, besides passwords.",
    )
    oidc_client_id: str | None = _setting(
        "PAYGO_OIDC_CLIENT_ID", _text, help="Client id that the provider gave paygo."
    )
    oidc_client_secret: str | None = _setting(
        "PAYGO_OIDC_CLIENT_SECRET",
        _text,
        secret=True,
        help="Client secret that the provider gave paygo.",
    )
    oidc_label: str = _setting(
        "PAYGO_OIDC_LABEL",
        _text,
        default="your organisation's account",
        help="What people call the provider, on the button to sign in with it.",
    )
    oidc_role_claim: str = _setting(
        "PAYGO_OIDC_ROLE_CLAIM",
        _text,
        default="roles",
        help="Claim with the names of a person's roles; roles it gives replace those in paygo.",
    )
    oidc_role_names: dict[str, str] = _setting(  # noqa: RUF009 - it returns a dataclasses.field
        "PAYGO_OIDC_ROLE_NAMES",
        _pairs,
        default="",
        help="The provider's names of roles, as Their-name=our-role with commas between.",
    )
    oidc_organisation_claim: str = _setting(
        "PAYGO_OIDC_ORGANISATION_CLAIM",
        _text,
        default="organisations",
        help="Claim with the ODS codes for which a person's finance roles count.",
    )
    oidc_service_claim: str = _setting(
        "PAYGO_OIDC_SERVICE_CLAIM",
        _text,
        default="services",
        help="Claim with the codes of the hosted services that a person owns.",
    )
    smtp_url: str | None = _setting(
        "PAYGO_SMTP_URL",
        _text,
        secret=True,
        help="Mail relay as smtp://USER:PASSWORD@HOST:PORT; smtps:// and smtp+plain:// too.",
    )
    mail_from: str | None = _setting(
        "PAYGO_MAIL_FROM",
        _text,
        help="Whom email is from, such as Paygo <paygo@example.nhs.uk>; needs the relay too.",
    )
    central_email: str | None = _setting(
        "PAYGO_CENTRAL_EMAIL",
        _text,
        help="Where the central team is told of trusts' queries; unset: the supplier's email.",
    )
    webhook_allow_private: bool = _setting(
        "PAYGO_WEBHOOK_ALLOW_PRIVATE",
        _yes_or_no,
        default="no",
        help="Whether webhooks may go to private addresses and over http: yes or no.",
    )
    log_format: str = _setting(
        "PAYGO_LOG_FORMAT",
        _one_of("text", "json"),
        default="text",
        help="How log lines are written: text for people, json for machines.",
    )
    log_level: str = _setting(
        "PAYGO_LOG_LEVEL",
        _one_of("debug", "info", "warning", "error"),
        default="info",
        help="The least severe log line that is written.",
    )
    traces_endpoint: str | None = _setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        _web_url,
        help="OpenTelemetry collector that traces go to by OTLP over HTTP; needs the extra traces.",
    )
    metrics_token: str | None = _setting(
        "PAYGO_METRICS_TOKEN",
        _token,
        secret=True,
        help="What Prometheus sends as a bearer token to /metrics; unset: this machine may ask.",
    )
    correction_months: int = _setting(
        "PAYGO_CORRECTION_MONTHS",
        _whole_number(1, 72),
        default="13",
        help="How many months back usage may still be sent or corrected.",
    )
    smallest_invoice: Decimal = _setting(  # noqa: RUF009 - declared as the others are
        "PAYGO_SMALLEST_INVOICE",
        _pounds,
        default="0.00",
        help="Pounds without VAT below which an invoice is carried over, but never past March.",
    )
    archive_dir: Path = _setting(  # noqa: RUF009 - it returns a dataclasses.field
        "PAYGO_ARCHIVE_DIR",
        _absolute_path,
        default_from=_default_archive_dir,
        help="Folder for archived months of usage events; keep it as safe as the database.",
    )
    keep_sign_ins_days: int = _setting(
        "PAYGO_KEEP_SIGN_INS_DAYS",
        _whole_number(1, 3650),
        default="90",
        help="Days that tries to sign in and ended sessions are kept.",
    )
    keep_deliveries_days: int = _setting(
        "PAYGO_KEEP_DELIVERIES_DAYS",
        _whole_number(30, 3650),
        default="400",
        help="Days that finished emails and webhooks are kept, with the address they went to.",
    )
    keep_answers_days: int = _setting(
        "PAYGO_KEEP_ANSWERS_DAYS",
        _whole_number(1, 365),
        default="7",
        help="Days that the answer to an Idempotency-Key is remembered.",
    )
    keep_job_runs_days: int = _setting(
        "PAYGO_KEEP_JOB_RUNS_DAYS",
        _whole_number(7, 3650),
        default="90",
        help="Days that the records of job runs are kept.",
    )
    supplier_name: str = _setting(
        "PAYGO_SUPPLIER_NAME",
        _text,
        default="NHS Example Shared Services",
        help="Legal name of the body that sends the invoices.",
    )
    supplier_address: str = _setting(
        "PAYGO_SUPPLIER_ADDRESS",
        _text,
        default="1 Example Place; Leeds",
        help="Its address as printed on invoices, lines divided by semicolons.",
    )
    supplier_postcode: str = _setting(
        "PAYGO_SUPPLIER_POSTCODE", _text, default="LS1 4AP", help="Its postcode."
    )
    supplier_ods_code: str = _setting(
        "PAYGO_SUPPLIER_ODS_CODE", _text, default="X26", help="Its ODS code."
    )
    supplier_vat_number: str | None = _setting(
        "PAYGO_SUPPLIER_VAT_NUMBER",
        _text,
        default="GB654965435",
        help="Its VAT number, with GB in front.",
    )
    supplier_email: str = _setting(
        "PAYGO_SUPPLIER_EMAIL",
        _text,
        default="paygo@example.nhs.uk",
        help="Where trusts write to about invoices.",
    )
    supplier_bank_account_name: str = _setting(
        "PAYGO_SUPPLIER_BANK_ACCOUNT_NAME",
        _text,
        default="NHS Example Shared Services",
        help="Name of the bank account that invoices are paid into.",
    )
    supplier_sort_code: str = _setting(
        "PAYGO_SUPPLIER_SORT_CODE", _text, default="60-70-80", help="Its sort code."
    )
    supplier_account_number: str = _setting(
        "PAYGO_SUPPLIER_ACCOUNT_NUMBER", _text, default="10014069", help="Its account number."
    )
    stripe_secret_key: str | None = _setting(
        "PAYGO_STRIPE_SECRET_KEY",
        _text,
        secret=True,
        help="Stripe's secret API key; without it nothing is pushed to Stripe.",
    )
    stripe_webhook_secret: str | None = _setting(
        "PAYGO_STRIPE_WEBHOOK_SECRET",
        _text,
        secret=True,
        help="Secret that signs Stripe's webhooks to /webhooks/stripe; without it all are refused.",
    )
    stripe_api_base: str | None = _setting(
        "PAYGO_STRIPE_API_BASE",
        _text,
        help="Where Stripe's API is; set only in tests.",
    )
    stripe_cards: str = _setting(
        "PAYGO_STRIPE_CARDS",
        _one_of("yes", "no"),
        default="no",
        help="Whether invoices at Stripe may be paid by card, beside transfer and Direct Debit.",
    )
    requests_per_minute: int = _setting(
        "PAYGO_REQUESTS_PER_MINUTE",
        _whole_number(0, 10_000_000),
        default="6000",
        help="Requests that one service key may send in a minute; 0 for no limit.",
    )

    @classmethod
    def from_environment(cls, environ: Environ) -> "Settings":
        """Return the settings that `environ` gives, defaults where it is silent.

        Raises:
            BadSetting: a value cannot be used; the sentence names the variable.
        """
        return cls(
            **{name: setting.value(environ) for name, setting in declared_settings().items()}
        )


def declared_settings() -> dict[str, Setting]:
    """Return every declared setting by its attribute name, in order of declaration."""
    found: dict[str, Setting] = {}
    for member in fields(Settings):
        assert member.default is MISSING, "defaults belong to the Setting, so that they are listed"
        found[member.name] = member.metadata["setting"]
    return found


def signing_key(settings: Settings) -> str:
    """Return the key that signs sessions: the one set, else the one kept in the data folder.

    Raises:
        BadSetting: `DATABASE_URL` is set without `PAYGO_SECRET_KEY`: several machines
            may share that database and would not share a generated key.
    """
    if settings.secret_key is not None:
        return settings.secret_key
    if settings.database_url is not None:
        raise BadSetting(
            "PAYGO_SECRET_KEY must be set when DATABASE_URL is set.", setting="PAYGO_SECRET_KEY"
        )
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = settings.data_dir / "secret_key"
    if not kept.exists():
        # Written whole under another name and then linked: of two processes that start
        # together one wins, and neither ever reads half a key.
        written = settings.data_dir / f".secret_key.{os.getpid()}"
        written.unlink(missing_ok=True)
        descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            if os.geteuid() == 0:  # after one start by root the folder's owner can still read it
                folder = settings.data_dir.stat()
                os.fchown(descriptor, folder.st_uid, folder.st_gid)
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(written, kept)
        except FileExistsError:
            pass
        finally:
            written.unlink()
    return kept.read_text(encoding="ascii")
