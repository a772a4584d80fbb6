"""The command line as a stranger meets it: words, exit statuses, no tracebacks."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from billing.cli import root
from billing.cli.tariffs import tariff
from metering.kit.db import Database
from tests import make

CATALOGUE = Path(root.__file__).parents[1] / "demo" / "catalogue"


def paygo(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command in an environment that holds nothing of the machine's settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "billing.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**kept, **environment},
        check=False,
    )


def every_command(command: click.Command, name: str) -> list[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        return [
            found
            for word in command.list_commands(context)
            if (inner := command.get_command(context, word)) is not None
            for found in every_command(inner, f"{name} {word}")
        ]
    return [(name, command)]


COMMANDS = every_command(root.paygo, "paygo")


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_every_command_has_help_with_an_example_of_itself(
    name: str, command: click.Command
) -> None:
    assert command.help is not None
    assert "Example" in command.help
    assert f"{name} " in command.help.replace("\n", " \n") + " "
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, parameter.name


def test_every_listed_command_exists() -> None:
    for name, listed in root.COMMANDS.items():
        module, _, attribute = listed.place.partition(":")
        assert getattr(import_module(module), attribute).name == name


def test_the_list_of_commands_is_whole_and_imports_none_of_them() -> None:
    asked = (
        "import sys; from billing.cli.root import paygo; paygo(['--help'], standalone_mode=False)"
    )
    told = "; print('flask' in sys.modules, 'alembic' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", asked + told], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert answer[-1] == "False False"
    for name, listed in root.COMMANDS.items():
        assert any(line.split() == [name, *listed.says.split()] for line in answer), name


def test_wrong_usage_is_status_2() -> None:
    answer = paygo("frobnicate")
    assert answer.returncode == 2
    assert "No such command" in answer.stderr


def test_a_bad_setting_is_one_sentence_and_status_1() -> None:
    answer = paygo("settings", PAYGO_PORT="banana")
    assert answer.returncode == 1
    assert answer.stderr == ("PAYGO_PORT must be a whole number from 1 to 65535, not 'banana'.\n")
    assert answer.stdout == ""


def test_settings_lists_values_and_hides_secrets() -> None:
    answer = paygo(
        "settings", "--json", PAYGO_SECRET_KEY="x" * 40, DATABASE_URL="postgresql://a:b@c/d"
    )
    listed = {row["name"]: row for row in json.loads(answer.stdout)}
    assert listed["PAYGO_SECRET_KEY"]["value"] == "(hidden)"
    assert listed["DATABASE_URL"]["value"] == "(hidden)"
    assert listed["PAYGO_PORT"] | {"help": ""} == {
        "name": "PAYGO_PORT",
        "value": "8080",
        "set": False,
        "help": "",
    }


def test_a_database_that_cannot_be_reached_is_said_in_a_sentence() -> None:
    answer = paygo("jobs", DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")
    assert answer.returncode == 1
    assert answer.stderr.startswith("The database cannot be used: ")
    assert "Traceback" not in answer.stderr


def test_web_without_a_database_says_what_to_do() -> None:
    answer = paygo("web")
    assert answer.returncode == 1
    assert answer.stderr == (
        "paygo web needs DATABASE_URL; 'paygo serve' brings a database of its own.\n"
    )


def test_jobs_and_run_job(database_url: str) -> None:
    answer = paygo("run-job", "prune-job-runs", DATABASE_URL=database_url)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "prune-job-runs took" in answer.stdout
    listed = json.loads(paygo("jobs", "--json", DATABASE_URL=database_url).stdout)
    run = next(job for job in listed if job["name"] == "prune-job-runs")["last_run"]
    assert (run["outcome"], run["started_by"]) == ("succeeded", "cli")
    unknown = paygo("run-job", "nothing", DATABASE_URL=database_url)
    assert unknown.returncode == 1
    assert unknown.stderr == "There is no job 'nothing'; 'paygo jobs' lists them.\n"


@pytest.mark.parametrize("file", sorted(CATALOGUE.glob("*.yaml")), ids=lambda file: file.stem)
def test_tariff_check_lists_every_fault(file: Path) -> None:
    # A catalogue file wraps a tariff, so it is not one itself.
    answer = paygo("tariff", "check", str(file))
    assert answer.returncode == 1
    assert "/prices" in answer.stderr


TARIFF = """
tariff: archive
version: "1"
effective_from: 2026-04-01
vat: standard
prices:
  - meter: studies
    model: graduated
    tiers:
      - {up_to: "10", unit_price: "1.005"}
      - {up_to: null, unit_price: "0.5"}
"""


def test_tariff_diff_says_in_words_what_changes(
    tmp_path: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    with database.transaction() as session:
        make.source(session, code="archive")
        make.meter(session, code="studies", source="archive")
        prices = yaml.safe_load(TARIFF)["prices"]
        version = make.tariff(session, *prices, code="archive", version="1")
    (tmp_path / "old.yaml").write_text(TARIFF)
    (tmp_path / "new.yaml").write_text(TARIFF.replace('"0.5"', '"0.45"'))
    (tmp_path / "other.yaml").write_text(TARIFF.replace("tariff: archive", "tariff: other"))
    old, new, other = (str(tmp_path / f"{name}.yaml") for name in ("old", "new", "other"))
    for before in (old, version.id):
        answer = CliRunner().invoke(tariff, ["diff", before, new])
        assert (answer.exit_code, answer.output.count("\n")) == (0, 1), answer.output
        assert "0.45" in answer.output
    assert CliRunner().invoke(tariff, ["diff", old, version.id]).output == "Nothing changes.\n"
    assert json.loads(CliRunner().invoke(tariff, ["diff", old, old, "--json"]).output) == []
    assert "are two tariffs" in CliRunner().invoke(tariff, ["diff", old, other]).output
    assert "There is no file" in CliRunner().invoke(tariff, ["diff", old, "none.yaml"]).output


def test_estimate_prices_supposed_usage_without_a_database(tmp_path: Path) -> None:
    (tmp_path / "tariff.yaml").write_text(TARIFF)
    (tmp_path / "usage.json").write_text(
        '[{"organisation": "RRK", "meter": "studies", "quantity": "21",'
        ' "at": "2026-10-31T23:30:00+00:00"}]'
    )
    files = (str(tmp_path / "tariff.yaml"), str(tmp_path / "usage.json"))
    answer = paygo("estimate", *files, "--json")
    assert answer.stderr == ""
    priced = json.loads(answer.stdout)
    assert priced["total"] == "15.55"
    assert priced["charges"][0]["exact"] == "15.55"
    assert "Total before VAT: £15.55" in paygo("estimate", *files).stdout


def test_events_post_says_when_the_api_cannot_be_reached(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text('{"id": "1"}\n')
    answer = paygo("events", "post", str(file), "--key", "pgk_x", "--url", "http://127.0.0.1:1")
    assert answer.returncode == 1
    assert answer.stderr.startswith("http://127.0.0.1:1 did not take the events from number 1 on")
    file.write_text('{"id": "1"}\n[]\n')
    answer = paygo("events", "post", str(file), "--key", "pgk_x", "--url", "http://127.0.0.1:1")
    assert answer.stderr.startswith(f"Line 2 of {file} is not a JSON object")


def test_a_file_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    with database.transaction() as session:
        make.source(session)
    sheet = str(tmp_path / "none" / "accrual.csv")
    answer = paygo("accrual", "--month", "2026-04", "--csv", sheet, DATABASE_URL=database_url)
    assert answer.returncode == 1
    assert answer.stderr == f"{sheet} cannot be used: No such file or directory.\n"
