"""What the documentation says is what the program does."""

import re
import subprocess
from pathlib import Path

import click
import pytest

from billing.cli import root
from metering.kit.config import declared_settings
from scripts import write_docs

ROOT = Path(__file__).resolve().parents[1]
TRACKED = subprocess.run(
    ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.splitlines()
PAGES = [ROOT / name for name in TRACKED if name.endswith(".md") and "/vendor/" not in name]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))


@pytest.mark.parametrize("name", sorted(write_docs.PAGES))
def test_generated_pages_are_up_to_date(name: str) -> None:
    assert (write_docs.DOCS / name).read_text(encoding="utf-8") == write_docs.PAGES[name](), (
        "run `make docs`"
    )


def test_every_setting_and_every_problem_is_documented() -> None:
    settings = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert [one.name for one in declared_settings().values() if one.name not in settings] == []
    problems = (ROOT / "docs" / "problems.md").read_text(encoding="utf-8")
    assert [one.code for one in write_docs.refusals() if f"`{one.code}`" not in problems] == []


def test_every_refusal_has_a_stable_code_and_a_sentence_of_help() -> None:
    for refusal in write_docs.refusals():
        assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", refusal.code), refusal
        assert refusal.__doc__, refusal


def test_one_code_means_one_thing() -> None:
    codes = [refusal.code for refusal in write_docs.refusals()]
    assert sorted(set(codes)) == codes


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_and_link_on_a_page_exists(page: Path) -> None:
    written = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```", written, re.M | re.S)
    code = "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", written)])
    for command in re.findall(r"^(?:[A-Z_]+=\S+ )*paygo ([a-z][a-z-]+)", code, re.M):
        assert command in root.COMMANDS, f"paygo {command}"
    for target in re.findall(r"^make ([a-z][a-z-]+)", code, re.M):
        assert target in targets, f"make {target}"
    for path in re.findall(
        r"^(?:billing|metering|tests|docs|migrations|scripts|benchmarks)/[\w./-]*$", code, re.M
    ):
        assert (ROOT / path).exists(), path
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", written):
        assert (page.parent / link).exists(), link


def subcommands(name: str) -> list[str]:
    """Return the words that may follow `paygo NAME`; none where it is a command by itself."""
    command = root.paygo.get_command(click.Context(root.paygo), name)
    return command.list_commands(click.Context(command)) if isinstance(command, click.Group) else []


@pytest.mark.parametrize("name", root.COMMANDS)
def test_the_readme_tells_of_every_command(name: str) -> None:
    written = (ROOT / "README.md").read_text(encoding="utf-8")
    table = written.split("| Command | Does |")[1].split("\n\n")[0]
    rows = [row for row in table.splitlines() if f"`paygo {name}" in row]
    assert rows, f"paygo {name} is not in the table of commands"
    for word in subcommands(name):
        assert any(re.search(rf"`(?:paygo {name} )?{word}\b", row) for row in rows), word


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_every_decision_has_its_five_parts(page: Path) -> None:
    written = page.read_text(encoding="utf-8")
    number = page.stem[:4]
    assert written.startswith(f"# {number} ")
    for part in ("Context", "Decision", "Consequences", "Alternatives", "Enforced by"):
        assert f"\n## {part}\n" in written, part


def test_decisions_are_numbered_once() -> None:
    numbers = [page.stem[:4] for page in DECISIONS]
    assert len(set(numbers)) == len(numbers)
