"""Write the documentation that the code itself knows: settings, problems, premises.

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


def assumptions_page() -> str:
    """Return the page of the premises that the sums rely on."""
    lines = [
        "# Assumptions",
        "",
        "Premises that the code relies on, as `# ASSUMPTION:` marks them where they matter. If one",
        "is not true for you, that is the place to look. This page is written by `make docs`.",
        "",
        "| Where | Premise |",
        "|---|---|",
    ]
    for package in ("billing", "metering"):
        for path in sorted((DOCS.parent / package).rglob("*.py")):
            where = path.relative_to(DOCS.parent).as_posix()
            for premise in _premises(path.read_text(encoding="utf-8")):
                lines.append(f"| `{where}` | {premise.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def _premises(source: str) -> Iterator[str]:
    """Yield the text of each premise; it goes on over the comment lines that follow it."""
    found: list[str] = []
    for line in [*source.splitlines(), ""]:
        stripped = line.strip()
        if stripped.startswith("# ASSUMPTION:"):
            if found:
                yield " ".join(found)
            found = [stripped.removeprefix("# ASSUMPTION:").strip()]
        elif found and re.match(r"# [^ ]", stripped):
            found.append(stripped.removeprefix("#").strip())
        elif found:
            yield " ".join(found)
            found = []


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


PAGES = {
    "settings.md": settings_page,
    "problems.md": problems_page,
    "assumptions.md": assumptions_page,
}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
