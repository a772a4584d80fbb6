"""The process that owns the embedded PostgreSQL server: `python -I -S supervisor.py JOB`.

It is a process of its own, with one thread, because the kernel's "tell me when
my parent dies" follows threads, and forking in a threaded web server is unsafe.
It holds the lock of the data folder, makes the cluster when there is none,
starts the server with lowered privileges, restarts it when it dies, and ends it
when told to (SIGTERM) or when the paygo process that started it is gone.

It uses the standard library alone, so that it starts at once and needs nothing
from a virtual environment. It answers on standard output with one line of JSON:
`{"state": "ready" | "busy" | "refused", "why": ..., "detail": ...}`.
"""

import ctypes
import fcntl
import json
import os
import signal
import stat
import sys
import time
from dataclasses import dataclass

_PR_SET_PDEATHSIG = 1
_PATIENCE_FAST_SECONDS = 60
_PATIENCE_START_SECONDS = 300
_QUICK_DEATH_SECONDS = 10
_QUICK_DEATHS_BEFORE_REFUSAL = 4
_LONGEST_PAUSE_SECONDS = 30
_DISK_BYTES_FULL = 20_000_000  # less than one more WAL segment and a little
_LOG_BYTES_MAX = 10_000_000


class Refused(Exception):
    """The server cannot run. `args` are the stable reason and one sentence."""


@dataclass(frozen=True)
class Job:
    """What the supervisor is asked to do; the paths are absolute.

    Attributes:
        parent: id of the paygo process whose end is the server's end.
        uid, gid, user: who runs the server.
        binaries: folder with `postgres` and `initdb`.
        folder: the data folder; holds the lock, the log and the cluster.
        socket_dir: private folder of the Unix socket.
        settings: `name=value` given to the server at each start.
        initial: `name=value` written to postgresql.conf when the cluster is made.
    """

    parent: int
    uid: int
    gid: int
    user: str
    binaries: str
    folder: str
    socket_dir: str
    settings: tuple[str, ...]
    initial: tuple[str, ...]

    @property
    def cluster(self) -> str:
        """The folder that PostgreSQL calls PGDATA."""
        return os.path.join(self.folder, "pgdata")

    @property
    def log(self) -> str:
        """The file with the server's messages."""
        return os.path.join(self.folder, "postgres.log")


