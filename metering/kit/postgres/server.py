"""The embedded PostgreSQL server, as paygo's own processes see it.

The first process that starts it for a data folder owns it: the server lives as
long as that process. Others attach to it, and can take over when it has ended.
"""

import hashlib
import json
import os
import pwd
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import psycopg
from psycopg import sql

from metering.kit.errors import Unavailable
from metering.kit.postgres import supervisor
from metering.kit.postgres.binaries import installation_for, reachable
from metering.kit.roles import PROCESSES

_PATIENCE_SECONDS = 330
_STOP_PATIENCE_SECONDS = 75
# A Unix socket's path is at most 107 bytes, and PostgreSQL adds this name.
_SOCKET_NAME = ".s.PGSQL.5432"
_SOCKET_PATH_BYTES_MAX = 107
_DISK_BYTES_LEAST = 200_000_000

# ASSUMPTION: two cores and a few gigabytes shared with paygo itself. Written to
# postgresql.conf when the cluster is made, so an operator can change them there.
_INITIAL_SETTINGS = (
    "shared_buffers=256MB",
    "effective_cache_size=1GB",
    "work_mem=16MB",
    "maintenance_work_mem=128MB",
    "max_connections=100",
    "max_parallel_workers_per_gather=1",
    "max_wal_size=2GB",
    "min_wal_size=256MB",
    "checkpoint_timeout=15min",
    "random_page_cost=1.1",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_line_prefix=%m [%p] %q%a ",
)


class EmbeddedPostgresFailed(Unavailable):
    """The embedded PostgreSQL server cannot run here; the sentence says why."""

    code = "embedded-postgresql-failed"
    title = "The embedded PostgreSQL cannot run"


class DataFolderUnusable(EmbeddedPostgresFailed):
    """The data folder cannot be written, or belongs to somebody else."""

    code = "data-folder-unusable"
    title = "The data folder cannot be used"


class ClusterVersionMismatch(EmbeddedPostgresFailed):
    """The database was made by another major version of PostgreSQL."""

    code = "postgresql-version-mismatch"
    title = "The database is of another PostgreSQL version"


class DiskFull(EmbeddedPostgresFailed):
    """The disk of the data folder is full."""

    code = "disk-full"
    title = "The disk is full"


class SocketPathTooLong(EmbeddedPostgresFailed):
    """A Unix socket's path must fit in 107 bytes."""

    code = "socket-path-too-long"
    title = "The socket's path is too long"


_BY_REASON: dict[str, type[EmbeddedPostgresFailed]] = {
    "version": ClusterVersionMismatch,
    "foreign": DataFolderUnusable,
    "disk-full": DiskFull,
}


@dataclass(frozen=True)
class _Runner:
    """Who runs the server."""

    uid: int
    gid: int
    name: str


