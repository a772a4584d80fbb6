"""Write the documentation that the code itself knows: settings and problems.

`make docs` runs it; a test holds that what is written is up to date.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import billing
import metering
from metering.kit.config import declared_settings
from metering.kit.errors import Refusal
from metering.kit.problems import KIND_STATUS

DOCS = Path(__file__).resolve().parents[1] / "docs"


def settings_page() -> str:
    """Return the page of every environment variable that paygo reads."""
    lines = [
        "# Settings",
        "",
        "Every setting is an environment variable, read once at start-up. `paygo settings` shows",
        "what each is now. This page is written by `make docs` from the declarations in",
        "`metering/kit/config.py`.",
        "",
        "| Setting | Default | Meaning |",
        "|---|---|---|",
    ]
    for setting in declared_settings().values():
        default = setting.default
        if setting.default_from is not None:
            default = setting.default_from({"HOME": "~"})
        shown = f"`{default}`" if default else ""
        secret = " Secret: never shown or logged." if setting.secret else ""
        lines.append(f"| `{setting.name}` | {shown} | {setting.help}{secret} |")
    return "\n".join(lines) + "\n"


def problems_page() -> str:
    """Return the page of every refusal's stable code."""
    lines = [
        "# Problems",
        "",
        "What paygo expectedly refuses, by the stable code in a problem's `type`",
        "(`/problems/<code>`, RFC 9457). The same code stands in receipts, on pages and in what",
        "`paygo` says. This page is written by `make docs` from the refusals in the code.",
        "",
        "| Code | Status | Title | When |",
        "|---|---|---|---|",
    ]
    for refusal in refusals():
        status = next(int(KIND_STATUS[base]) for base in refusal.__mro__ if base in KIND_STATUS)
        when = re.sub(r"\s+", " ", (refusal.__doc__ or "").strip()).replace("|", "\\|")
        lines.append(f"| `{refusal.code}` | {status} | {refusal.title} | {when} |")
    return "\n".join(lines) + "\n"


def refusals() -> list[type[Refusal]]:
    """Return every concrete refusal by code; imports all of paygo to find them."""
    for package in (billing, metering):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    return sorted(
        (one for one in _below(Refusal) if "code" in vars(one) and _is_ours(one)),
        key=lambda one: (one.code, one.__module__),
    )


def _below(kind: type[Refusal]) -> Iterator[type[Refusal]]:
    for inner in kind.__subclasses__():
        yield inner
        yield from _below(inner)


def _is_ours(refusal: type[Refusal]) -> bool:
    return refusal.__module__.split(".")[0] in {"billing", "metering"}


PAGES = {"settings.md": settings_page, "problems.md": problems_page}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
