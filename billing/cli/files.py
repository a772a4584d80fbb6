"""Files that commands read: YAML or JSON, tariffs."""

from pathlib import Path
from typing import Any

import click

from billing.tariffs.files import load_document
from billing.tariffs.parsing import parse_tariff
from billing.tariffs.terms import Tariff
from metering.kit.errors import Malformed

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class FileNotText(Malformed):
    """A file that should hold YAML or JSON is not UTF-8 text."""

    code = "file-not-text"
    title = "The file is not text"


def read_document(file: Path) -> Any:
    """Return the YAML or JSON document in a file.

    Raises:
        FileNotText, TariffUnreadable: it holds something else.
    """
    try:
        return load_document(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise FileNotText(f"{file} is not UTF-8 text.") from None


def read_tariff(file: Path) -> Tariff:
    """Return the tariff in a file.

    Raises:
        FileNotText, TariffUnreadable, TariffRefused: with every fault.
    """
    return parse_tariff(read_document(file))
