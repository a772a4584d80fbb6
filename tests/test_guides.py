"""What the guides tell people to type works, and what they say it comes to is so."""

import ast
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest

import metering.client
from billing.cli.root import paygo
from billing.rating.estimate import estimate
from billing.tariffs.files import load_document
from billing.tariffs.parsing import parse_tariff
from metering import jobs
from metering.kit.config import declared_settings
from metering.kit.db import Database
from metering.periods import Month
from tests.metering import make
from tests.processes import listening
from tests.web import Clock, make_app

DOCS = Path(__file__).resolve().parents[1] / "docs"
GUIDES = sorted(DOCS.glob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
# Variables that are no settings: a command's own, and those of the tests.
OTHER_VARIABLES = {"PAYGO_URL", "PAYGO_KEY", "PAYGO_TEST_DATABASE_URL", "PAYGO_TEST_CITUS_URL"}


def blocks(page: str, *languages: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of a page of docs/, as language and text."""
    written = (DOCS / page).read_text(encoding="utf-8")
    return [found for found in FENCE.findall(written) if found[0] in languages]


def typed_commands() -> list[tuple[str, str]]:
    """Return every `paygo …` line of a terminal in the guides, by page."""
    found = []
    for guide in GUIDES:
        for _, text in blocks(guide.name, "sh"):
            joined = text.replace("\\\n", " ")
            found += [
                (guide.stem, line.strip())
                for line in joined.splitlines()
                if re.match(r"\s*(?:[A-Z_]+=\S+ )*paygo ", line)
            ]
    return found


@pytest.mark.parametrize(("guide", "line"), typed_commands())
def test_a_command_in_a_guide_is_one_that_paygo_takes(guide: str, line: str) -> None:
    """The command exists with those options, and nothing that it needs is missing."""
    words = shlex.split(line, comments=True)
    end = next((at for at, word in enumerate(words) if word in {"|", ">", "<", "&&", "&"}), None)
    words = words[words.index("paygo") + 1 : end]
    command: click.Command = paygo
    context = click.Context(command, info_name="paygo")
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, f"{guide}: {line}"
        command, context = found, click.Context(found, info_name=name, parent=context)
    given, extra, _ = command.make_parser(context).parse_args(args=words)
    assert extra == [], f"{guide}: {line}"
    missing = [one.name for one in command.params if one.required and not given.get(one.name or "")]
    assert missing == [], f"{guide}: {line}"


@pytest.mark.parametrize("guide", GUIDES, ids=lambda page: page.stem)
def test_settings_that_a_guide_names_exist(guide: Path) -> None:
    named = set(re.findall(r"\b(?:PAYGO_[A-Z_]*[A-Z]|DATABASE_URL)\b", guide.read_text("utf-8")))
    known = {setting.name for setting in declared_settings().values()}
    assert named - known - OTHER_VARIABLES == set()


def test_the_key_that_the_integrators_ask_for_may_do_what_their_guide_does() -> None:
    [line] = [line for guide, line in typed_commands() if "key issue" in line and guide[0] == "i"]
    assert set(re.findall(r"--scope (\S+)", line)) == set(make.SCOPES)


def logged_errors() -> set[str]:
    """Return every message that the code logs as an error."""
    found = set()
    for package in ("billing", "metering"):
        for path in (DOCS.parent / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(
                        func=ast.Attribute(
                            value=ast.Name(id="_log"), attr="error" | "exception" | "critical"
                        ),
                        args=[ast.Constant(value=str(message)), *_],
                    ):
                        found.add(message)
    return found


def test_the_operators_guide_explains_every_error_that_is_logged() -> None:
    written = (DOCS / "operators-guide.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `([^`]+)` \|", written, re.M))
    assert "job failed" in logged_errors()
    assert logged_errors() - explained == set()


def tariff_examples() -> list[tuple[str, str, str, list[tuple[str, str]]]]:
    """Return each section of tariffs.md with an example: title, tariff, usage, charges."""
    written = (DOCS / "tariffs.md").read_text(encoding="utf-8")
    found = []
    for section in re.split(r"^## ", written, flags=re.M)[1:]:
        parts = dict(FENCE.findall(section))
        if "yaml" in parts:
            charges = re.findall(r"^\| (\w{3}) \| £([\d,.]+) \|$", section, re.M)
            found.append((section.splitlines()[0], parts["yaml"], parts["json"], charges))
    return found


EXAMPLES = tariff_examples()


@pytest.mark.parametrize("example", EXAMPLES, ids=[title.split(":")[0] for title, *_ in EXAMPLES])
def test_a_tariff_example_comes_to_what_the_page_says(
    example: tuple[str, str, str, list[tuple[str, str]]],
) -> None:
    _, tariff, usage, charges = example
    priced = estimate(
        parse_tariff(load_document(tariff)), json.loads(usage), month=Month.parse("2026-04")
    )
    assert charges
    assert [(one["organisation"], one["amount"]) for one in priced["charges"]] == [
        (organisation, amount.replace(",", "")) for organisation, amount in charges
    ]
    assert "parked" not in priced


def test_every_price_model_has_an_example() -> None:
    shown = {
        price.model
        for _, tariff, *_ in EXAMPLES
        for price in parse_tariff(load_document(tariff)).prices
    }
    assert shown == {"per-unit", "graduated", "volume", "package", "flat", "percentage"}


@pytest.fixture
def metering_api(database: Database, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A live server with the guide's service; yields what a terminal has in its environment."""
    make.catalogue(database)
    key = make.key(database)
    app = make_app(database, tmp_path, Clock(make.NOW))
    with listening(app) as url:
        yield {"PATH": os.environ["PATH"], "PAYGO_URL": url, "PAYGO_KEY": key}


def assert_as_stated(stated: Any, answered: Any, place: str = "") -> None:
    """Hold that an answer is what the page states; `…` there stands for anything."""
    if stated == "…":
        return
    if isinstance(stated, dict):
        assert set(answered) == set(stated), place
        for name, inner in stated.items():
            assert_as_stated(inner, answered[name], f"{place}/{name}")
    elif isinstance(stated, list):
        assert len(answered) == len(stated), place
        for index, inner in enumerate(stated):
            assert_as_stated(inner, answered[index], f"{place}/{index}")
    else:
        assert answered == stated, place


def test_the_integrators_guide_works_as_it_stands(
    metering_api: dict[str, str],
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer: Any = None
    answers = snippets = 0
    for language, text in blocks("integrators-guide.md", "sh", "json", "python"):
        jobs.roll_up(database, now=make.NOW)
        if language == "sh" and text.startswith("curl "):
            done = subprocess.run(
                ["bash", "-euc", text],
                env=metering_api,
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            answer = json.loads(done.stdout)
        elif language == "json":
            assert_as_stated(json.loads(text), answer)
            answers += 1
        elif language == "python":
            for name, value in metering_api.items():
                monkeypatch.setenv(name, value)
            # The page's events are of July, so the host's clock is too.
            monkeypatch.setattr(
                metering.client, "Meter", partial(metering.client.Meter, clock=_july)
            )
            said: dict[str, Any] = {}
            exec(text.replace("/var/spool/paygo", str(tmp_path / "spool")), said)  # our own page
            assert said["delivered"]
            assert (said["done"].accepted, said["done"].rejected) == (5, 0)
            snippets += 1
    assert (answers, snippets) == (8, 1)


def _july() -> datetime:
    return make.NOW
