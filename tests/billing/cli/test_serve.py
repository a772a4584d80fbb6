"""`paygo serve` starts everything, and leaves no process behind, however it ends."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from tests.processes import alive, descendants, wait_for

SECRET = "a-secret-for-the-tests-of-paygo-serve-only"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/sign-in", timeout=5).status_code == 200
    except requests.RequestException:
        return False


@contextmanager
def serving(url: str, *words: str) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "billing.cli", "serve", "--port", str(port), *words],
        env={**os.environ, "DATABASE_URL": url, "PAYGO_SECRET_KEY": SECRET},
        stderr=subprocess.DEVNULL,
    )
    below: set[int] = set()
    try:
        wait_for(lambda: answers(port))
        below = descendants(process.pid)
        yield process, port
    finally:
        process.kill()
        process.wait()
        for pid in below:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_serve(database_url: str, ending: signal.Signals) -> None:
    with serving(database_url, "--with-scheduler") as (process, _):
        below = descendants(process.pid)
        assert len(below) >= 4  # the web server, its workers and the scheduler
        process.send_signal(ending)
        assert process.wait(timeout=30) == (-9 if ending is signal.SIGKILL else 0)
        wait_for(lambda: not any(map(alive, below)))


def test_a_web_server_that_is_killed_comes_back(database_url: str) -> None:
    with serving(database_url) as (process, port):
        before = descendants(process.pid)
        for pid in before:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: answers(port))
        assert not before & descendants(process.pid)


def test_a_taken_port_is_refused_in_a_sentence(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = subprocess.run(
            [sys.executable, "-m", "billing.cli", "serve", "--port", str(port)],
            env={**os.environ, "DATABASE_URL": database_url, "PAYGO_SECRET_KEY": SECRET},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"paygo cannot listen on 127.0.0.1 port {port} ")


def test_the_metering_api_runs_by_itself_without_pages(database_url: str) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "billing.cli", "web", "--metering-api", "--port", str(port)],
        env={**os.environ, "DATABASE_URL": database_url, "PAYGO_WEB_WORKERS": "1"},
        stderr=subprocess.DEVNULL,
    )

    def status(path: str) -> int:
        try:
            return requests.get(f"http://127.0.0.1:{port}{path}", timeout=5).status_code
        except requests.RequestException:
            return 0

    try:
        wait_for(lambda: status("/api/openapi.json") == 200)
        assert status("/api/v1/usage?month=2026-07") == 401
        assert status("/sign-in") == 404
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0
