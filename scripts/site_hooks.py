"""What the site holds beside docs/: the README files where they stand, and every decision.

mkdocs calls these by name. Links are written for a reader of the repository; here
they are turned to where the same page is on the site.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"\[([^][]*)\]\(([^)#:\s]+)(#[^)]*)?\)")
_HOME = "index.md"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add to the navigation every page of docs/ that it does not name, and every decision."""
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    nav: list[Any] = config.nav or []
    named = set(_named(nav))
    more = sorted(page.name for page in (ROOT / "docs").glob("*.md") if page.name not in named)
    if more:
        nav.append({"More": more})
    nav.append({"Decisions": [f"decisions/{page.name}" for page in pages]})
    config.nav = nav
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand elsewhere in the repository and are in the navigation."""
    for place in _named(config.nav):
        source = ROOT / ("README.md" if place == _HOME else place)
        if files.get_file_from_path(place) is None and source.exists():
            files.append(File.generated(config, place, abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - mkdocs' signature
    """Turn links between files of the repository into links between pages of the site."""
    place = page.file.src_uri
    stands = _stands(place)
    here = posixpath.dirname(place) or "."

    def turned(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(stands), match[2]))
        on_site = _on_site(target)
        if files.get_file_from_path(on_site) is not None:
            return f"[{match[1]}]({posixpath.relpath(on_site, here)}{match[3] or ''})"
        # What is no page, such as the licence, is named; a page that is missing fails the build.
        return match[0] if target.endswith(".md") else match[1]

    return _LINK.sub(turned, markdown)


def _stands(place: str) -> str:
    """Return where a page of the site stands in the repository."""
    if place == _HOME:
        return "README.md"
    return place if (ROOT / place).exists() else f"docs/{place}"


def _on_site(target: str) -> str:
    """Return where a file of the repository is on the site."""
    if target == "README.md":
        return _HOME
    return target.removeprefix("docs/")


def _named(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    if isinstance(nav, dict):
        return [name for inner in nav.values() for name in _named(inner)]
    return [name for inner in nav or [] for name in _named(inner)]
