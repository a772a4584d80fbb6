"""The demonstration as a stranger runs it, whole, and stopped in every way."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from billing.demo import state
from billing.demo.usage import Plan
from metering.periods import Month
from tests import databases
from tests.processes import alive, command_of, descendants, wait_for

SMALL = ("--no-serve", "--trusts", "8", "--events", "6000", "--month", "2026-10")


def command(folder: Path, *words: str) -> list[str]:
    return [
        sys.executable, "-m", "billing.cli", "demo", "--output", str(folder / "out"), *words
    ]  # fmt: skip


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return {**kept, "PAYGO_DATA_DIR": str(folder / "paygo")}


def run(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(folder, *words),
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def summary(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "out" / "summary.json").read_text())
    return read


@contextmanager
def running(folder: Path, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the demonstration; at the end nothing of it is left, whatever the test did."""
    process = subprocess.Popen(
        command(folder, *words),
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    below: set[int] = set()
    try:
        yield process
    finally:
        below = descendants(process.pid)
        process.kill()
        process.wait()
        for pid in below:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def posted(folder: Path) -> int:
    file = folder / "paygo" / state.FILE
    return len(json.loads(file.read_text())["posted"]) if file.exists() else 0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    answer = run(folder, *SMALL)
    assert answer.returncode == 0, answer.stderr
    assert "agrees to the penny" in answer.stdout
    return folder


@pytest.mark.slow
def test_the_month_is_billed_and_proved(undisturbed: Path) -> None:
    told = summary(undisturbed)
    assert told["conserved"] is True
    assert told["trusts_billed"] == 8
    assert told["net"] == told["recomputed_net"]
    assert Decimal(told["net"]) + Decimal(told["vat"]) == Decimal(told["total"])
    assert Decimal(told["pool_saving"]) > 0
    assert all(Decimal(price["net"]) >= 0 for price in told["prices"])
    files = list((undisturbed / "out").iterdir())
    assert sum(1 for file in files if file.suffix == ".pdf") == 8
    assert sum(1 for file in files if file.name.endswith("-lines.csv")) == 8
    assert all(file.read_bytes().startswith(b"%PDF-") for file in files if file.suffix == ".pdf")


@pytest.mark.slow
def test_a_second_run_changes_nothing_even_if_it_posts_everything_again(
    undisturbed: Path,
) -> None:
    before = summary(undisturbed)
    kept = state.read(undisturbed / "paygo")
    assert kept is not None
    state.write(undisturbed / "paygo", state.State(kept.plan, kept.keys, kept.passwords))
    answer = run(undisturbed, "--no-serve")
    assert answer.returncode == 0, answer.stderr
    assert summary(undisturbed) == before


@pytest.mark.slow
def test_another_plan_on_the_same_folder_is_refused_in_a_sentence(undisturbed: Path) -> None:
    answer = run(undisturbed, "--no-serve", "--events", "7000")
    assert answer.returncode == 1
    assert answer.stderr == (
        "The data folder holds a demonstration of October 2026 with 6,000 events of 8 trusts;"
        " add --fresh to start again.\n"
    )


@pytest.mark.faults
@pytest.mark.parametrize("victim", ["demo", "web"])
def test_killed_while_posting_it_comes_to_the_same_totals(
    undisturbed: Path, tmp_path: Path, victim: str
) -> None:
    with running(tmp_path, *SMALL) as process:
        wait_for(lambda: posted(tmp_path) in range(1, 5), seconds=120)
        below = descendants(process.pid)
        if victim == "demo":
            process.kill()
            process.wait()
            # The kernel tells the children; PostgreSQL ends by itself.
            wait_for(lambda: not any(map(alive, below)), seconds=30)
        else:
            for pid in below:
                if " web " in command_of(pid):
                    os.kill(pid, signal.SIGKILL)
            assert process.wait(timeout=300) == 0
    answer = run(tmp_path, "--no-serve")
    assert answer.returncode == 0, answer.stderr
    assert summary(tmp_path) == summary(undisturbed)


@pytest.mark.faults
def test_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    with running(tmp_path, *SMALL) as process:
        wait_for(lambda: posted(tmp_path) >= 1, seconds=120)
        below = descendants(process.pid)
        assert len(below) >= 5
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        wait_for(lambda: not any(map(alive, below)), seconds=10)


def test_only_a_demonstration_is_ever_removed(tmp_path: Path) -> None:
    (tmp_path / "paygo").mkdir()
    (tmp_path / "paygo" / "thesis.txt").write_text("years of work")
    answer = run(tmp_path, "--fresh", "--no-serve")
    assert answer.returncode == 1
    assert "holds something that the demonstration did not make" in answer.stderr
    assert (tmp_path / "paygo" / "thesis.txt").read_text() == "years of work"


def run_on(url: str, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(folder, *words),
        env={**environment(folder), "DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_somebodys_database_is_never_filled(tmp_path: Path, database_url: str) -> None:
    answer = run_on(database_url, tmp_path)
    assert answer.returncode == 1
    assert "is not empty" in answer.stderr
    assert answer.stderr.count("\n") == 1
    fresh = run_on(database_url, tmp_path, "--fresh")
    assert fresh.returncode == 1
    assert "--fresh removes only" in fresh.stderr


def test_an_empty_database_of_ones_own_is_filled_and_gone_on_with(
    tmp_path: Path, server_url: str
) -> None:
    name = f"paygo_demo_{os.getpid()}"
    databases.create(server_url, name, template="template0")
    try:
        url = databases.url_of(server_url, name)
        words = ("--no-serve", "--trusts", "3", "--events", "1000")
        first = run_on(url, tmp_path, *words)
        assert first.returncode == 0, first.stderr
        figures = summary(tmp_path)
        assert figures["trusts_billed"] == 3
        assert figures["conserved"] is True
        again = run_on(url, tmp_path, *words)
        assert again.returncode == 0, again.stderr
        assert summary(tmp_path) == figures
    finally:
        databases.drop(server_url, name)


def test_the_state_is_kept_whole_and_private(tmp_path: Path) -> None:
    kept = state.State(
        Plan(Month(2026, 10), trust_count=3), {"a": "pgk_x"}, {"b@c": "word"}, ("a",)
    )
    state.write(tmp_path / "paygo", kept)
    assert state.read(tmp_path / "paygo") == kept
    assert (tmp_path / "paygo" / state.FILE).stat().st_mode & 0o777 == 0o600
    assert state.read(tmp_path / "nothing") is None