class EmbeddedPostgres:
    """One embedded PostgreSQL server, found by its data folder.

    Args:
        data_dir: folder for the database, its log and its lock; made when absent.
        socket_dir: private folder for the Unix socket; chosen when None.
        fsync: False only for tests, whose data nobody would miss.
        settings: further `name=value` server settings for this start.

    Use it as a context manager, which gives the URL, or call `start` and `stop`.
    A forked child that inherits the object neither owns nor stops the server.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        socket_dir: Path | None = None,
        fsync: bool = True,
        settings: tuple[str, ...] = (),
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.socket_dir = socket_dir
        self._settings = (*settings, *(() if fsync else _CARELESS))
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._owner_pid = 0

    @property
    def owns_server(self) -> bool:
        """Whether this process started the server, rather than attached to one."""
        return (
            self._supervisor is not None
            and self._owner_pid == os.getpid()
            and self._supervisor.poll() is None
        )

    @property
    def url(self) -> str:
        """URL of the database `paygo` as its owner, who is not a superuser."""
        return self._url(user="paygo", database="paygo")

    @property
    def admin_url(self) -> str:
        """URL of the database `paygo` as superuser, for extensions and repair."""
        return self._url(user="postgres", database="paygo")

    def start(self) -> str:
        """Start the server, or attach to the one that runs on this folder; return `url`.

        Raises:
            EmbeddedPostgresFailed: it cannot run; subclasses and the sentence say why.
            PostgresMissing: its programs are not here.
        """
        if self.owns_server:
            return self.url
        self._make_data_dir()
        runner = _runner(self.data_dir)
        self._refuse_full_disk()
        binaries = installation_for(runner.uid, runner.gid)
        socket_dir = self._claim_socket_dir(runner)
        job = supervisor.Job(
            parent=os.getpid(),
            uid=runner.uid,
            gid=runner.gid,
            user=runner.name,
            binaries=str(binaries / "bin"),
            folder=str(self.data_dir),
            socket_dir=str(socket_dir),
            settings=self._settings,
            initial=_INITIAL_SETTINGS,
        )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if self._own(job):
                self._make_database()
                self._write_state(socket_dir)
                return self.url
            if self._attach():
                return self.url
            time.sleep(0.25)
        raise EmbeddedPostgresFailed(
            f"Another process holds {self.data_dir}, but its PostgreSQL cannot be reached from "
            "here; stop that process, or wait until its server has ended."
        )

    def stop(self) -> None:
        """End the server if this process owns it, and wait until it has ended."""
        running = self._supervisor
        if running is None or not self.owns_server:
            return
        self._supervisor = None
        running.terminate()
        try:
            running.wait(_STOP_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            running.kill()  # the kernel then tells the server to end
            running.wait()

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # --- owning and attaching

    def _own(self, job: supervisor.Job) -> bool:
        """Start a supervisor; return whether it runs the server, False if the folder is taken."""
        running = subprocess.Popen(  # noqa: S603 - our own program and arguments
            # -I and -S: whatever is installed or set around paygo has no say in it.
            [sys.executable, "-I", "-S", supervisor.__file__, json.dumps(asdict(job))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for paygo, which ends the server in order
            cwd="/",
        )
        assert running.stdout is not None
        with running.stdout as pipe:
            line = pipe.readline()
        told: dict[str, str] = json.loads(line) if line else {}
        state = told.get("state", "refused")
        if state == "ready":
            self._supervisor = running
            self._owner_pid = os.getpid()
            return True
        running.wait()
        if state == "busy":
            return False
        failure = _BY_REASON.get(told.get("why", ""), EmbeddedPostgresFailed)
        raise failure(told.get("detail") or "The embedded PostgreSQL's supervisor was killed.")

    def _attach(self) -> bool:
        """Return whether a server that another process owns takes our connections."""
        try:
            state = json.loads((self.data_dir / "postgres.json").read_text(encoding="utf-8"))
            self.socket_dir = Path(state["socket_dir"])
            psycopg.connect(self.url, connect_timeout=5).close()
        except (FileNotFoundError, psycopg.OperationalError):
            return False
        return True

    def _write_state(self, socket_dir: Path) -> None:
        written = self.data_dir / f".postgres.json.{os.getpid()}"
        written.write_text(json.dumps({"socket_dir": str(socket_dir), "url": self.url}) + "\n")
        written.replace(self.data_dir / "postgres.json")

    def _make_database(self) -> None:
        """Make the role and the database that paygo uses, unless they are there."""
        with psycopg.connect(
            self._url(user="postgres", database="postgres"), autocommit=True
        ) as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'paygo'").fetchone():
                # Not a superuser, so that row-level security and revoked grants bind it,
                # and so that what works here works on a managed PostgreSQL.
                connection.execute("CREATE ROLE paygo LOGIN CREATEDB CREATEROLE")
            for role in PROCESSES:
                found = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
                if not found.fetchone():
                    # Only a superuser may make what sees every row; what it may do is granted.
                    connection.execute(
                        sql.SQL(
                            "CREATE ROLE {0} NOLOGIN NOINHERIT BYPASSRLS;"
                            " GRANT {0} TO paygo WITH INHERIT FALSE, SET TRUE"
                        ).format(sql.Identifier(role))
                    )
            if not connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = 'paygo'"
            ).fetchone():
                connection.execute("CREATE DATABASE paygo OWNER paygo")

    # --- folders

    def _url(self, *, user: str, database: str) -> str:
        assert self.socket_dir is not None, "start() chooses the socket's folder"
        socket = quote(str(self.socket_dir), safe="")
        return f"postgresql://{user}@/{database}?host={socket}&port=5432"

    def _make_data_dir(self) -> None:
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.data_dir):
                pass
        except OSError as error:
            raise DataFolderUnusable(
                f"The data folder {self.data_dir} cannot be written: {error.strerror}; "
                "set PAYGO_DATA_DIR to a folder that can."
            ) from error

    def _refuse_full_disk(self) -> None:
        disk = os.statvfs(self.data_dir)
        free = disk.f_bavail * disk.f_frsize
        new = not (self.data_dir / "pgdata" / "PG_VERSION").exists()
        if new and free < _DISK_BYTES_LEAST:
            raise DiskFull(
                f"The disk of {self.data_dir} has {free // 1_000_000} MB free, and a new "
                f"database needs {_DISK_BYTES_LEAST // 1_000_000} MB."
            )

    def _claim_socket_dir(self, runner: _Runner) -> Path:
        """Return a folder for the socket: private to the runner, and short enough.

        The supervisor makes it, and removes it at the end, while it holds the lock.

        Raises:
            SocketPathTooLong: the folder that was asked for is too long.
            DataFolderUnusable: no folder for the socket can be made.
        """
        if self.socket_dir is None:
            choices = list(_socket_dirs(self.data_dir, runner))
        else:
            choices = [self.socket_dir.absolute()]
            if not _socket_fits(choices[0]):
                raise SocketPathTooLong(
                    f"The socket's folder {choices[0]} makes a path of over "
                    f"{_SOCKET_PATH_BYTES_MAX} bytes; choose a shorter one."
                )
        for choice in choices:
            if _socket_fits(choice) and _may_be_private(choice, runner):
                self.socket_dir = choice
                return choice
        raise DataFolderUnusable(
            f"None of {', '.join(map(str, choices))} can be a private folder of {runner.name} "
            "for the database's socket."
        )


# fsync off is for tests alone, and then the rest of the safety is only a cost too.
_CARELESS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def _runner(data_dir: Path) -> _Runner:
    """Return who runs the server: ourselves, or for root the folder's owner or nobody.

    Raises:
        DataFolderUnusable: the cluster belongs to another user, and we are not root.
        EmbeddedPostgresFailed: we are root, and there is no user to run the server.
    """
    me = os.geteuid()
    cluster = data_dir / "pgdata"
    owner = (cluster if cluster.exists() else data_dir).stat().st_uid
    if me != 0:
        if owner != me:
            raise DataFolderUnusable(
                f"The database in {cluster} belongs to user {owner}, and this is user {me}."
            )
        return _Runner(me, os.getegid(), str(me))
    try:
        entry = pwd.getpwuid(owner) if owner != 0 else pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedPostgresFailed(
            "PostgreSQL does not run as root, and there is no user "
            f"{owner if owner else 'nobody'} here to run it; start paygo as an ordinary user."
        ) from None
    return _Runner(entry.pw_uid, entry.pw_gid, entry.pw_name)


def _socket_dirs(data_dir: Path, runner: _Runner) -> Iterator[Path]:
    """Yield folders for the socket, best first; the same for every process of one user."""
    mark = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:12]
    name = f"paygo-{runner.uid}-{mark}"
    if os.geteuid() == 0:
        yield Path("/run") / name
    elif runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / name
    yield Path(tempfile.gettempdir()) / name
    yield Path("/tmp") / name  # noqa: S108 - made private and checked before use


def _socket_fits(folder: Path) -> bool:
    return len(os.fsencode(folder / _SOCKET_NAME)) <= _SOCKET_PATH_BYTES_MAX


def _may_be_private(folder: Path, runner: _Runner) -> bool:
    """Return whether `folder` is the runner's alone, or absent and may be made so."""
    parent = folder.parent
    if not (os.access(parent, os.W_OK) and reachable(parent, runner.uid, runner.gid)):
        return False
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return True
    # A folder that somebody else made first, or a link, is not to be trusted.
    private = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o700
    return private and status.st_uid == runner.uid