def main(argument: str) -> int:
    """Run the job until it is over; return the exit status."""
    job = Job(**json.loads(argument))
    # Signals wait until `_next_signal` fetches them: nothing is ever interrupted halfway.
    signal.pthread_sigmask(
        signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    )
    try:
        lock = _open_ours(job, os.path.join(job.folder, "postgres.lock"), os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _answer("busy")
            return 0
        _make_socket_dir(job)
        try:
            _supervise(job, lock)
        finally:
            _remove_socket_dir(job)
    except Refused as refused:
        _answer("refused", *refused.args)
        return 1
    except OSError as error:
        _answer("refused", "os", f"The embedded PostgreSQL could not be started: {error}.")
        return 1
    return 0


def _open_ours(job: Job, path: str, how: int) -> int:
    """Open a file beside the cluster, made when absent, as its folder's owner would.

    So that after one start by root the folder's owner can still start it.
    """
    descriptor = os.open(path, how | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if os.geteuid() == 0:
        owner = os.stat(job.folder)
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


def _answer(state: str, why: str = "", detail: str = "") -> None:
    """Tell the starting process, once; later answers go nowhere and do no harm."""
    try:
        os.write(1, json.dumps({"state": state, "why": why, "detail": detail}).encode() + b"\n")
    except BrokenPipeError:
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.close(sink)


# --- the cluster


def _prepare_cluster(job: Job) -> None:
    """Make the cluster unless it is there, whole and of this major version."""
    version_file = os.path.join(job.cluster, "PG_VERSION")
    if os.path.exists(os.path.join(job.folder, "pgdata.making")):
        # An earlier initdb was cut short. Nothing was ever stored in that folder.
        _remove_tree(job.cluster)
        os.unlink(os.path.join(job.folder, "pgdata.making"))
    if not os.path.exists(version_file):
        _make_cluster(job)
        return
    with open(version_file, encoding="ascii") as file:
        there = file.read().strip()
    ours = _major_version(job)
    if there != ours:
        raise Refused(
            "version",
            f"The database in {job.cluster} was made by PostgreSQL {there}, and this is "
            f"PostgreSQL {ours}; start it with the paygo that made it and take a dump, or "
            "upgrade it with pg_upgrade.",
        )
    if os.stat(job.cluster).st_uid == 0 and job.uid != 0:
        # Typically a folder restored by root. Nothing else is touched, links are not followed.
        # The cluster's own folder comes last: cut short, it is all done again.
        for folder, folders, names in os.walk(job.cluster, topdown=False):
            for name in (*folders, *names):
                os.lchown(os.path.join(folder, name), job.uid, job.gid)
        os.chown(job.cluster, job.uid, job.gid)


def _make_cluster(job: Job) -> None:
    if os.path.isdir(job.cluster) and os.listdir(job.cluster):
        raise Refused("foreign", f"{job.cluster} holds files that are not a PostgreSQL database.")
    making = os.path.join(job.folder, "pgdata.making")
    os.close(os.open(making, os.O_WRONLY | os.O_CREAT, 0o600))
    os.makedirs(job.cluster, mode=0o700, exist_ok=True)
    if os.geteuid() != job.uid:
        os.chown(job.cluster, job.uid, job.gid)
    command = [
        os.path.join(job.binaries, "initdb"),
        "--username=postgres",
        "--auth-local=trust",  # the socket's folder lets in its owner and root only
        "--auth-host=reject",
        "--encoding=UTF8",
        # The server's own C.UTF-8: an operating system upgrade cannot reorder an index.
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--data-checksums",
        "--no-instructions",
        "--no-clean",  # a full disk is still full when we look why it failed
        *(f"--set={setting}" for setting in job.initial),
    ]
    mark = _log_size(job)
    status = _wait_for(_spawn(job, command, keep=()))
    if status != 0:
        failure = _explained(job, mark, "could not make its database")
        _remove_tree(job.cluster)
        os.unlink(making)
        raise failure
    os.unlink(making)


def _remove_tree(folder: str) -> None:
    for inner, folders, names in os.walk(folder, topdown=False):
        for name in names:
            os.unlink(os.path.join(inner, name))
        for name in folders:
            path = os.path.join(inner, name)
            (os.unlink if os.path.islink(path) else os.rmdir)(path)
    if os.path.isdir(folder):
        os.rmdir(folder)


def _major_version(job: Job) -> str:
    """Return the major version of our programs, such as "18"."""
    reading, writing = os.pipe()
    command = [os.path.join(job.binaries, "postgres"), "--version"]
    child = _spawn(job, command, keep=(), output=writing)
    os.close(writing)
    with os.fdopen(reading, encoding="ascii") as file:
        told = file.read()  # "postgres (PostgreSQL) 18.6"
    if _wait_for(child) != 0 or not told:
        raise Refused("binaries", f"{command[0]} cannot be run by {job.user}.")
    return told.split()[-1].split(".")[0]


# --- the server


def _make_socket_dir(job: Job) -> None:
    try:
        os.mkdir(job.socket_dir, 0o700)
    except FileExistsError:
        status = os.lstat(job.socket_dir)
        # A folder that somebody else made first, or a link, is not to be trusted.
        if not stat.S_ISDIR(status.st_mode) or (status.st_uid, status.st_mode & 0o777) != (
            job.uid,
            0o700,
        ):
            raise Refused("foreign", f"{job.socket_dir} is not private to {job.user}.") from None
    else:
        if os.geteuid() != job.uid:
            os.chown(job.socket_dir, job.uid, job.gid)


def _remove_socket_dir(job: Job) -> None:
    try:
        os.rmdir(job.socket_dir)
    except OSError:
        return  # a last backend still has its socket there; the next start cleans up


def _supervise(job: Job, lock: int) -> None:
    _rotate_log(job)
    _prepare_cluster(job)
    _clear_stale_locks(job)
    answered = False
    quick_deaths = 0
    while True:
        mark = _log_size(job)
        started = time.monotonic()
        # The server inherits the lock: while any of its processes lives, nobody else starts.
        server = _spawn(job, _server_command(job), keep=(lock,))
        if _wait_until_ready(job, server):
            if not answered:
                _answer("ready")
                answered = True
            if _watch(job, server):
                return
        elif _parent_is_gone(job):
            return
        lived = time.monotonic() - started
        quick_deaths = quick_deaths + 1 if lived < _QUICK_DEATH_SECONDS else 1
        if not answered and (
            quick_deaths >= _QUICK_DEATHS_BEFORE_REFUSAL
            or _disk_is_full(job, _log_since(job, mark))
        ):
            raise _explained(job, mark, "stops as soon as it is started")
        # Backends of a killed server need a moment to notice; then pauses grow.
        pause = min(0.2 * 2 ** min(quick_deaths - 1, 10), _LONGEST_PAUSE_SECONDS)
        if _pause(job, pause):
            return


def _server_command(job: Job) -> list[str]:
    command = [os.path.join(job.binaries, "postgres"), "-k", job.socket_dir]
    for setting in ("listen_addresses=", "port=5432", "unix_socket_permissions=0700"):
        command += ["-c", setting]
    for setting in job.settings:
        command += ["-c", setting]
    return command


def _watch(job: Job, server: int) -> bool:
    """Wait until the server died (False), or it must end and has ended (True)."""
    while True:
        received = _next_signal()
        if received in (signal.SIGTERM, signal.SIGINT) or _parent_is_gone(job):
            _end(server)
            return True
        if os.waitpid(server, os.WNOHANG)[0]:
            return False


def _wait_until_ready(job: Job, server: int) -> bool:
    """Return whether the server says that it takes connections; False when it has ended."""
    deadline = time.monotonic() + _PATIENCE_START_SECONDS
    while time.monotonic() < deadline:
        if _pid_file_says_ready(job, server):
            return True
        received = _next_signal(0.05)
        if received in (signal.SIGTERM, signal.SIGINT) or _parent_is_gone(job):
            _end(server)
            raise Refused("stopped", "The embedded PostgreSQL was told to stop while starting.")
        if os.waitpid(server, os.WNOHANG)[0]:
            return False
    _end(server)
    raise Refused("slow", f"The embedded PostgreSQL took over {_PATIENCE_START_SECONDS} seconds.")


def _pid_file_says_ready(job: Job, server: int) -> bool:
    lines = _lines(os.path.join(job.cluster, "postmaster.pid"))
    # The eighth line is the state that pg_ctl waits for.
    return len(lines) >= 8 and lines[0].strip() == str(server) and lines[7].strip() == "ready"


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def _clear_stale_locks(job: Job) -> None:
    """Remove PostgreSQL's lock files whose number is a dead server's, or another program's.

    PostgreSQL itself sees through a number that is free. It cannot tell a reused one
    (after a reboot, or in a container where numbers repeat), nor a killed server that
    a careless init never reaps, and would refuse to start. Holding the lock, which
    every process of the old server held too, we know that none is left; a `postgres`
    that lives all the same was started by hand, and is left for PostgreSQL to refuse.
    """
    for path in (
        os.path.join(job.cluster, "postmaster.pid"),
        os.path.join(job.socket_dir, ".s.PGSQL.5432.lock"),
    ):
        lines = _lines(path)
        if lines and not _is_living_postgres(lines[0].strip()):
            os.unlink(path)


def _is_living_postgres(process: str) -> bool:
    try:
        with open(f"/proc/{int(process)}/stat", encoding="utf-8") as file:
            name, _, rest = file.read().partition("(")[2].rpartition(")")
    except (ValueError, FileNotFoundError):
        return False
    return name == "postgres" and rest.split()[0] != "Z"


def _end(server: int) -> None:
    """End the server with a fast shutdown, and at last an immediate one."""
    os.kill(server, signal.SIGINT)
    deadline = time.monotonic() + _PATIENCE_FAST_SECONDS
    hurried = False
    while not os.waitpid(server, os.WNOHANG)[0]:
        if time.monotonic() > deadline and not hurried:
            os.kill(server, signal.SIGQUIT)
            hurried = True
        _next_signal(0.1)


# --- processes and signals


def _spawn(job: Job, command: list[str], *, keep: tuple[int, ...], output: int = -1) -> int:
    """Start `command` as the job's user inside the cluster's folder; return its id."""
    me = os.getpid()
    log = _open_ours(job, job.log, os.O_WRONLY | os.O_APPEND)
    child = os.fork()
    if child:
        os.close(log)
        return child
    try:
        _become(job, me, command, keep, log, log if output < 0 else output)
    except BaseException as error:
        os.write(log, f"{command[0]}: {error}\n".encode())
    finally:
        os._exit(126)


def _become(
    job: Job, parent: int, command: list[str], keep: tuple[int, ...], log: int, output: int
) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(log, 2)
    for descriptor in keep:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - the signature is Python's
    if os.path.isdir(job.cluster):
        os.chdir(job.cluster)
    os.umask(0o077)
    if os.geteuid() != job.uid:
        os.initgroups(job.user, job.gid)
        os.setgid(job.gid)
        os.setuid(job.uid)
    # After the change of user, which clears it.
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:  # it died before we asked to be told
        return
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and that is inherited
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    # The folder is named by way of the working directory, entered while still
    # privileged: the folders above it may be closed to the server's user.
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
    environment["PGDATA"] = "/proc/self/cwd"
    os.execve(command[0], command, environment)  # noqa: S606 - no shell is wanted


def _next_signal(seconds: float = 0.5) -> int | None:
    waiting = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    received = signal.sigtimedwait(waiting, seconds)
    return None if received is None else received.si_signo


def _pause(job: Job, seconds: float) -> bool:
    """Wait; return whether the supervisor must end instead of going on."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if _next_signal(min(left, 0.5)) in (signal.SIGTERM, signal.SIGINT) or _parent_is_gone(job):
            return True
    return False


def _parent_is_gone(job: Job) -> bool:
    return os.getppid() != job.parent


def _wait_for(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# --- the log


def _log_size(job: Job) -> int:
    return os.stat(job.log).st_size if os.path.exists(job.log) else 0


def _log_since(job: Job, mark: int) -> str:
    with open(job.log, encoding="utf-8", errors="replace") as file:
        file.seek(mark)
        return file.read()


def _rotate_log(job: Job) -> None:
    if _log_size(job) > _LOG_BYTES_MAX:
        os.replace(job.log, job.log + ".1")


def _disk_is_full(job: Job, told: str) -> bool:
    disk = os.statvfs(job.folder)
    # The log may lie on the full disk itself, and then lacks the words.
    return "No space left on device" in told or (disk.f_bavail * disk.f_frsize < _DISK_BYTES_FULL)


def _explained(job: Job, mark: int, what: str) -> Refused:
    """Return a refusal with the server's own last words."""
    told = _log_since(job, mark)
    if _disk_is_full(job, told):
        return Refused("disk-full", f"The disk of {job.folder} is full.")
    words = " ".join(line.strip() for line in told.splitlines()[-4:])
    return Refused("failed", f"The embedded PostgreSQL {what}; {job.log} ends with: {words}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
