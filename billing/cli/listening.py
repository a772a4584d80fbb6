"""Where `paygo serve` and `paygo web` listen."""

from dataclasses import replace

import click

from metering.kit.config import Settings

host_option = click.option("--host", help="Address to listen on, instead of PAYGO_HOST.")
port_option = click.option(
    "--port", type=click.IntRange(1, 65535), help="Port to listen on, instead of PAYGO_PORT."
)


def listening(settings: Settings, *, host: str | None, port: int | None) -> Settings:
    """Return the settings with the address that the command line gives."""
    return replace(settings, host=host or settings.host, port=port or settings.port)


def address(settings: Settings) -> str:
    """Return the address by which this machine reaches the web server."""
    host = settings.host
    if host in {"0.0.0.0", "::", ""}:  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
